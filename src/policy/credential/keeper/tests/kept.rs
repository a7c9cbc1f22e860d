//! What an earlier run left.

use super::*;

#[test]
fn what_was_recalled_is_in_use_and_published_only_if_it_is_not_in_place() {
    for in_place in [true, false] {
        let mut rig = Rig::new(10);
        rig.define(ID, Kind::Stored);
        rig.tasks.clear();
        let value = Value { digest: Digest(4), version: Some(2), lease: None, ends_in: None };
        rig.fact(Fact::Recalled {
            credential: ID,
            recalled: Recalled { value, age: secs(100), token_ends_in: None, in_place },
        });
        let publish = Task::Publish { credential: ID, digest: Digest(4) };
        assert_eq!(rig.tasks.contains(&publish), !in_place);
        assert!(rig.view().kept);
        rig.tasks.clear();
        let token = Token { ttl: None, renewable: false, uses_left: None };
        rig.fact(Fact::LoggedIn { began: rig.now, token, same: false });
        assert_eq!(rig.task(secs(1)), READ);
        rig.read(4, None);
        assert!(rig.tasks.is_empty() && !rig.view().kept);
    }
}

#[test]
fn a_recalled_lease_is_renewed_at_once_or_replaced_before_its_old_token_ends() {
    for renewed in [true, false] {
        let mut rig = Rig::new(10);
        rig.define(ID, Kind::Minted);
        let value = Value { digest: Digest(4), version: None, lease: Some(lease(3, 1800, true)), ends_in: None };
        let recalled = Recalled { value, age: secs(1800), token_ends_in: Some(secs(1200)), in_place: true };
        rig.fact(Fact::Recalled { credential: ID, recalled });
        rig.log_in(None, false);
        let began = rig.now;
        assert_eq!(rig.task(secs(1)), Task::RenewLease { lease: LeaseKey(3), increment: secs(HOUR) });
        if renewed {
            rig.fact(Fact::LeaseRenewed { began: rig.now, lease: lease(3, HOUR, true) });
            assert!(!rig.view().kept);
        } else {
            rig.fact(Fact::LeaseRenewFailed { lease: LeaseKey(3), began: rig.now, fault: Fault::Denied });
            assert_eq!(rig.task(secs(1)), Task::LookUpToken);
            rig.fact(Fact::TokenLookedUp { result: Ok(token(1, true)) });
        }
        assert_eq!(rig.task(secs(1200)), READ);
        assert!(rig.now.since(began) < secs(900));
    }
}
