//! What is bounded by the hour, and what an alarm holds.

use super::*;

#[test]
fn logins_are_capped_by_the_hour_and_failures_back_off() {
    let mut rig = Rig::new(6);
    rig.define(ID, Kind::Stored);
    let mut logins = vec![];
    let end = rig.now + secs(3 * HOUR);
    while rig.until_task(end.since(rig.now)) {
        assert_eq!(rig.tasks.remove(0), Task::Login);
        logins.push(rig.now);
        rig.fact(Fact::LoginFailed { fault: Fault::Refused });
    }
    let first: Vec<_> = logins.windows(2).take(5).map(|pair| pair[1].since(pair[0])).collect();
    for (n, wait) in first.iter().enumerate() {
        let middle = f64::from(1 << n);
        assert!((middle * 0.74..middle * 1.26).contains(&wait.as_secs_f64()) && *wait >= secs(1), "{first:?}");
    }
    for (n, at) in logins.iter().enumerate().skip(6) {
        assert!(at.since(logins[n - 6]) >= secs(HOUR), "{logins:?}");
    }
    assert!(logins.len() > 12, "the cap frees: {logins:?}");
    assert!(rig.notes.iter().any(|event| matches!(event, Event::LoginsHeld { .. })));
    assert_eq!(rig.told(Event::LoginFailed { fault: Fault::Refused }), 1);
}

#[test]
fn after_an_alarm_there_is_no_login_until_what_it_uses_changes_or_half_an_hour_is_over() {
    let mut rig = Rig::new(10);
    rig.define(ID, Kind::Stored);
    assert_eq!(rig.task(secs(1)), Task::Login);
    rig.fact(Fact::LoginFailed { fault: Fault::Tampered });
    assert_eq!(rig.told(Event::Tampered), 1);
    rig.quiet(secs(1790));
    assert_eq!(rig.task(secs(20)), Task::Login);
    rig.fact(Fact::LoginFailed { fault: Fault::Tampered });
    rig.quiet(secs(60));
    rig.fact(Fact::LoginChanged);
    assert_eq!(rig.task(secs(2)), Task::Login);
}

#[test]
fn mints_are_capped_by_the_hour_and_what_may_have_minted_counts() {
    let mut rig = Rig::with(Kind::Minted);
    let mut mints = vec![];
    let end = rig.now + secs(2 * HOUR - 60);
    while rig.until_task(end.since(rig.now)) {
        match rig.tasks.remove(0) {
            READ => {
                mints.push(rig.now);
                rig.read_failed(Fault::Ambiguous);
            }
            Task::LookUpToken => rig.fact(Fact::TokenLookedUp { result: Ok(token(1, true)) }),
            task => panic!("{task:?}"),
        }
    }
    assert_eq!(mints.len(), 10, "five an hour: {mints:?}");
    for (n, at) in mints.iter().enumerate().skip(5) {
        assert!(at.since(mints[n - 5]) >= secs(HOUR), "{mints:?}");
    }
    assert!(rig.notes.iter().any(|event| matches!(event, Event::MintsHeld { .. })));
}

#[test]
fn what_could_not_be_written_down_does_not_count_and_says_nothing_of_vault() {
    let mut rig = Rig::new(2);
    rig.define(ID, Kind::Minted);
    assert_eq!(rig.task(secs(1)), Task::Login);
    assert_eq!(rig.keeper.charges(rig.now).collect::<Vec<_>>(), [(None, rig.now)], "it counts before it is sent");
    for _ in 0..5 {
        rig.fact(Fact::LoginFailed { fault: Fault::Unrecorded });
        assert_eq!(rig.keeper.charges(rig.now).count(), 0);
        assert_eq!(rig.task(secs(20)), Task::Login);
    }
    assert_eq!(rig.told(Event::LoginFailed { fault: Fault::Unrecorded }), 1);
    let token = Token { ttl: None, renewable: false, uses_left: None };
    rig.fact(Fact::LoggedIn { began: rig.now, token, same: false });
    assert_eq!(rig.task(secs(1)), READ);
    assert_eq!(rig.keeper.charges(rig.now).filter(|(whose, _)| *whose == Some(ID)).count(), 1);
    rig.read_failed(Fault::Unrecorded);
    assert_eq!(rig.keeper.charges(rig.now).filter(|(whose, _)| *whose == Some(ID)).count(), 0);
    assert!(rig.keeper.session(rig.now).up, "Vault is not blamed");
}
