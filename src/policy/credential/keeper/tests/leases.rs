//! Leases: renewed, replaced in time, and given back.

use super::*;

#[test]
fn an_old_lease_is_revoked_only_after_the_new_value_is_in_use() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, Some(lease(1, HOUR, false)));
    rig.published(1);
    let before = rig.now;
    assert_eq!(rig.task(secs(HOUR)), READ);
    let share = rig.now.since(before).as_secs_f64() / 3600.0;
    assert!((0.849..0.951).contains(&share), "{share}");
    rig.read(2, Some(lease(2, HOUR, false)));
    assert_eq!(rig.task(Duration::ZERO), Task::Publish { credential: ID, digest: Digest(2) });
    rig.fact(Fact::Published { credential: ID, digest: Digest(2), ok: false });
    rig.quiet(Duration::ZERO);
    rig.until_task(secs(5));
    rig.published(2);
    assert_eq!(rig.task(secs(1)), Task::Revoke { lease: LeaseKey(1) });
    rig.fact(Fact::Revoked { lease: LeaseKey(1) });
    assert_eq!(rig.keeper.leases().collect::<Vec<_>>(), [LeaseKey(2)]);
}

#[test]
fn a_token_near_its_longest_life_is_replaced_and_leases_move_to_the_new_one() {
    let mut rig = Rig::new(10);
    rig.define(ID, Kind::Minted);
    rig.log_in(Some(HOUR), true);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, Some(lease(1, 30 * HOUR, true)));
    rig.published(1);
    assert!(matches!(rig.task(secs(HOUR)), Task::RenewToken { .. }));
    let began = rig.now;
    // Renewed, and yet it is to last for less.
    rig.fact(Fact::TokenRenewed { began, token: token(1800, true) });
    assert_eq!(rig.told(Event::TokenNotRenewed { fault: None }), 1);
    assert_eq!(rig.task(secs(1800)), Task::Login);
    let share = seen(&rig, began, 1800);
    assert!((0.599..0.701).contains(&share), "{share}");
    rig.fact(Fact::LoggedIn { began: rig.now, token: token(HOUR, true), same: false });
    // The lease would last longer, but not than the old token.
    assert_eq!(rig.task(secs(60)), READ);
    rig.read(2, Some(lease(2, 30 * HOUR, true)));
    rig.published(2);
    assert_eq!(rig.task(secs(60)), Task::Revoke { lease: LeaseKey(1) });
    assert!(rig.now.since(began) < secs(1800), "while the old token lives");
}

#[test]
fn the_same_token_again_replaces_no_lease() {
    let mut rig = Rig::new(10);
    rig.define(ID, Kind::Minted);
    rig.log_in(Some(HOUR), false);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, Some(lease(1, 30 * HOUR, false)));
    rig.published(1);
    assert_eq!(rig.task(secs(HOUR)), Task::Login);
    rig.fact(Fact::LoggedIn { began: rig.now, token: token(4 * HOUR, false), same: true });
    rig.quiet(secs(2 * HOUR));
    assert_eq!(rig.task(secs(HOUR)), Task::Login);
    rig.fact(Fact::LoggedIn { began: rig.now, token: token(4 * HOUR, false), same: false });
    assert_eq!(rig.task(secs(60)), READ, "another one does");
}

#[test]
fn a_renewal_that_the_backend_refuses_is_tried_again_and_the_lease_replaced_before_its_end() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, Some(lease(1, HOUR, true)));
    rig.published(1);
    let began = rig.now;
    let mut renewals = 0;
    loop {
        match rig.task(secs(HOUR)) {
            Task::RenewLease { lease, increment } => {
                assert_eq!((lease, increment), (LeaseKey(1), secs(HOUR)));
                renewals += 1;
                rig.fact(Fact::LeaseRenewFailed { lease, began: rig.now, fault: Fault::Refused });
            }
            task => {
                assert_eq!(task, READ);
                break;
            }
        }
    }
    let share = seen(&rig, began, HOUR);
    assert!((0.819..0.881).contains(&share) && renewals > 5, "{share}, {renewals}");
    assert_eq!(rig.told(Event::LeaseNotRenewed { fault: Fault::Refused }), 1);
}

