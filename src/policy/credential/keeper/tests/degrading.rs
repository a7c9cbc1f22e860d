//! While the server is down, limits, or fails for one path; and what people are told.

use super::*;

#[test]
fn one_question_at_a_time_while_vault_is_down() {
    let mut rig = Rig::with(Kind::Stored);
    for n in 2..40 {
        rig.define(CredentialId(n), Kind::Stored);
    }
    assert_eq!(rig.task(secs(1)), READ);
    rig.read_failed(Fault::Sealed);
    let mut waits = vec![];
    for _ in 0..12 {
        let before = rig.now;
        assert_eq!(rig.task(secs(20)), Task::LookUpToken);
        assert!(rig.tasks.is_empty());
        waits.push(rig.now.since(before));
        rig.fact(Fact::TokenLookedUp { result: Err(Fault::Sealed) });
    }
    assert!(waits.iter().all(|&wait| wait >= secs(1) && wait <= secs(15)) && waits[11] >= secs(11), "{waits:?}");
    assert_eq!(rig.told(Event::VaultDown { fault: Fault::Sealed }), 1);
    assert!(!rig.keeper.session(rig.now).up);
    assert_eq!(rig.task(secs(20)), Task::LookUpToken);
    rig.fact(Fact::TokenLookedUp { result: Ok(token(1, true)) });
    assert!(rig.keeper.session(rig.now).up);
    assert!(rig.notes.iter().any(|event| matches!(event, Event::VaultUp { .. })));
}

#[test]
fn a_rate_limit_is_waited_out_for_ten_minutes_at_most() {
    for (after, wait) in [(90, 90), (100_000, 600)] {
        let mut rig = Rig::with(Kind::Stored);
        assert_eq!(rig.task(secs(1)), READ);
        rig.read_failed(Fault::RateLimited { after: Some(secs(after)) });
        rig.quiet(secs(wait - 1));
        assert_eq!(rig.task(secs(2)), Task::LookUpToken);
    }
}

#[test]
fn one_failing_path_does_not_hold_up_the_others() {
    let mut rig = Rig::with(Kind::Stored);
    rig.define(CredentialId(2), Kind::Stored);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read_failed(Fault::Failing);
    let mut failures = vec![];
    let mut others = 0;
    let end = rig.now + secs(HOUR);
    while rig.until_task(end.since(rig.now)) {
        match rig.tasks.remove(0) {
            READ => {
                failures.push(rig.now);
                rig.read_failed(Fault::Failing);
            }
            Task::Read { credential } => {
                others += 1;
                let value = Value { digest: Digest(9), version: None, lease: None, ends_in: None };
                rig.fact(Fact::Read { credential, began: rig.now, value });
            }
            Task::LookUpToken => rig.fact(Fact::TokenLookedUp { result: Ok(token(1, true)) }),
            Task::Publish { credential, digest } => rig.fact(Fact::Published { credential, digest, ok: true }),
            task => panic!("{task:?}"),
        }
    }
    assert!((10..14).contains(&others), "{others}");
    assert!((14..26).contains(&failures.len()), "{failures:?}");
    assert!(rig.keeper.session(rig.now).up);
    assert_eq!(rig.told(Event::VaultDown { fault: Fault::Failing }), 0);
}

#[test]
fn people_are_warned_once_and_of_what_is_replaced_only_when_that_fails() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    let value = Value { digest: Digest(1), version: None, lease: None, ends_in: Some(secs(HOUR)) };
    rig.fact(Fact::Read { credential: ID, began: rig.now, value });
    rig.published(1);
    let began = rig.now;
    let warned = |rig: &Rig| rig.notes.iter().filter(|event| matches!(event, Event::Expiring { .. })).count();
    assert_eq!(rig.task(secs(HOUR)), READ);
    let share = seen(&rig, began, HOUR);
    assert!((0.699..0.851).contains(&share), "{share}");
    assert_eq!(warned(&rig), 0);
    let end = began + secs(HOUR);
    let mut reads = 0;
    while rig.now < end {
        rig.read_failed(Fault::Refused);
        reads += 1;
        rig.until_task(end.since(rig.now));
        rig.tasks.clear();
    }
    assert_eq!((warned(&rig), rig.told(Event::Expired)), (1, 1));
    assert!(reads <= 15 && rig.view().stale && rig.view().digest.is_some());
}
