//! Two tasks, as of two Iasos, on one credential: one rotates it, and the other has only Vault to read that from.

use std::sync::atomic::{AtomicBool, Ordering};

use super::double::{Denial, Fault, Rule};
use super::*;
use crate::orders::{CredentialOrder, CredentialReply};

/// The longest wait for anything, of the virtual clock: far more than any refresh.
const DAY: Duration = Duration::from_secs(86_400);
/// A service that is told of the new value by a command, as slowly as the test wants.
const ROTATED: &str = r#"
[credentials.key.rotation]
generator = { type = "characters", length = 20 }
apply = { type = "exec", service = "web", command = ["set"], input = "{{ value }}" }
"#;

/// One that rotates and one that does not, both with the value "one", and the first amid telling the service of the next.
async fn amid_a_rotation() -> (Rig, Rig) {
    let vault = Rig::vault().await;
    put(&vault, "zero");
    put(&vault, "one");
    let rotating = format!("{KEY}{ROTATED}");
    let mut one = Rig::over(Arc::clone(&vault), tempfile::tempdir().unwrap(), &rotating).await;
    let mut other = Rig::over(vault, tempfile::tempdir().unwrap(), KEY).await;
    for rig in [&mut one, &mut other] {
        rig.until("key", |status| status.component.up).await;
        assert_eq!(rig.file("key"), "one");
    }
    order(&one, "key", CredentialOrder::Rotate).await;
    one.until("key", |status| status.rotation.as_ref().is_some_and(|rotation| rotation.step == "stored")).await;
    until(|| marks(&one)["pending"] == "3").await;
    (one, other)
}

pub(super) async fn order(rig: &Rig, credential: &str, order: CredentialOrder) {
    let (reply, answer) = tokio::sync::oneshot::channel();
    let (credential, by, request_id) = (credential.to_owned(), "test".to_owned(), "1".to_owned());
    rig.orders.send(CredentialRequest { credential, order, by, request_id, reply }).await.unwrap();
    let answer = answer.await.unwrap();
    assert!(matches!(answer, CredentialReply::Taken(_)), "{answer:?}");
}

fn marks(rig: &Rig) -> serde_json::Value {
    rig.vault.read("secret/metadata/services/web/key").unwrap()["data"]["custom_metadata"].clone()
}

async fn until(holds: impl Fn() -> bool) {
    let found = tokio::time::timeout(DAY, async {
        while !holds() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    found.await.expect("within a day");
}

/// Waits until a task has read its credential again so many times.
async fn refreshed(rig: &mut Rig, times: u64) {
    let (before, _) = rig.until("key", |_| true).await.reads;
    let picture = rig.until("key", |status| status.reads.0 >= before + times).await;
    assert_eq!(picture.reads.1, 0, "none failed: {picture:?}");
}

#[tokio::test(start_paused = true)]
async fn what_another_rotates_is_read_only_once_it_is_published() {
    let (mut one, mut other) = amid_a_rotation().await;
    for rig in [&mut one, &mut other] {
        refreshed(rig, 3).await;
        order(rig, "key", CredentialOrder::Refresh).await;
        refreshed(rig, 1).await;
        assert_eq!((rig.file("key").as_str(), rig.until("key", |_| true).await.version), ("one", Some(2)));
    }
    one.commands.send_replace(Some(0));
    for rig in [&mut one, &mut other] {
        rig.until("key", |status| status.version == Some(3)).await;
        until(|| rig.file("key") != "one").await;
    }
    assert_eq!((one.file("key").len(), one.file("key")), (20, other.file("key")));
    assert_eq!(marks(&one), json!({"managed-by": "iaso", "current": "3", "previous": "2"}));
}

#[tokio::test(start_paused = true)]
async fn what_another_takes_back_was_never_there() {
    let (mut one, mut other) = amid_a_rotation().await;
    refreshed(&mut other, 1).await;
    let inode = |rig: &Rig| std::fs::metadata(rig.folder.path().join("key")).unwrap().ino();
    let before = [inode(&one), inode(&other)];
    one.commands.send_replace(Some(1));
    for rig in [&mut one, &mut other] {
        rig.until("key", |status| status.version == Some(4)).await;
        refreshed(rig, 3).await;
        assert_eq!(rig.file("key"), "one");
    }
    assert_eq!([inode(&one), inode(&other)], before, "no file was touched");
    assert_eq!((&marks(&one)["current"], &marks(&one)["pending"]), (&json!("4"), &serde_json::Value::Null));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_a_rotation_that_is_taken_back_is_not_put_to_use() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    // Without marks a version looks like the value as soon as it is stored.
    vault.inject(Rule::on("POST", "secret/metadata/"), Fault::Denied(Denial::Policy));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &format!("{KEY}{ROTATED}")).await;
    rig.until("key", |status| status.component.up).await;
    let inode = |rig: &Rig| std::fs::metadata(rig.folder.path().join("key")).unwrap().ino();
    let before = inode(&rig);
    let step = |status: &CredentialStatus| status.rotation.as_ref().unwrap().step;
    order(&rig, "key", CredentialOrder::Rotate).await;
    rig.until("key", |status| step(status) == "stored").await;
    refreshed(&mut rig, 2).await;
    // One is read while that is so, and arrives when it is no more.
    let asked = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&asked);
    let late = Rule::on("GET", "secret/data/").once().after_commit().when(move |_| {
        heard.store(true, Ordering::Relaxed);
        true
    });
    rig.vault.inject(late, Fault::Delay(Duration::from_secs(5)));
    order(&rig, "key", CredentialOrder::Refresh).await;
    until(|| asked.load(Ordering::Relaxed)).await;
    rig.commands.send_replace(Some(1));
    // The clock moves in small steps, or waiting for the disk would bring the answer at once.
    let steps = async {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = steps => {}
        _ = rig.until("key", |status| step(status) == "idle") => {}
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    rig.until("key", |status| status.component.up && status.version == Some(3)).await;
    assert_eq!((rig.file("key").as_str(), inode(&rig)), ("one", before), "the file was never touched");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_no_good_and_is_set_by_a_person_gets_well() {
    no_good_and_set(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_no_good_gets_well_when_a_rotation_brings_it_back() {
    no_good_and_set(true).await;
}

/// The value "two" fails, and a person sets it, whether or not the source has gone back to "one" meanwhile.
async fn no_good_and_set(taken_back: bool) {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let rotation = "[credentials.key.rotation]\ngenerator = { type = \"characters\", length = 20 }\n";
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &format!("{}{rotation}", restarted())).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
    put(&rig.vault, "two");
    assert!(rig.rollout().await.ended.send(RolledOut::Failed { service: "web".into() }).is_ok());
    assert!(rig.undo().await.send(RolledOut::Done).is_ok());
    rig.until("key", |status| !status.component.up).await;
    if taken_back {
        put(&rig.vault, "one");
        rig.until("key", |status| status.version == Some(3)).await;
    }
    order(&rig, "key", CredentialOrder::Set(Secret::new("two"))).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    let version = if taken_back { 4 } else { 2 };
    rig.until("key", |status| status.component.up && status.version == Some(version)).await;
    assert_eq!(rig.file("key"), "two");
    // Nothing of the verdict is left.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    rig.heard(|_| RolledOut::Done);
    rig.until("key", |status| status.component.up).await;
}
