//! Values on their way: from the source into files, and to those who use them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_sealed_day_restarts_nothing_spins_nowhere_and_ends_within_a_minute() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    rig.until("key", |status| status.fetched.is_some()).await;
    // The first value is rolled out.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.heard(|_| RolledOut::Done).1, 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.file("key"), "one");
    let inode = std::fs::metadata(rig.folder.path().join("key")).unwrap().ino();
    rig.vault.seal();
    rig.vault.forget_requests();
    let fetched = rig.until("key", |_| true).await.fetched.unwrap();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    let asked = rig.vault.requests().len();
    assert!(
        (24..8_640).contains(&asked),
        "{asked} requests in a day: it goes on asking, and not more often than every ten seconds"
    );
    let picture = Arc::clone(&rig.pictures.borrow());
    assert!(!picture.vault.as_ref().unwrap().link.up);
    let status = rig.until("key", |_| true).await;
    assert_eq!(status.fetched, Some(fetched), "its age is told");
    assert!(!status.component.up, "{:?}", status.component);
    let (told, rollouts) = rig.heard(|_| RolledOut::Done);
    assert_eq!(rollouts, 0);
    assert!(
        told.iter().any(|entry| entry.what == "vault_down") && told.iter().any(|entry| entry.what == "stale"),
        "{told:?}"
    );
    assert!(told.len() < 100, "{} records", told.len());
    let after = std::fs::metadata(rig.folder.path().join("key")).unwrap().ino();
    assert_eq!(after, inode, "the file was not touched");
    rig.vault.unseal();
    let began = rig.clock.now().wall.0;
    let fresh = rig.until("key", |status| status.fetched > Some(fetched) && status.component.up).await;
    assert!(fresh.fetched.unwrap() - began <= 60_000, "{fresh:?}");
    assert_eq!(rig.heard(|_| RolledOut::Done).1, 0, "what has not changed is not rolled out");
}

#[tokio::test(start_paused = true)]
async fn a_start_without_vault_uses_what_was_kept() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), KEY).await;
    rig.until("key", |status| status.component.up).await;
    let (vault, folder) = rig.end().await;
    vault.seal();
    std::fs::remove_file(folder.path().join("key")).unwrap();
    let mut rig = Rig::over(vault, folder, KEY).await;
    assert_eq!(rig.file("key"), "one", "before anything is asked");
    let status = rig.until("key", |status| status.kept).await;
    assert!(status.fetched.is_some());
    // What stands there meanwhile is not overwritten by what was kept.
    let (vault, folder) = rig.end().await;
    std::fs::write(folder.path().join("key"), "newer").unwrap();
    let mut rig = Rig::over(vault, folder, KEY).await;
    assert_eq!(rig.file("key"), "newer");
    rig.vault.unseal();
    rig.until("key", |status| !status.kept && status.component.up).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_its_users_cannot_use_is_put_back_and_not_tried_again() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(rig.heard(|_| RolledOut::Done).1, 1);
    rig.until("key", |status| status.component.up).await;
    put(&rig.vault, "two");
    let failed = |rollout: &RollOut| RolledOut::Failed { service: Arc::clone(&rollout.services[0]) };
    let mut rollouts = 0;
    let mut told = Vec::new();
    for _ in 0..360 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (more, count) = rig.heard(failed);
        rollouts += count;
        told.extend(more);
    }
    assert_eq!(rollouts, 1, "tried once");
    assert_eq!(rig.file("key"), "one");
    assert!(told.iter().any(|entry| entry.what == "rejected" && entry.level == tracing::Level::ERROR), "{told:?}");
    let status = rig.until("key", |_| true).await;
    assert!(!status.component.up && status.component.message.as_ref().unwrap().contains("web"), "{status:?}");
    // The next value is tried.
    put(&rig.vault, "three");
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(rig.heard(|_| RolledOut::Done).1, 1);
    rig.until("key", |status| status.component.up && status.version == Some(3)).await;
    assert_eq!(rig.file("key"), "three");
}

#[tokio::test(start_paused = true)]
async fn a_template_with_a_mistake_is_told_and_the_others_go_on() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let more = r#"
[[credentials.key.files]]
path = "DIR/wrong"
template = "a\n{{ nothing_like_it }}"
[credentials.other]
type = "kv2"
path = "services/web/key"
[[credentials.other.files]]
path = "DIR/other"
"#;
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &format!("{KEY}{more}")).await;
    rig.until("other", |status| status.component.up).await;
    let status = rig
        .until("key", |status| status.component.message.as_deref().is_some_and(|words| words.contains("line 2")))
        .await;
    assert!(status.component.message.as_ref().unwrap().contains("nothing_like_it"), "{status:?}");
    assert_eq!((rig.file("key"), rig.file("other"), rig.file("wrong")), ("one".into(), "one".into(), String::new()));
}