#[test]
fn a_lease_at_its_longest_is_replaced_and_not_renewed_again() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, Some(lease(1, HOUR, true)));
    rig.published(1);
    assert!(matches!(rig.task(secs(HOUR)), Task::RenewLease { .. }));
    let began = rig.now;
    rig.fact(Fact::LeaseRenewed { began, lease: lease(1, 900, true) });
    assert_eq!(rig.task(secs(900)), READ);
    let share = seen(&rig, began, 900);
    assert!((0.619..0.701).contains(&share), "{share}");
}

#[test]
fn a_forgotten_credentials_leases_are_revoked_also_one_that_comes_late() {
    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    rig.fact(Fact::Forget { credential: ID });
    rig.read(1, Some(lease(1, HOUR, true)));
    assert_eq!(rig.task(secs(2)), Task::Revoke { lease: LeaseKey(1) });
    rig.fact(Fact::RevokeFailed { lease: LeaseKey(1), fault: Fault::Denied });
    assert_eq!(rig.task(secs(10)), Task::Revoke { lease: LeaseKey(1) });
    rig.fact(Fact::Revoked { lease: LeaseKey(1) });
    assert_eq!(rig.keeper.leases().count(), 0);
    assert_eq!(rig.keeper.next_deadline(), None, "nothing needs Vault any more");

    let mut rig = Rig::with(Kind::Minted);
    assert_eq!(rig.task(secs(1)), READ);
    rig.read(1, Some(lease(1, HOUR, true)));
    rig.published(1);
    rig.fact(Fact::Forget { credential: ID });
    assert_eq!(rig.task(secs(2)), Task::Revoke { lease: LeaseKey(1) });
}

/// Answers every task for so long: what is read is never put to use. How often each lease was renewed and revoked.
fn left_alone(rig: &mut Rig, reads: &mut u64, within: Duration) -> (BTreeMap<u64, u32>, Vec<u64>) {
    let (mut renewed, mut revoked, end) = (BTreeMap::new(), vec![], rig.now + within);
    while rig.until_task(end.since(rig.now)) {
        match rig.tasks.remove(0) {
            READ => {
                *reads += 1;
                rig.read(u128::from(*reads), Some(lease(*reads, HOUR, true)));
            }
            Task::Publish { digest, .. } => rig.fact(Fact::Published { credential: ID, digest, ok: false }),
            Task::RenewLease { lease: LeaseKey(key), .. } => {
                *renewed.entry(key).or_default() += 1;
                rig.fact(Fact::LeaseRenewed { began: rig.now, lease: lease(key, HOUR, true) });
            }
            Task::Revoke { lease } => revoked.push(lease.0),
            task => panic!("{task:?}"),
        }
    }
    (renewed, revoked)
}

#[test]
fn what_earlier_values_are_used_with_is_renewed_until_everything_uses_a_newer_one() {
    let mut rig = Rig::with(Kind::Minted);
    // Of an earlier run, in which somebody was left alone with it.
    rig.fact(Fact::StillUsed { credential: ID, lease: lease(100, HOUR, true), token_ends_in: None });
    let mut reads = 0;
    left_alone(&mut rig, &mut reads, secs(60));
    assert_eq!(reads, 1);
    // Others use this one, and a person asks for another.
    rig.fact(Fact::Refresh { credential: ID });
    let (renewed, revoked) = left_alone(&mut rig, &mut reads, secs(3 * HOUR));
    assert_eq!((reads, revoked), (2, vec![]));
    assert!([100, 1, 2].iter().all(|lease| renewed[lease] >= 3), "each of the three: {renewed:?}");
    while rig.task(secs(HOUR)) != (Task::Publish { credential: ID, digest: Digest(2) }) {}
    rig.fact(Fact::Published { credential: ID, digest: Digest(2), ok: true });
    let mut given_back = [rig.task(secs(60)), rig.task(secs(60))].map(|task| match task {
        Task::Revoke { lease } => lease.0,
        task => panic!("{task:?}"),
    });
    given_back.sort_unstable();
    assert_eq!(given_back, [1, 100]);
}
