//! The token: renewed, replaced, and told from a policy that forbids.

use super::*;

#[test]
fn a_token_is_renewed_at_two_thirds_and_never_for_less_than_is_left() {
    let mut rig = Rig::new(10);
    rig.define(ID, Kind::Stored);
    rig.log_in(Some(HOUR), true);
    for _ in 0..5 {
        let began = rig.now;
        assert_eq!(until_other(&mut rig, secs(HOUR)), Some(Task::RenewToken { increment: secs(HOUR) }));
        let share = seen(&rig, began, HOUR);
        assert!((0.599..0.701).contains(&share), "{share}");
        rig.fact(Fact::TokenRenewed { began: rig.now, token: token(HOUR, true) });
    }
}

#[test]
fn a_renewal_that_fails_is_tried_again_and_replaced_by_a_login_while_the_token_lives() {
    for fault in [Fault::Malformed, Fault::Refused, Fault::Denied] {
        let mut rig = Rig::new(10);
        rig.define(ID, Kind::Stored);
        rig.log_in(Some(HOUR), true);
        let began = rig.now;
        let mut renewals = 0;
        loop {
            match until_other(&mut rig, secs(HOUR)).unwrap() {
                Task::RenewToken { .. } => {
                    renewals += 1;
                    rig.fact(Fact::TokenRenewFailed { fault });
                }
                // The token is well: its policy forbids it.
                Task::LookUpToken => rig.fact(Fact::TokenLookedUp { result: Ok(token(1, true)) }),
                task => {
                    assert_eq!(task, Task::Login);
                    break;
                }
            }
        }
        assert!(rig.now.since(began) <= secs(3100), "{fault:?}");
        assert!(if fault == Fault::Malformed { (5..15).contains(&renewals) } else { renewals == 1 }, "{renewals}");
    }
}

#[test]
fn a_token_that_cannot_be_renewed_is_replaced_and_one_without_end_is_left_alone() {
    for (ttl, asked) in [(Some(600), Some(Task::Login)), (None, None)] {
        let mut rig = Rig::new(10);
        rig.define(ID, Kind::Stored);
        rig.log_in(ttl, false);
        let began = rig.now;
        assert_eq!(until_other(&mut rig, secs(590)), asked);
        if asked.is_some() {
            let share = seen(&rig, began, 600);
            assert!((0.599..0.701).contains(&share), "{share}");
        }
    }
}

#[test]
fn the_last_use_of_a_token_is_kept_back() {
    let mut rig = Rig::new(10);
    rig.define(ID, Kind::Stored);
    assert_eq!(rig.task(secs(1)), Task::Login);
    let few = Token { ttl: None, renewable: false, uses_left: Some(4) };
    rig.fact(Fact::LoggedIn { began: rig.now, token: few, same: false });
    for _ in 0..3 {
        assert_eq!(rig.task(secs(400)), READ);
        rig.read(1, None);
        if rig.view().digest.is_none() {
            rig.published(1);
        }
    }
    assert_eq!(rig.task(Duration::ZERO), Task::Login);
    rig.fact(Fact::Refresh { credential: ID });
    rig.quiet(secs(1));
}

#[test]
fn a_denied_read_with_a_good_token_is_a_policys_and_starts_no_logins() {
    let mut rig = Rig::with(Kind::Stored);
    assert_eq!(rig.task(secs(1)), READ);
    let mut waits = vec![];
    for _ in 0..6 {
        rig.read_failed(Fault::Denied);
        assert_eq!(rig.task(Duration::ZERO), Task::LookUpToken);
        let before = rig.now;
        rig.fact(Fact::TokenLookedUp { result: Ok(Token { ttl: None, renewable: false, uses_left: None }) });
        assert_eq!(rig.task(secs(600)), READ);
        waits.push(rig.now.since(before));
    }
    assert!(waits[0] >= secs(45) && waits[5] >= secs(225), "{waits:?}");
    assert_eq!(rig.told(Event::NotAllowed), 1);
}

#[test]
fn a_denied_read_with_a_dead_token_is_tried_again_after_a_login() {
    let mut rig = Rig::with(Kind::Stored);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read_failed(Fault::Denied);
    assert_eq!(rig.task(Duration::ZERO), Task::LookUpToken);
    rig.fact(Fact::TokenLookedUp { result: Err(Fault::Denied) });
    rig.log_in(None, false);
    assert_eq!(rig.task(secs(1)), READ);
    assert_eq!(rig.told(Event::NotAllowed), 0);
}
