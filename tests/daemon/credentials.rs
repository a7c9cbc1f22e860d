//! Credentials of a real container: one patient checks a key, another uses it, and Vault's double keeps it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Home, PROGRAM, Settings};
use crate::site::Site;
use crate::support::{Need, test};
use crate::vault::Vault;
use crate::{scratch, until};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("credentials::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_changed_secret_reaches_the_container_that_uses_it_by_one_restart,
        one_that_its_user_cannot_use_is_put_back,
        a_rotation_is_carried_through,
        a_rotation_that_the_service_refuses_is_rolled_back_and_the_service_goes_on,
        a_vault_that_is_away_stops_nothing_and_a_start_without_it_uses_what_was_kept,
        a_value_set_by_hand_arrives,
        a_check_sends_the_value_that_is_in_use,
    ]
}

/// The lock, its user, Vault, and the files between them.
struct Stage {
    site: Site,
    vault: Vault,
    folder: tempfile::TempDir,
    user: String,
    lock_at: String,
}

const FIRST: &str = "the-first-key";

impl Stage {
    /// A lock that opens for the first key, with these orders more.
    fn new(orders: &[&str]) -> Self {
        let site = Site::shared();
        let vault = Vault::on_a_thread();
        let folder = scratch();
        for name in ["state", "secrets"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("state/key"), format!("{FIRST}\n")).unwrap();
        vault.write("secret/data/services/user/key", json!({"data": {"value": FIRST, "note": "kept"}}));
        fs::write(folder.path().join("token"), format!("{}\n", vault.root_token)).unwrap();
        let state = format!("{}:/state", folder.path().join("state").display());
        let lock = site.patient("lock", &["-v", &state], &[&["--key", "/state/key"], orders].concat());
        let address = site.inspect(&lock, ".NetworkSettings.IPAddress");
        let (user, lock_at) = (site.name("user"), format!("{address}:8080"));
        Self { site, vault, folder, user, lock_at }
    }

    /// Starts the key's user.
    fn start_user(&self) {
        let secrets = format!("{}:/secrets:ro", self.folder.path().join("secrets").display());
        self.site.patient("user", &["-v", &secrets], &["--uses", "/secrets/key", "--at", &self.lock_at]);
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("secrets/key")
    }

