//! When a secret is read, and when it is published.

use super::*;

#[test]
fn a_stored_secret_is_read_at_its_pace_and_published_only_when_it_changes() {
    let mut rig = Rig::with(Kind::Stored);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, None);
    rig.published(1);
    for _ in 0..20 {
        let before = rig.now;
        assert_eq!(rig.task(secs(400)), READ);
        let waited = rig.now.since(before);
        assert!(waited >= secs(270) && waited <= secs(331), "{waited:?}");
        rig.read(1, None);
    }
    assert!(rig.tasks.is_empty());
    assert_eq!(rig.task(secs(400)), READ);
    rig.read(2, None);
    rig.published(2);
    assert_eq!(rig.view().digest, Some(Digest(2)));
}

#[test]
fn what_is_missing_takes_the_place_of_nothing() {
    let mut rig = Rig::with(Kind::Stored);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, None);
    rig.published(1);
    for fault in [Fault::NotFound, Fault::Deleted, Fault::NotFound] {
        let before = rig.now;
        assert_eq!(rig.task(secs(400)), READ);
        assert!(rig.now.since(before) >= secs(270));
        rig.read_failed(fault);
    }
    assert_eq!(rig.told(Event::Missing { deleted: false }), 1);
    assert_eq!(rig.view().digest, Some(Digest(1)));
}

#[test]
fn what_ends_and_reads_the_same_is_read_again_after_its_end() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    let of = |left| Value { digest: Digest(1), version: None, lease: None, ends_in: Some(secs(left)) };
    rig.fact(Fact::Read { credential: ID, began: rig.now, value: of(HOUR) });
    rig.published(1);
    assert_eq!(rig.task(secs(HOUR)), READ);
    let began = rig.now;
    rig.fact(Fact::Read { credential: ID, began, value: of(900) });
    assert_eq!(rig.task(secs(902)), READ);
    assert_eq!(rig.now.since(began), secs(901));
}

#[test]
fn a_lost_answer_is_given_up_and_a_late_one_counts_for_what_it_brings() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    let first = rig.now;
    // No answer.
    assert_eq!(rig.task(secs(310)), Task::LookUpToken);
    rig.fact(Fact::TokenLookedUp { result: Ok(token(1, true)) });
    assert_eq!(rig.task(secs(5)), READ);
    rig.read(2, Some(lease(2, HOUR, true)));
    rig.published(2);
    let value = Value { digest: Digest(1), version: None, lease: Some(lease(1, HOUR, true)), ends_in: None };
    rig.fact(Fact::Read { credential: ID, began: first, value });
    assert_eq!(rig.task(secs(1)), Task::Revoke { lease: LeaseKey(1) });
    assert_eq!(rig.view().digest, Some(Digest(2)));
}

#[test]
fn an_order_is_carried_out_at_once_and_under_the_cap() {
    let mut rig = Rig::with(Kind::Stored);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, None);
    rig.published(1);
    rig.now = rig.now + secs(2);
    rig.fact(Fact::Refresh { credential: ID });
    assert_eq!(rig.task(Duration::ZERO), READ);
    rig.read_failed(Fault::Refused);
    rig.fact(Fact::Refresh { credential: ID });
    assert_eq!(rig.task(Duration::ZERO), READ, "not held by its backoff");
}

#[test]
fn local_sources_need_no_session() {
    let mut rig = Rig::new(10);
    rig.define(ID, Kind::Local);
    assert_eq!(rig.task(Duration::ZERO), READ);
    rig.read(1, None);
    rig.published(1);
    assert!(rig.keeper.session(rig.now).up);
    assert_eq!(until_other(&mut rig, secs(HOUR)), None);
}

#[test]
fn nothing_is_begun_after_stopping() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    rig.fact(Fact::Stopping);
    rig.read(1, Some(lease(1, HOUR, true)));
    assert!(rig.tasks.is_empty());
    assert_eq!(rig.keeper.leases().collect::<Vec<_>>(), [LeaseKey(1)]);
    assert_eq!(rig.keeper.next_deadline(), None);
}
