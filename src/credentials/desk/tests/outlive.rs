//! What a run that is killed at any moment leaves to the next one.

use super::double::{Denial, Fault as Wrong, Rule};
use super::*;
use crate::credentials::kept::ledger::LedgerFile;
use crate::orders::CredentialOrder;

const TOKEN: &str = r#"auth = { type = "token", token_file = "DIR/token" }"#;

/// A dynamic secret that cannot be put to use: each run makes one anew, until the hour's are used up.
fn useless(mints_per_hour: u32) -> String {
    format!("{}\n", DYNAMIC.replace("{{ username }}", "{{ nothing_like_it }}"))
        .replace("on_change = \"restart\"", &format!("mints_per_hour = {mints_per_hour}"))
}

/// Waits until so many were made, for a minute at most.
async fn made(rig: &Rig, mints: usize) {
    for _ in 0..60 {
        if rig.vault.mints() >= mints {
            // It is on record, and cannot be put to use.
            return tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn approle(vault: &Double, folder: &tempfile::TempDir) -> &'static str {
    let role = vault.approle("iaso", json!({"token_policies": ["root"], "token_ttl": "1h"}));
    std::fs::write(folder.path().join("secret-id"), role.secret_id).unwrap();
    std::fs::write(folder.path().join("role-id"), role.role_id).unwrap();
    "logins_per_hour = 3\n\
     auth = { type = \"approle\", role_id_file = \"DIR/role-id\", secret_id_file = \"DIR/secret-id\" }"
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_killed_log_in_no_more_often_than_one_that_is_not() {
    let (mut vault, mut folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let (auth, clock) = (approle(&vault, &folder), Clock::of_tokio());
    let began = clock.mono();
    for run in 0..10_u32 {
        let rig = Rig::with(vault, folder, auth, KEY, clock).await;
        // At other points each time: before the login is recorded, is sent, is answered, and after.
        for _ in 0..run * run * 20 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(u64::from(run) * 5)).await;
        (vault, folder) = rig.kill().await;
    }
    for _ in 0..5 {
        let rig = Rig::with(vault, folder, auth, KEY, clock).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        (vault, folder) = rig.kill().await;
    }
    assert!((1..=3).contains(&vault.logins()), "{} logins", vault.logins());
    // An hour later the next one is let in.
    let before = vault.logins();
    let mut rig = Rig::with(vault, folder, auth, KEY, clock).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    rig.until("key", |status| status.component.up && !status.kept).await;
    assert!(rig.vault.logins() > before, "the hour is over, {:?} after the first", clock.mono().since(began));
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_killed_make_no_more_than_one_that_is_not_and_give_back_what_they_made() {
    let (mut vault, mut folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    vault.database("app", json!({"default_ttl": "10h", "max_ttl": "10h"}));
    vault.inject(Rule::on("*", "sys/leases/revoke"), Wrong::Denied(Denial::Policy));
    let (credentials, clock) = (useless(4), Clock::of_tokio());
    for run in 0..10 {
        let rig = Rig::with(vault, folder, TOKEN, &credentials, clock).await;
        made(&rig, run + 1).await;
        (vault, folder) = rig.kill().await;
    }
    assert_eq!((vault.mints(), vault.database_users().len()), (4, 4), "made and never used, by four runs of ten");
    vault.heal();
    let rig = Rig::with(vault, folder, TOKEN, &credentials, clock).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let users = rig.vault.database_users();
    assert!(users.is_empty(), "none of them was in use: {users:?}");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_given_back_nothing_more_is_made() {
    let (mut vault, mut folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    vault.database("app", json!({"default_ttl": "30h", "max_ttl": "30h"}));
    vault.inject(Rule::on("*", "sys/leases/revoke"), Wrong::Denied(Denial::Policy));
    let (credentials, clock) = (useless(1000), Clock::of_tokio());
    for run in 0..ledger::MOST_LEASES + 2 {
        let rig = Rig::with(vault, folder, TOKEN, &credentials, clock).await;
        made(&rig, run + 1).await;
        (vault, folder) = rig.kill().await;
    }
    assert_eq!(vault.mints(), ledger::MOST_LEASES);
    let mut rig = Rig::with(vault, folder, TOKEN, &credentials, clock).await;
    let says = |status: &CredentialStatus| {
        status.component.message.as_ref().is_some_and(|words| words.contains("wait to be given back"))
    };
    rig.until("db", says).await;
    rig.vault.heal();
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!((rig.vault.mints(), rig.vault.database_users().len()), (ledger::MOST_LEASES + 1, 1), "then it goes on");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_use_is_not_given_back_where_values_are_not_kept() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    vault.database("app", json!({"default_ttl": "10h", "max_ttl": "10h"}));
    let auth = &format!("keep = false\n{TOKEN}");
    let clock = Clock::of_tokio();
    let mut rig = Rig::with(vault, folder, auth, DYNAMIC, clock).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("db", |status| status.component.up).await;
    let first = rig.file("db");
    let (vault, folder) = rig.kill().await;
    let mut rig = Rig::with(vault, folder, auth, DYNAMIC, clock).await;
    let rollout = rig.rollout().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let accepted = |rig: &Rig, text: &str| {
        text.split_once(':').is_some_and(|(user, password)| rig.vault.database_accepts(user, password))
    };
    assert!(accepted(&rig, &first), "somebody may use it until the next one is in use");
    assert!(rollout.ended.send(RolledOut::Done).is_ok());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let second = rig.file("db");
    assert!(second != first && accepted(&rig, &second) && !accepted(&rig, &first), "then it is given back");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_use_and_could_not_be_kept_is_not_given_back_before_there_is_another() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    vault.database("app", json!({"default_ttl": "10h", "max_ttl": "10h"}));
    let place = folder.path().join("credentials");
    for entry in ["db.sealed", "db~next.sealed"] {
        std::fs::create_dir_all(place.join(entry)).unwrap();
    }
    let clock = Clock::of_tokio();
    let mut rig = Rig::with(vault, folder, TOKEN, DYNAMIC, clock).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("db", |status| status.version.is_none() && status.fetched.is_some() && status.changed.is_some()).await;
    let first = rig.file("db");
    let (vault, folder) = rig.kill().await;
    let mut rig = Rig::with(vault, folder, TOKEN, DYNAMIC, clock).await;
    let rollout = rig.rollout().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let accepted = |rig: &Rig, text: &str| {
        text.split_once(':').is_some_and(|(user, password)| rig.vault.database_accepts(user, password))
    };
    assert!(accepted(&rig, &first));
    assert!(rollout.ended.send(RolledOut::Done).is_ok());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(accepted(&rig, &rig.file("db")) && !accepted(&rig, &first));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_no_good_is_not_tried_again_by_the_next_run() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let mut rig = Rig::over(vault, folder, &restarted()).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
    put(&rig.vault, "two");
    let rollout = rig.rollout().await;
    let service = Arc::clone(&rollout.services[0]);
    assert!(rollout.ended.send(RolledOut::Failed { service }).is_ok());
    assert!(rig.undo().await.send(RolledOut::Done).is_ok());
    rig.until("key", |status| !status.component.up).await;
    let (vault, folder) = rig.kill().await;
    let mut rig = Rig::over(vault, folder, &restarted()).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((rig.heard(|_| RolledOut::Done).1, rig.file("key").as_str()), (0, "one"));
    let status = rig.until("key", |status| !status.component.up).await;
    assert!(status.component.message.as_ref().unwrap().contains("not tried again"), "{status:?}");
    // A person's word counts more.
    let (reply, answer) = tokio::sync::oneshot::channel();
    let (by, request_id) = ("root".to_owned(), "r".to_owned());
    let order =
        CredentialRequest { credential: "key".to_owned(), order: CredentialOrder::Refresh, by, request_id, reply };
    rig.orders.send(order).await.unwrap();
    answer.await.unwrap();
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
    assert_eq!(rig.file("key"), "two");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_kept_is_used_and_kept_when_that_is_possible_again() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    // As a full disk: it cannot be written over.
    let place = folder.path().join("credentials/key.sealed");
    std::fs::create_dir_all(&place).unwrap();
    let mut rig = Rig::over(vault, folder, KEY).await;
    let unkept = |status: &CredentialStatus| {
        status.component.message.as_ref().is_some_and(|words| words.contains("would not have it"))
    };
    rig.until("key", unkept).await;
    assert_eq!(rig.file("key"), "one", "it is in use");
    std::fs::remove_dir(&place).unwrap();
    rig.until("key", |status| status.component.up).await;
    assert!(place.is_file());
}

#[tokio::test(start_paused = true)]
async fn without_a_record_nothing_is_made_and_nobody_logs_in() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let place = folder.path().join("credentials/ledger");
    std::fs::create_dir_all(&place).unwrap();
    let auth = approle(&vault, &folder);
    let mut rig = Rig::with(vault, folder, auth, KEY, Clock::of_tokio()).await;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(rig.vault.logins(), 0);
    let vault = rig.pictures.borrow().vault.clone().unwrap();
    let words = vault.link.message.unwrap_or_default();
    assert!(!vault.link.up && words.contains("could not be written down first"), "{words}");
    std::fs::remove_dir(&place).unwrap();
    rig.until("key", |status| status.component.up).await;
    assert_eq!(rig.vault.logins(), 1);
}

#[test]
fn a_damaged_ledger_is_put_aside_once_and_one_that_cannot_be_read_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (file, at) = (LedgerFile::of(folder.path()), iaso_policy::time::Wall(1_800_000_000_000));
    let mut ledger = Ledger::default();
    ledger.rejected.insert("db".to_owned(), Digest(u128::MAX - 7));
    ledger.logins.push(Clock::new().now());
    file.save(&ledger).unwrap();
    assert_eq!(file.load(at).unwrap(), (ledger, None));
    let place = folder.path().join("credentials/ledger");
    std::fs::write(&place, "{").unwrap();
    let (read, words) = file.load(at).unwrap();
    assert!(read == Ledger::default() && words.unwrap().contains("damaged") && !place.exists());
    std::fs::create_dir(&place).unwrap();
    assert!(file.load(at).is_err() && place.is_dir());
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_read_late_does_not_undo_what_this_run_has_found() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let mut rig = Rig::over(vault, folder, &restarted()).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
    put(&rig.vault, "two");
    assert!(rig.rollout().await.ended.send(RolledOut::Failed { service: "web".into() }).is_ok());
    assert!(rig.undo().await.send(RolledOut::Done).is_ok());
    rig.until("key", |status| !status.component.up).await;
    let (vault, folder) = rig.kill().await;
    let place = folder.path().join("credentials/ledger");
    let written = std::fs::read(&place).unwrap();
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    put(&vault, "three");
    let mut rig = Rig::over(vault, folder, &restarted()).await;
    let third = rig.rollout().await;
    assert_eq!(rig.file("key"), "three");
    // The disk is well again, and the value is no good either.
    std::fs::remove_dir(&place).unwrap();
    std::fs::write(&place, written).unwrap();
    assert!(third.ended.send(RolledOut::Failed { service: "web".into() }).is_ok());
    assert!(rig.undo().await.send(RolledOut::Done).is_ok());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((rig.heard(|_| RolledOut::Done).1, rig.file("key").as_str()), (0, "one"), "it is not tried again");
}
