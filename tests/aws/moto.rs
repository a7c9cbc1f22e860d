//! moto's server: Secrets Manager and IAM of AWS, in memory.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::support::{Need, installed};
use crate::{scratch, until, wait};

/// What the tests of it need.
pub const PROGRAM: Need = Need::Python("moto_server");
pub const REGION: &str = "eu-west-1";

/// The server; ended when it is dropped.
pub struct Moto {
    child: Child,
    pub address: String,
    _dir: tempfile::TempDir,
}

static SHARED: Mutex<Option<Arc<Moto>>> = Mutex::new(None);

/// The server that tests share which name their secrets differently.
pub fn shared() -> Arc<Moto> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(shared.get_or_insert_with(|| Arc::new(Moto::start(u32::MAX))))
}

/// Ends it.
pub fn end_shared() {
    *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

impl Moto {
    /// It judges who asks from the action after the first `unjudged` on.
    pub fn start(unjudged: u32) -> Self {
        let dir = scratch();
        let log = dir.path().join("log");
        let output = fs::File::create(&log).unwrap();
        let mut command = Command::new(installed("moto_server").expect("moto"));
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null());
        if unjudged != u32::MAX {
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", unjudged.to_string());
        }
        let mut child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        let address = until("moto says where it listens", || {
            let text = read(&log);
            assert!(child.try_wait().unwrap().is_none(), "moto ended: {text}");
            let rest = text.split_once("Running on ")?.1.to_owned();
            rest.split_once('\n').map(|(address, _)| address.trim().to_owned())
        });
        Self { child, address, _dir: dir }
    }

    /// One action of Secrets Manager's.
    pub fn secrets(&self, action: &str, input: &Value) -> Value {
        let target = format!("secretsmanager.{action}");
        let asked = self.ask("secretsmanager").header("x-amz-target", target);
        let text = sent(asked.header("content-type", "application/x-amz-json-1.1").body(input.to_string()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{action}: {error}: {text}"))
    }

    /// A secret with this text.
    pub fn create(&self, name: &str, text: &str) {
        self.secrets("CreateSecret", &json!({ "Name": name, "SecretString": text }));
    }

    /// One action of IAM's; the XML that it answers.
    pub fn iam(&self, form: &str) -> String {
        let asked = self.ask("iam").header("content-type", "application/x-www-form-urlencoded");
        sent(asked.body(format!("{form}&Version=2010-05-08")))
    }

    fn ask(&self, service: &str) -> reqwest::RequestBuilder {
        let scope = format!("Credential=AKIATEST/20260101/{REGION}/{service}/aws4_request");
        let signed = format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        reqwest::Client::new().post(&self.address).header("authorization", signed)
    }
}

fn sent(asked: reqwest::RequestBuilder) -> String {
    let answer = wait(async { asked.send().await.unwrap().bytes().await.unwrap() });
    let text = String::from_utf8(answer.to_vec()).unwrap();
    assert!(!text.contains("__type") && !text.contains("<Error>"), "{text}");
    text
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
