//! What Iaso logs in with, and journals of rotations, over runs that are killed.

use super::double::{Fault as Wrong, Rule};
use super::*;
use crate::orders::{CredentialOrder, CredentialReply};

const WRAPPED: &str = "auth = { type = \"approle\", role_id_file = \"DIR/role-id\", secret_id_file = \"DIR/secret-id\", \
                       wrapped_at = \"auth/approle/role/iaso/secret-id\" }";

/// Puts a new secret-id where it is looked for, in a wrapping, whose token is returned.
async fn wrap(vault: &Double, folder: &tempfile::TempDir) -> String {
    let role = vault.approle("iaso", json!({"token_policies": ["root"], "token_ttl": "1h"}));
    let asked = reqwest::Client::new().post(format!("{}/v1/auth/approle/role/iaso/secret-id", vault.address));
    let asked = asked.header("x-vault-token", &vault.root_token).header("x-vault-wrap-ttl", "24h");
    let answer = asked.send().await.unwrap().bytes().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let token = answer["wrap_info"]["token"].as_str().unwrap();
    std::fs::write(folder.path().join("role-id"), role.role_id).unwrap();
    std::fs::write(folder.path().join("secret-id"), token).unwrap();
    token.to_owned()
}

fn unwraps(vault: &Double) -> usize {
    vault.count(|asked| asked.path == "sys/wrapping/unwrap")
}

/// Waits for a record with these words.
async fn heard(rig: &mut Rig, words: &str) -> Vec<CredentialEntry> {
    let mut told = Vec::new();
    for _ in 0..360 {
        told.extend(rig.heard(|_| RolledOut::Done).0);
        if told.iter().any(|entry| entry.words.contains(words)) {
            return told;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    panic!("nobody said {words:?}: {told:?}")
}

fn is_alarmed(told: &[CredentialEntry]) -> bool {
    told.iter().any(|entry| entry.what == "tampered")
}

#[tokio::test(start_paused = true)]
async fn an_unwrapped_secret_id_outlives_a_kill_until_it_is_refused() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let token = wrap(&vault, &folder).await;
    let mut rig = Rig::with(vault, folder, WRAPPED, KEY, Clock::of_tokio()).await;
    rig.until("key", |status| status.component.up).await;
    let (vault, folder) = rig.kill().await;
    for entry in std::fs::read_dir(folder.path().join("credentials")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|part| part == token.as_bytes()), "not even the spent token is there");
    }
    let mut rig = Rig::with(vault, folder, WRAPPED, KEY, Clock::of_tokio()).await;
    rig.until("key", |status| status.component.up && !status.kept).await;
    assert_eq!((unwraps(&rig.vault), rig.vault.logins()), (1, 2));
    assert!(!is_alarmed(&rig.heard(|_| RolledOut::Done).0));
    let (vault, folder) = rig.kill().await;
    // What was in it is refused: it is dropped, and what opened the wrapping is known.
    let refused = Wrong::Errors(400, vec!["invalid role or secret ID"]);
    vault.inject(Rule::on("POST", "auth/approle/login").once(), refused);
    let mut rig = Rig::with(vault, folder, WRAPPED, KEY, Clock::of_tokio()).await;
    assert!(!is_alarmed(&heard(&mut rig, "put a new wrapping token there").await));
    wrap(&rig.vault, &rig.folder).await;
    rig.until("key", |status| status.component.up && !status.kept).await;
    assert_eq!(unwraps(&rig.vault), 2);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_a_restart_needs_a_new_wrapping_and_is_no_alarm() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    wrap(&vault, &folder).await;
    let auth = &format!("keep = false\n{WRAPPED}");
    let mut rig = Rig::with(vault, folder, auth, KEY, Clock::of_tokio()).await;
    rig.until("key", |status| status.component.up).await;
    let (vault, folder) = rig.kill().await;
    let mut rig = Rig::with(vault, folder, auth, KEY, Clock::of_tokio()).await;
    assert!(!is_alarmed(&heard(&mut rig, "put a new wrapping token there").await));
    // Somebody else's hand is one.
    let token = wrap(&rig.vault, &rig.folder).await;
    let taken = reqwest::Client::new().post(format!("{}/v1/sys/wrapping/unwrap", rig.vault.address));
    assert!(taken.header("x-vault-token", token).send().await.unwrap().status().is_success());
    assert!(is_alarmed(&heard(&mut rig, "ALARM").await));
}