#[tokio::test(start_paused = true)]
async fn a_newer_value_waits_for_the_one_on_its_way_and_is_what_stays() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
    put(&rig.vault, "two");
    let second = rig.rollout().await;
    put(&rig.vault, "three");
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(rig.file("key"), "two", "one at a time");
    let service = Arc::clone(&second.services[0]);
    assert!(second.ended.send(RolledOut::Failed { service }).is_ok());
    let ended = rig.undo().await;
    assert_eq!(rig.file("key"), "one");
    assert!(ended.send(RolledOut::Done).is_ok());
    assert!(rig.rollout().await.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up && status.version == Some(3)).await;
    assert_eq!(rig.file("key"), "three");
}

#[tokio::test(start_paused = true)]
async fn another_template_is_rendered_by_the_next_run() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), KEY).await;
    rig.until("key", |status| status.component.up).await;
    let (vault, folder) = rig.end().await;
    let templated = KEY.replace("path = \"DIR/key\"", "path = \"DIR/key\"\ntemplate = \"KEY={{ value }}\"");
    let mut rig = Rig::over(vault, folder, &templated).await;
    rig.until("key", |status| !status.kept && status.component.up).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.file("key"), "KEY=one");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_passed_over_because_their_host_was_not_seen_yet() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    rig.seen.send_replace(Arc::new(Snapshot::nothing(rig.clock.now())));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((rig.file("key").as_str(), rig.heard(|_| RolledOut::Done).1), ("one", 0), "it waits for the host");
    rig.seen.send_replace(Arc::new(listed(rig.clock.now())));
    let rollout = rig.rollout().await;
    let written = std::fs::metadata(rig.folder.path().join("key")).unwrap();
    let written = written.mtime() * 1000 + written.mtime_nsec() / 1_000_000;
    assert_eq!(
        rollout.written,
        Some(written),
        "who was started since, before its host was seen, is not restarted again"
    );
    assert!(rollout.ended.send(RolledOut::Done).is_ok());
    rig.until("key", |status| status.component.up).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_told_nothing_has_time_to_read_its_file_also_across_a_restart() {
    let none = DYNAMIC.replace("on_change = \"restart\"", "on_change = \"none\"");
    let vault = Rig::vault().await;
    vault.database("app", json!({"default_ttl": "1h", "max_ttl": "1h"}));
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &none).await;
    rig.until("db", |status| status.component.up).await;
    let first = rig.file("db");
    while rig.file("db") == first {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let second = rig.file("db");
    tokio::time::sleep(Duration::from_secs(100)).await;
    let (vault, folder) = rig.end().await;
    let rig = Rig::over(vault, folder, &none).await;
    tokio::time::sleep(Duration::from_secs(280)).await;
    assert!(rig.accepts(&first) && rig.accepts(&second), "it may not have read its file yet");
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(!rig.accepts(&first) && rig.accepts(&second), "it is neither forgotten nor kept for ever");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_delays_records_and_loses_none() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::with_queue(1, vault, tempfile::tempdir().unwrap(), KEY).await;
    rig.until("key", |status| status.component.up).await;
    put(&rig.vault, "two");
    rig.until("key", |status| status.version == Some(2)).await;
    let mut told = Vec::new();
    for _ in 0..20 {
        told.extend(rig.heard(|_| RolledOut::Done).0.into_iter().map(|entry| entry.what));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let wanted = ["read", "rendered", "in_use"];
    told.retain(|what| wanted.contains(what));
    assert_eq!(told, [wanted, wanted].concat());
}

#[tokio::test(start_paused = true)]
async fn a_check_sends_what_is_in_use_or_on_its_way_and_never_one_that_is_put_back() {
    let mut rig = Rig::over(Rig::vault().await, tempfile::tempdir().unwrap(), &restarted()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.used(), Err(Missing::Value("key".into())));
    put(&rig.vault, "one");
    let first = rig.rollout().await;
    assert_eq!(rig.used(), Ok("one".to_owned()), "the first is used to see how the services are with it");
    first.ended.send(RolledOut::Done).unwrap();
    rig.until("key", |status| status.component.up).await;
    assert_eq!(rig.used(), Ok("one".to_owned()));
    put(&rig.vault, "two");
    let second = rig.rollout().await;
    assert_eq!((rig.file("key"), rig.used(), rig.other()), ("two".to_owned(), Ok("one".to_owned()), "two".to_owned()));
    second.ended.send(RolledOut::Failed { service: "web".into() }).unwrap();
    rig.undo().await.send(RolledOut::Done).unwrap();
    rig.until("key", |status| !status.component.up).await;
    assert_eq!((rig.used(), rig.other()), (Ok("one".to_owned()), "one".to_owned()));
    // A run that begins without Vault has what was kept.
    let (vault, folder) = rig.end().await;
    vault.seal();
    let mut rig = Rig::over(vault, folder, &restarted()).await;
    rig.until("key", |status| status.kept).await;
    assert_eq!(rig.used(), Ok("one".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_has_what_was_written_just_now_is_not_asked_of_the_clock() {
    let vault = Rig::vault().await;
    put(&vault, "one");
    let mut rig = Rig::over(vault, tempfile::tempdir().unwrap(), &restarted()).await;
    let rollout = rig.rollout().await;
    assert_eq!(rollout.written, None, "a clock that was set back would say that everybody has it");
    assert!(rollout.ended.send(RolledOut::Done).is_ok());
}