    fn rendered(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// Sections for the daemon; `more` are keys of the credential and tables of it.
    fn sections(&self, more: &str) -> String {
        let Self { folder, lock_at, user, .. } = self;
        let (folder, file) = (folder.path().display(), self.file().display().to_string());
        format!(
            r#"[recovery]
quiet_start = "0s"
[services.user]
container = "{user}"
[[services.user.checks]]
name = "api"
type = "http"
interval = "1s"
url = "http://{{address}}:8080/"
on_failure = "heal"
[vault]
address = "{address}"
auth = {{ type = "token", token_file = "{folder}/token" }}
[credentials.key]
type = "kv2"
path = "services/user/key"
services = ["user"]
splay = "0s"
refresh = "10s"
{more}
[[credentials.key.files]]
path = "{file}"
[credentials.key.rotation]
grace = "1s"
generator = {{ type = "characters", length = 24 }}
apply = {{ type = "http", method = "PUT", url = "http://{lock_at}/key", headers = {{ x-key = "{{{{ old }}}}" }}, body = "{{{{ value }}}}" }}
verify = {{ type = "http", url = "http://{lock_at}/open", headers = {{ x-key = "{{{{ value }}}}" }} }}
retire = {{ type = "http", method = "DELETE", url = "http://{lock_at}/previous", headers = {{ x-key = "{{{{ value }}}}" }} }}
"#,
            address = self.vault.address
        )
    }

    fn home(&self, more: &str) -> Home {
        Home::new(
            &self.site,
            &Settings { more: self.sections(more), level: "trace", discovery: false, ..Settings::default() },
        )
    }

    /// A daemon whose credential is in use, and the key's user healthy with it.
    fn start(&self, home: &Home) -> Daemon {
        let daemon = home.start(&[]);
        until("the key is rendered", || (self.rendered() == FIRST).then_some(()));
        self.start_user();
        // Where its host is seen only now, it is told of the key by a restart of its own.
        until("the key is in use", || (credential(home)["version"] == 1).then_some(()));
        daemon.until_health("user", "healthy");
        daemon
    }

    /// How often the user has started.
    fn starts(&self) -> String {
        self.site.inspect(&self.user, ".State.StartedAt")
    }

    /// What Vault holds.
    fn stored(&self) -> Value {
        self.vault.read("secret/data/services/user/key").unwrap()["data"].clone()
    }
}

fn credential(home: &Home) -> Value {
    let said = home.iaso(&["credentials", "list", "--output", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let all: Value = serde_json::from_str(&said.out).unwrap();
    let list = all["credentials"].as_array().unwrap_or_else(|| panic!("{all}"));
    list.iter().find(|known| known["name"] == "key").cloned().unwrap()
}

fn ordered(home: &Home, order: &str) {
    let said = home.iaso(&["credentials", order, "key"]);
    assert_eq!(said.code, 0, "{said:?}");
}

/// Asks the key's user again and again, from a thread of its own, whether it serves.
struct Asked {
    stop: Arc<AtomicBool>,
    answers: Arc<(AtomicU32, AtomicU32)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Asked {
    fn new(address: &str) -> Self {
        let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<(AtomicU32, AtomicU32)>::default());
        let (stopped, counted, url) = (Arc::clone(&stop), Arc::clone(&answers), format!("http://{address}:8080/"));
        let ask = move || {
            while !stopped.load(Ordering::Relaxed) {
                let asked = Command::new(PROGRAM).args(["patient", "--probe", &url]).output().unwrap();
                if asked.status.success() {
                    counted.0.fetch_add(1, Ordering::Relaxed);
                } else if ["answered", "refused"].map(str::as_bytes).iter().any(|words| holds(&asked.stderr, words)) {
                    // An answer that does not come in time on a busy machine is none.
                    counted.1.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        let thread = std::thread::Builder::new().spawn(ask).unwrap();
        Self { stop, answers, thread: Some(thread) }
    }

    /// How often it did not serve, of more than five times.
    fn failures(mut self) -> u32 {
        until("it has served often", || (self.answers.0.load(Ordering::Relaxed) > 5).then_some(()));
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.answers.1.load(Ordering::Relaxed)
    }
}

fn a_changed_secret_reaches_the_container_that_uses_it_by_one_restart() {
    let stage = Stage::new(&[]);
    let home = stage.home("on_change = \"restart\"");
    let daemon = stage.start(&home);
    assert_eq!(fs::metadata(stage.file()).map(|file| mode(&file)).unwrap(), 0o600);
    let before = stage.starts();
    // The lock opens for both, as a service does while its key is replaced.
    fs::write(stage.folder.path().join("state/key"), format!("another-key\n{FIRST}\n")).unwrap();
    stage.vault.write("secret/data/services/user/key", json!({"data": {"value": "another-key", "note": "kept"}}));
    ordered(&home, "refresh");
    until("the new value is rendered", || (stage.rendered() == "another-key").then_some(()));
    until("the user is restarted", || (stage.starts() != before).then_some(()));
    until("the new version is in use", || (credential(&home)["version"] == 2).then_some(()));
    daemon.until_health("user", "healthy");
    let after = stage.starts();
    // Nothing has changed: nothing is touched.
    let written = fs::metadata(stage.file()).unwrap().modified().unwrap();
    ordered(&home, "refresh");
    daemon.until_line("it is read again", |line| {
        line["credential"] == "key" && line["event"] == "read" && line["message"] == "key: as before"
    });
    assert_eq!(fs::metadata(stage.file()).unwrap().modified().unwrap(), written);
    assert_eq!(stage.starts(), after, "one restart for one change");
    assert_eq!(daemon.count("user", "incident_opened"), 0, "a credential's restart is no outage");
    daemon.stop();
}

fn one_that_its_user_cannot_use_is_put_back() {
    let stage = Stage::new(&[]);
    let home = stage.home("on_change = \"restart\"");
    let daemon = stage.start(&home);
    stage.vault.write("secret/data/services/user/key", json!({"data": {"value": "a-wrong-key"}}));
    ordered(&home, "refresh");
    daemon.until_line("it is rejected", |line| line["credential"] == "key" && line["event"] == "rejected");
    assert_eq!(stage.rendered(), FIRST, "the last good value is back");
    daemon.until_health("user", "healthy");
    until("/health tells of it", || {
        let (_, health) = daemon.health();
        (health["components"]["credential/key"]["status"] == "degraded").then_some(())
    });
    let starts = stage.starts();
    ordered(&home, "plan");
    assert_eq!(stage.starts(), starts, "what was rejected is not tried again and again");
    daemon.stop();
}

fn a_rotation_is_carried_through() {
    let stage = Stage::new(&[]);
    let home = stage.home("on_change = \"signal:HUP\"");
    let daemon = stage.start(&home);
    let asked = Asked::new(&stage.site.inspect(&stage.user, ".NetworkSettings.IPAddress"));
    let starts = stage.starts();
    ordered(&home, "rotate");
    let retired = |kept: &str| kept.lines().count() == 1 && kept.trim_end() != FIRST;
    let key = until("the old key is retired", || {
        fs::read_to_string(stage.folder.path().join("state/key")).ok().filter(|kept| retired(kept))
    });
    until("the rotation is over", || (credential(&home)["rotation"]["step"] == "idle").then_some(()));
    let key = key.trim_end();
    assert_eq!((stage.rendered().as_str(), key.len()), (key, 24));
    let stored = stage.stored();
    assert_eq!(stored["data"], json!({"value": key, "note": "kept"}), "other fields stay");
    assert_eq!(stored["metadata"]["version"], 2);
    daemon.until_health("user", "healthy");
    assert_eq!(stage.starts(), starts, "a signal was enough");
    assert_eq!(asked.failures(), 0, "it served all the time");
    let secrets = [FIRST, key, &stage.vault.root_token];
    let process = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", daemon.pid())).unwrap();
    let said = ["list", "plan key"].map(|words| {
        let words: Vec<&str> = ["credentials"].into_iter().chain(words.split(' ')).collect();
        home.iaso(&words).out
    });
    let told = [daemon.get("/metrics").1, daemon.whole_health().to_string(), credential(&home).to_string()];
    for text in told.iter().chain(&said).chain(&[process("cmdline"), process("environ")]) {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    daemon.stop();
    no_key_is_found(&home, &secrets);
}

fn a_rotation_that_the_service_refuses_is_rolled_back_and_the_service_goes_on() {
    let stage = Stage::new(&["--longest-key", "20"]);
    let home = stage.home("on_change = \"restart\"");
    let daemon = stage.start(&home);
    let asked = Asked::new(&stage.site.inspect(&stage.user, ".NetworkSettings.IPAddress"));
    let starts = stage.starts();
    ordered(&home, "rotate");
    let told =
        daemon.until_line("it is rolled back", |line| line["credential"] == "key" && line["event"] == "rolled_back");
    assert!(told["level"] == "ERROR" || told["level"] == "WARN", "{told}");
    until("the rotation is over", || (credential(&home)["rotation"]["step"] == "idle").then_some(()));
    assert_eq!(stage.stored()["data"]["value"], FIRST, "Vault's newest version is the old value");
    assert_eq!((stage.rendered().as_str(), stage.starts()), (FIRST, starts));
    assert!(fs::read_to_string(stage.folder.path().join("state/key")).unwrap().starts_with(FIRST));
    assert_eq!(asked.failures(), 0, "it served all the time");
    daemon.stop();
}

fn a_vault_that_is_away_stops_nothing_and_a_start_without_it_uses_what_was_kept() {
    let stage = Stage::new(&[]);
    let home = stage.home("on_change = \"restart\"");
    let daemon = stage.start(&home);
    let starts = stage.starts();
    stage.vault.seal();
    ordered(&home, "refresh");
    until("/health tells of Vault", || {
        let (status, health) = daemon.health();
        (status == 200 && health["components"]["vault"]["status"] == "unhealthy").then_some(())
    });
    daemon.stop();
    // As after a boot, with its files in memory.
    fs::remove_file(stage.file()).unwrap();
    let daemon = home.start(&[]);
    until("what was kept is rendered", || (stage.rendered() == FIRST).then_some(()));
    until("it is told to be kept", || (credential(&home)["kept"] == true).then_some(()));
    daemon.until_health("user", "healthy");
    assert_eq!(stage.starts(), starts, "nothing was restarted");
    stage.vault.unseal();
    until("it is confirmed", || (credential(&home)["kept"] == false).then_some(()));
    assert_eq!(stage.starts(), starts, "nor after that");
    daemon.stop();
}

fn a_value_set_by_hand_arrives() {
    let stage = Stage::new(&[]);
    let home = stage.home("on_change = \"signal:HUP\"");
    let daemon = stage.start(&home);
    fs::write(stage.folder.path().join("state/key"), format!("set-by-hand\n{FIRST}\n")).unwrap();
    let input = home.path().join("input");
    fs::write(&input, "set-by-hand\n").unwrap();
    let said = home.iaso(&["credentials", "set", "key", "--file", input.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    until("it is rendered", || (stage.rendered() == "set-by-hand").then_some(()));
    assert_eq!(stage.stored()["data"]["value"], "set-by-hand");
    daemon.until_health("user", "healthy");
    daemon.stop();
}

fn a_check_sends_the_value_that_is_in_use() {
    let stage = Stage::new(&[]);
    let (lock, state, value) =
        (stage.site.name("lock"), stage.folder.path().join("state/key"), stage.folder.path().join("value"));
    let sections = format!(
        r#"[recovery]
quiet_start = "0s"
[services.lock]
container = "{lock}"
[[services.lock.checks]]
name = "open"
type = "http"
interval = "1s"
url = "http://{{address}}:8080/open"
headers = {{ x-key = "${{credential:key}}" }}
on_failure = "heal"
[credentials.key]
type = "file"
path = "{}"
refresh = "10s"
"#,
        value.display()
    );
    let settings = Settings { more: sections, level: "trace", discovery: false, ..Settings::default() };
    let home = Home::new(&stage.site, &settings);
    let events = stage.site.events();
    let daemon = home.start(&[]);
    // Nothing is known of the service while there is nothing to ask it with.
    until("the value was looked for twice, and so the service often", || {
        let missed = daemon.lines().iter().filter(|line| line["event"] == "read_failed").count();
        (missed > 1).then_some(())
    });
    daemon.until_health("lock", "starting");
    let checks = |result| daemon.metric("iaso_checks_total", &[("service", "lock"), ("result", result)]).unwrap_or(0.0);
    assert_eq!((checks("passed"), checks("failed")), (0.0, 0.0));
    let probed = home.iaso(&["probe", "lock", "--config", home.config().to_str().unwrap()]);
    assert!(probed.code == 0 && probed.out.contains("only the daemon knows"), "{probed:?}");
    fs::write(&value, FIRST).unwrap();
    ordered(&home, "refresh");
    daemon.until_health("lock", "healthy");
    // The lock opens for both until the new one is in use, and then for that alone.
    fs::write(&state, format!("another-key\n{FIRST}\n")).unwrap();
    fs::write(&value, "another-key").unwrap();
    let before = credential(&home)["changed"].clone();
    ordered(&home, "refresh");
    until("the new value is in use", || (credential(&home)["changed"] != before).then_some(()));
    fs::write(&state, "another-key\n").unwrap();
    let passed = checks("passed");
    until("it goes on passing", || (checks("passed") > passed + 3.0).then_some(()));
    daemon.until_health("lock", "healthy");
    assert_eq!(checks("failed"), 0.0);
    assert_eq!(
        (daemon.count("lock", "incident_opened"), daemon.count("lock", "check_proven")),
        (0, 1),
        "{}",
        daemon.text()
    );
    assert!(events.of(&lock).is_empty(), "nothing was done to it");
    let said = [daemon.get("/metrics").1, daemon.whole_health().to_string(), daemon.explain("lock"), probed.out];
    for text in said {
        assert!(!text.contains("another-key") && !text.contains(FIRST), "{text}");
    }
    daemon.stop();
    no_key_is_found(&home, &[FIRST, "another-key"]);
}

/// Nothing that the daemon left or said holds one of these.
fn no_key_is_found(home: &Home, secrets: &[&str]) {
    let mut looked = 0;
    let mut folders = vec![home.path().to_owned(), home.data().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                looked += 1;
                holds_none(&entry.path(), secrets);
            }
        }
    }
    assert!(looked > 3, "{looked} files");
}

fn holds_none(path: &Path, secrets: &[&str]) {
    let bytes = fs::read(path).unwrap();
    for secret in secrets {
        assert!(!holds(&bytes, secret.as_bytes()), "{} holds a secret", path.display());
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

fn mode(file: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o7777
}