#[tokio::test(start_paused = true)]
async fn who_opens_a_wrapping_that_a_sealed_vault_did_not_open_is_an_alarm() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let token = wrap(&vault, &folder).await;
    vault.inject(Rule::on("POST", "sys/wrapping/unwrap"), Wrong::Errors(503, vec!["Vault is sealed"]));
    let mut rig = Rig::with(vault, folder, WRAPPED, KEY, Clock::of_tokio()).await;
    heard(&mut rig, "sealed").await;
    rig.vault.heal();
    let taken = reqwest::Client::new().post(format!("{}/v1/sys/wrapping/unwrap", rig.vault.address));
    assert!(taken.header("x-vault-token", token).send().await.unwrap().status().is_success());
    assert!(is_alarmed(&heard(&mut rig, "ALARM").await));
}

const ROTATED: &str = r#"
[credentials.key.rotation]
generator = { type = "characters", length = 20 }
"#;

async fn order(rig: &Rig, order: CredentialOrder) -> CredentialReply {
    let (reply, answer) = tokio::sync::oneshot::channel();
    let (by, request_id) = ("root".to_owned(), "r".to_owned());
    rig.orders.send(CredentialRequest { credential: "key".to_owned(), order, by, request_id, reply }).await.unwrap();
    answer.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_read_now_stays_and_holds_its_credential_until_it_can() {
    let (vault, folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let place = folder.path().join("rotation/key");
    std::fs::create_dir_all(&place).unwrap();
    let mut rig = Rig::over(vault, folder, &format!("{KEY}{ROTATED}")).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(rig.file("key"), "", "a rotation may be halfway");
    let set = CredentialOrder::Set(Secret::new("two"));
    assert!(matches!(order(&rig, set).await, CredentialReply::Refused(why) if why.contains("journal can be read")));
    let held = |status: &CredentialStatus| status.rotation.as_ref().unwrap().last.clone().unwrap_or_default();
    rig.until("key", |status| held(status).contains("waits until its journal can be read")).await;
    std::fs::remove_dir(&place).unwrap();
    rig.until("key", |status| status.component.up).await;
    assert_eq!((rig.file("key").as_str(), place.is_file()), ("one", true));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_journal_is_laid_aside_once_and_halts_until_a_person_comes() {
    let (mut vault, mut folder) = (Rig::vault().await, tempfile::tempdir().unwrap());
    put(&vault, "one");
    let journals = folder.path().join("rotation");
    std::fs::create_dir_all(&journals).unwrap();
    std::fs::write(journals.join("key"), "damaged").unwrap();
    let credentials = format!("{KEY}{ROTATED}");
    let halted = |status: &CredentialStatus| status.rotation.as_ref().is_some_and(|known| known.needs_a_person);
    for _ in 0..3 {
        let mut rig = Rig::over(vault, folder, &credentials).await;
        rig.until("key", halted).await;
        (vault, folder) = rig.kill().await;
    }
    let aside: Vec<_> = std::fs::read_dir(&journals).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(aside.len(), 2, "{aside:?}");
    assert!(aside.iter().any(|path| std::fs::read(path).unwrap() == b"damaged"));
    let mut rig = Rig::over(vault, folder, &credentials).await;
    rig.until("key", |status| halted(status) && status.component.up).await;
    let taken = order(&rig, CredentialOrder::Set(Secret::new("two"))).await;
    assert!(matches!(taken, CredentialReply::Taken(_)), "{taken:?}");
    rig.until("key", |status| !halted(status) && status.version == Some(2)).await;
}
