//! Iaso's client in a process of its own: AWS's settings are variables of the environment, which are each test's own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use iaso::config::validated::{AwsSecret, Source};
use iaso::credentials::aws::Aws;
use iaso::credentials::provider::Provider;
use iaso::system::clock::Clock;
use iaso::system::meters::Meters;
use iaso::system::resolver::Resolver;
use serde_json::{Map, Value, json};

use crate::moto::REGION;
use crate::wait;

/// The variable by which the process knows what it is.
pub const MARK: &str = "IASO_TEST_AWS_READER";

/// Reads each secret that a line names, and prints what came of it.
pub fn serve() -> ExitCode {
    let clock = Clock::new();
    let client = Aws::new(&Resolver::system(clock), Meters::new(clock)).unwrap();
    wait(async {
        for line in std::io::stdin().lines() {
            let asked: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let text = |name: &str| asked[name].as_str().map(str::to_owned);
            let source = Source::Aws(AwsSecret {
                secret_id: text("secret_id").unwrap(),
                region: text("region"),
                version_stage: text("version_stage").unwrap(),
                endpoint: text("endpoint"),
            });
            let said = match client.read(&source).await {
                Ok(fetched) => {
                    assert_eq!((fetched.version, &fetched.lease, fetched.not_after), (None, &None, None));
                    let fields = fetched.fields.iter().map(|(name, value)| (name.clone(), value.expose().into()));
                    json!({ "fields": fields.collect::<Map<String, Value>>() })
                }
                Err(failure) => json!({ "fault": failure.fault.name(), "words": failure.words }),
            };
            println!("{said}");
        }
    });
    ExitCode::SUCCESS
}

/// A secret to read.
pub struct Asked<'a> {
    pub secret_id: &'a str,
    pub region: Option<&'a str>,
    pub version_stage: &'a str,
    pub endpoint: &'a str,
}

impl<'a> Asked<'a> {
    pub fn of(secret_id: &'a str, endpoint: &'a str) -> Self {
        Self { secret_id, region: Some(REGION), version_stage: "AWSCURRENT", endpoint }
    }
}

/// Why nothing was read.
#[derive(Debug)]
pub struct Refusal {
    pub fault: String,
    pub words: String,
}

/// The process; ended when it is dropped.
pub struct Reader {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Reader {
    /// With some credentials of AWS.
    pub fn new() -> Self {
        Self::with(&[("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "test")])
    }

    /// With these variables, and no metadata of an instance unless they name it.
    pub fn with(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env_clear().env(MARK, "1").env("HOME", "/nonexistent");
        if variables.iter().all(|(name, _)| *name != "AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            command.env("AWS_EC2_METADATA_DISABLED", "true");
        }
        command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn ask(&mut self, asked: &Asked) -> Value {
        let Asked { secret_id, region, version_stage, endpoint } = asked;
        let line =
            json!({ "secret_id": secret_id, "region": region, "version_stage": version_stage, "endpoint": endpoint });
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut said = String::new();
        self.said.read_line(&mut said).unwrap();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// A secret's fields, by name.
    pub fn fields(&mut self, asked: &Asked) -> Vec<(String, String)> {
        let said = self.ask(asked);
        let fields = said["fields"].as_object().unwrap_or_else(|| panic!("{said}"));
        fields.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
    }

    /// The one field `value`.
    pub fn value(&mut self, asked: &Asked) -> String {
        let mut fields = self.fields(asked);
        assert!(fields.len() == 1 && fields[0].0 == "value", "{fields:?}");
        fields.remove(0).1
    }

    /// Why it cannot be read. The words always name the secret.
    pub fn refusal(&mut self, asked: &Asked) -> Refusal {
        let said = self.ask(asked);
        let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{said}")).to_owned();
        let refusal = Refusal { fault: text("fault"), words: text("words") };
        assert!(refusal.words.starts_with(asked.secret_id), "{refusal:?}");
        refusal
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
