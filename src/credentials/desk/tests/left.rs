//! Services that are left alone with a value.

use super::rotating::order;
use super::*;
use crate::orders::CredentialOrder;

const ROTATED: &str = r#"
[credentials.key]
type = "kv2"
path = "services/web/key"
services = ["web"]
on_change = "restart"
[[credentials.key.files]]
path = "DIR/key"
[credentials.key.rotation]
every = "12h"
grace = "1m"
[credentials.key.rotation.generator]
type = "uuid"
"#;

#[tokio::test(start_paused = true)]
async fn who_is_left_alone_goes_on_with_the_value_before_which_is_not_given_back() {
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "12h", "max_ttl": "12h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), DYNAMIC).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("db", |status| status.component.up).await;
    let first = rig.file("db");
    let left = RolledOut::Left { service: "web".into() };
    assert!(rig.rollout().await.ended.send(left.clone()).is_ok());
    let second = rig.file("db");
    let status = rig.until("db", |status| !status.component.up).await;
    let words = status.component.message.as_ref().unwrap();
    assert!(words.contains("web runs and is to be left alone"), "{words}");
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let (told, rollouts) = rig.heard(|_| left.clone());
    assert_eq!(rollouts, 0, "nothing has changed about it");
    assert_eq!(told.iter().filter(|entry| entry.what == "not_in_use").count(), 1, "told once: {told:?}");
    assert!(first != second && rig.accepts(&first) && rig.accepts(&second), "both are in use");
    // It is tried again by itself, and at once where something has changed.
    tokio::time::sleep(Duration::from_secs(2400)).await;
    assert_eq!(rig.heard(|_| left.clone()).1, 1);
    rig.runs(false);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("db", |status| status.component.up).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!rig.accepts(&first) && rig.accepts(&second), "now nothing needs it");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_fails_after_one_that_not_all_use_goes_back_to_what_the_others_use() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    put(&rig.vault, "two");
    assert!(rig.rollout().await.ended.send(RolledOut::Left { service: "web".into() }).is_ok());
    put(&rig.vault, "three");
    let third = rig.rollout().await;
    assert_eq!(rig.file("key"), "three");
    assert!(third.ended.send(RolledOut::Failed { service: "web".into() }).is_ok());
    assert!(rig.undo().await.send(RolledOut::Done).is_ok());
    assert_eq!(rig.file("key"), "two");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_waits_for_who_is_left_alone_and_says_so() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), ROTATED).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
    let step = |status: &CredentialStatus| status.rotation.as_ref().unwrap().step;
    assert!(rig.rollout().await.ended.send(RolledOut::Left { service: "web".into() }).is_ok());
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let (told, rollouts) = rig.heard(|_| RolledOut::Done);
    assert_eq!(rollouts, 0, "nothing has changed about it");
    let held = told.iter().filter(|entry| entry.words.contains("web runs and is to be left alone")).count();
    assert_eq!(held, 1, "{told:?}");
    let status = rig.until("key", |_| true).await;
    let rotation = status.rotation.as_ref().unwrap();
    assert!(rotation.step == "published" && rotation.last.as_ref().unwrap().contains("left alone"), "{rotation:?}");
    assert!(!status.component.up, "{status:?}");
    rig.runs(false);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| step(status) == "idle" && status.component.up).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_tried_again_and_fails_goes_back_to_the_one_before_it() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    put(&rig.vault, "two");
    assert!(rig.rollout().await.ended.send(RolledOut::Left { service: "web".into() }).is_ok());
    rig.until("key", |status| !status.component.up).await;
    rig.runs(false);
    let again = rig.rollout().await;
    assert_eq!(rig.file("key"), "two");
    assert!(again.ended.send(RolledOut::Failed { service: "web".into() }).is_ok());
    assert!(rig.undo().await.send(RolledOut::Done).is_ok());
    assert_eq!(rig.file("key"), "one");
}

#[tokio::test(start_paused = true)]
async fn who_is_left_alone_is_told_of_a_later_value_that_reads_the_same() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    put(&rig.vault, "two");
    assert!(rig.rollout().await.ended.send(RolledOut::Left { service: "web".into() }).is_ok());
    rig.until("key", |status| !status.component.up).await;
    let same = json!({"data": {"value": "two", "note": "of no file"}});
    rig.vault.write("secret/data/services/web/key", same);
    let rollout = tokio::time::timeout(Duration::from_secs(1800), rig.rollout()).await.expect("it is told");
    assert!(rollout.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up && status.version == Some(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_renewed_while_its_value_was_left_is_not_lost_by_a_restart() {
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "1h", "max_ttl": "12h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), DYNAMIC).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    let left = RolledOut::Left { service: "web".into() };
    assert!(rig.rollout().await.ended.send(left.clone()).is_ok());
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_secs(1200)).await;
        rig.heard(|_| left.clone());
    }
    let (second, mints) = (rig.file("db"), rig.vault.mints());
    assert!(rig.accepts(&second), "it was renewed");
    let clock = rig.clock;
    let (vault, folder) = rig.kill().await;
    let auth = r#"auth = { type = "token", token_file = "DIR/token" }"#;
    let mut rig = Rig::with(vault, folder, auth, DYNAMIC, clock).await;
    rig.runs(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.heard(|_| left.clone());
    assert_eq!((rig.vault.mints(), rig.file("db")), (mints, second));
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_who_is_left_alone_is_renewed_also_after_a_restart() {
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "1h", "max_ttl": "12h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), DYNAMIC).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("db", |status| status.component.up).await;
    let (first, left) = (rig.file("db"), RolledOut::Left { service: "web".into() });
    order(&rig, "db", CredentialOrder::Refresh).await;
    assert!(rig.rollout().await.ended.send(left.clone()).is_ok());
    rig.until("db", |status| !status.component.up).await;
    let clock = rig.clock;
    let (vault, folder) = rig.kill().await;
    let auth = r#"auth = { type = "token", token_file = "DIR/token" }"#;
    let mut rig = Rig::with(vault, folder, auth, DYNAMIC, clock).await;
    rig.runs(true);
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_secs(1200)).await;
        rig.heard(|_| left.clone());
    }
    let second = rig.file("db");
    assert!(first != second && rig.accepts(&first) && rig.accepts(&second), "both are in use");
}

#[tokio::test(start_paused = true)]
async fn who_becomes_free_while_the_others_are_told_is_told_soon() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    rig.runs(true);
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
    put(&rig.vault, "two");
    let rollout = rig.rollout().await;
    rig.runs(false);
    assert!(rollout.ended.send(RolledOut::Left { service: "web".into() }).is_ok());
    let again = tokio::time::timeout(Duration::from_secs(1800), rig.rollout()).await.expect("within the hour");
    assert!(again.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
}
