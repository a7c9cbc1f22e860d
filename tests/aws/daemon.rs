//! The daemon with a secret of AWS's: rendered, renewed when it has changed, and told nowhere.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use libtest_mimic::Trial;
use serde_json::json;

use crate::moto::{self, REGION};
use crate::support::{Need, test};
use crate::{scratch, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_iaso");
/// Every planted secret has this in it.
const SECRET: &str = "s3cret-0f-a-test";

pub fn tests() -> Vec<Trial> {
    vec![
        test("daemon::a_secret_is_rendered_and_renewed_and_told_nowhere", &[moto::PROGRAM], || {
            a_secret_is_rendered_and_renewed_and_told_nowhere();
            Ok(())
        }),
        test("daemon::what_cannot_be_written_has_no_rotation", &[Need::Nothing], || {
            what_cannot_be_written_has_no_rotation();
            Ok(())
        }),
    ]
}

/// A daemon that runs; killed when it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_secret_is_rendered_and_renewed_and_told_nowhere() {
    let (moto, dir) = (moto::shared(), scratch());
    let at = |name: &str| dir.path().join(name);
    moto.create("daemon/key", &format!(r#"{{"user":"ann","password":"{SECRET}-1"}}"#));
    moto.create("daemon/nested", &format!(r#"{{"keys":["{SECRET}-nested"]}}"#));
    let (address, file, nested) = (&moto.address, at("rendered"), at("nested"));
    let config = format!(
        r#"[daemon]
data_dir = "{data}"
socket = "{socket}"
log = {{ level = "trace", format = "json" }}
[hosts.local]
url = "unix://{none}"
[api]
listen = "127.0.0.1:0"
[credentials.key]
type = "aws"
secret_id = "daemon/key"
region = "{REGION}"
endpoint = "{address}"
field = "password"
files = [{{ path = "{file}", template = "{{{{ user }}}}:{{{{ password }}}}" }}]
[credentials.nested]
type = "aws"
secret_id = "daemon/nested"
region = "{REGION}"
endpoint = "{address}"
files = [{{ path = "{nested}" }}]
"#,
        data = at("data").display(),
        socket = at("sock").display(),
        none = at("none").display(),
        file = file.display(),
        nested = nested.display(),
    );
    fs::write(at("iaso.toml"), config).unwrap();
    let log = fs::File::create(at("log")).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config"]).arg(at("iaso.toml")).env("AWS_ACCESS_KEY_ID", "AKIATEST");
    command.env("AWS_SECRET_ACCESS_KEY", format!("{SECRET}-key")).env("AWS_SESSION_TOKEN", format!("{SECRET}-token"));
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = Daemon(spawned);
    let rendered = |text: &str| {
        until(&format!("{text} is rendered"), || fs::read_to_string(&file).ok().filter(|found| found == text));
    };
    rendered(&format!("ann:{SECRET}-1"));
    let changed = format!(r#"{{"user":"ann","password":"{SECRET}-2"}}"#);
    moto.secrets("PutSecretValue", &json!({ "SecretId": "daemon/key", "SecretString": changed }));
    let refreshed = iaso(dir.path(), &["credentials", "refresh", "key"]);
    assert!(refreshed.status.success(), "{refreshed:?}");
    rendered(&format!("ann:{SECRET}-2"));
    let value = at("value");
    fs::write(&value, "other").unwrap();
    let set = iaso(dir.path(), &["credentials", "set", "key", "--file", value.to_str().unwrap()]);
    assert!(!set.status.success() && text(&set).contains("only secrets of a KV engine of version 2"), "{set:?}");
    let told = until("the nested one is told", || {
        Some(text(&iaso(dir.path(), &["credentials"]))).filter(|told| told.contains("\"keys\""))
    });
    assert!(told.contains("aws"), "{told}");
    // Everything that it left but the file that it was told to write.
    drop(daemon);
    fs::remove_file(&file).unwrap();
    let log = fs::read_to_string(at("log")).unwrap();
    assert!(log.contains("daemon/nested") && log.contains("\"DEBUG\""), "{log}");
    assert!(!nested.exists());
    for text in [&log, &told] {
        assert!(!text.contains(SECRET), "{text}");
    }
    for entry in fs::read_dir(at("data")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        assert!(memchr::memmem::find(&bytes, SECRET.as_bytes()).is_none(), "{}", path.display());
    }
}

fn what_cannot_be_written_has_no_rotation() {
    let dir = scratch();
    let config = "[credentials.key]\ntype = \"aws\"\nsecret_id = \"a\"\n[credentials.key.rotation]\n";
    fs::write(dir.path().join("iaso.toml"), config).unwrap();
    let checked = Command::new(PROGRAM).args(["check", "--config"]).arg(dir.path().join("iaso.toml")).output().unwrap();
    let told = text(&checked);
    assert!(told.contains("credentials.key.rotation") && told.contains("of type aws cannot be written"), "{told}");
}

/// Asks the daemon by the command line.
fn iaso(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env("IASO_SOCKET", folder.join("sock")).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
