//! Dynamic secrets and their leases.

use super::*;

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_replaced_and_given_back_also_across_a_restart() {
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "1h", "max_ttl": "4h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), DYNAMIC).await;
    let answering = |rig: &mut Rig| rig.heard(|_| RolledOut::Done).1;
    let accepted = |rig: &Rig| {
        let text = rig.file("db");
        text.split_once(':').is_some_and(|(user, password)| rig.vault.database_accepts(user, password))
    };
    let mut restarts = 0;
    for _ in 0..24 * 6 {
        tokio::time::sleep(Duration::from_secs(600)).await;
        restarts += answering(&mut rig);
        assert!(accepted(&rig), "what is rendered works, at every time");
    }
    let mints = rig.vault.mints();
    assert!((6..=9).contains(&mints), "{mints} made in a day of leases of four hours at most");
    assert!(restarts <= mints, "{restarts} restarts for {mints} changes");
    assert!(rig.vault.database_users().len() <= 2, "what is replaced is given back: {:?}", rig.vault.database_users());
    let (vault, folder) = rig.end().await;
    let before = vault.mints();
    let mut rig = Rig::over(vault, folder, DYNAMIC).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    answering(&mut rig);
    assert_eq!(rig.vault.mints(), before, "a lease that lives is not made anew by a restart");
    assert!(accepted(&rig));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_it_rolls_out_leaves_nothing_behind() {
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "1h", "max_ttl": "1h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), DYNAMIC).await;
    let answered = rig.rollout().await.ended.send(RolledOut::Done);
    assert!(answered.is_ok());
    rig.until("db", |status| status.component.up).await;
    let first = rig.file("db");
    // The second is rendered and being rolled out when Iaso ends.
    let second = rig.rollout().await;
    let (rendered, mints) = (rig.file("db"), rig.vault.mints());
    assert_ne!(rendered, first);
    let (vault, folder) = rig.end().await;
    drop(second);
    let accepted = |vault: &Double, text: &str| {
        text.split_once(':').is_some_and(|(user, password)| vault.database_accepts(user, password))
    };
    let mut rig = Rig::over(vault, folder, DYNAMIC).await;
    let again = rig.rollout().await;
    assert_eq!((rig.file("db"), rig.vault.mints()), (rendered.clone(), mints), "it goes on with what it had");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(accepted(&rig.vault, &rendered) && accepted(&rig.vault, &first), "who uses either is let in until then");
    assert!(again.ended.send(RolledOut::Done).is_ok());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(accepted(&rig.vault, &rendered) && !accepted(&rig.vault, &first), "then the first is given back");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_killed_while_it_writes_down_what_is_in_use_does_not_have_it_given_back() {
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "12h", "max_ttl": "12h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), DYNAMIC).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("db", |status| status.component.up).await;
    let second = rig.rollout().await;
    let next = rig.folder.path().join("credentials/db~next.sealed");
    let on_its_way = std::fs::read(&next).unwrap();
    assert!(second.ended.send(RolledOut::Done).is_ok());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (text, clock) = (rig.file("db"), rig.clock);
    let (vault, folder) = rig.kill().await;
    assert!(!next.exists());
    // It was kept under its own name, and killed before the other was removed.
    std::fs::write(&next, on_its_way).unwrap();
    let auth = r#"auth = { type = "token", token_file = "DIR/token" }"#;
    let rig = Rig::with(vault, folder, auth, DYNAMIC, clock).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(rig.accepts(&text) && rig.file("db") == text && rig.vault.database_users().len() == 1);
    assert!(!next.exists());
}

#[tokio::test(start_paused = true)]
async fn a_value_on_its_way_whose_template_was_changed_keeps_its_lease_until_there_is_another() {
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "12h", "max_ttl": "12h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), DYNAMIC).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("db", |status| status.component.up).await;
    let (_pending, clock) = (rig.rollout().await, rig.clock);
    let text = rig.file("db");
    let (vault, folder) = rig.kill().await;
    let auth = r#"auth = { type = "token", token_file = "DIR/token" }"#;
    let changed = DYNAMIC.replace("{{ username }}:", "user={{ username }}:");
    let mut rig = Rig::with(vault, folder, auth, &changed, clock).await;
    let third = rig.rollout().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rig.accepts(&text), "who was told already uses it");
    assert!(third.ended.send(RolledOut::Done).is_ok());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!rig.accepts(&text));
}
