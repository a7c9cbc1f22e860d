//! Response wrapping: a reply that can be taken once.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::Call;
use super::reply::{Answer, Outcome, Refusal, Secret, data, envelope, refuse};
use super::state::State;
use super::values::{random, uuid};

/// A reply that waits to be taken.
#[derive(Debug, Clone)]
pub(super) struct Wrapped {
    reply: Value,
    ttl: Duration,
    created: Timestamp,
    pub expires: Timestamp,
    path: String,
}

fn invalid() -> Refusal {
    refuse(400, "wrapping token is not valid or does not exist")
}

impl State {
    /// Puts a reply aside; what is answered instead.
    pub(super) fn wrap(&mut self, secret: Secret, ttl: Duration, path: &str, now: Timestamp) -> Secret {
        let token = format!("{}{}", if self.flavour == super::Flavour::Vault { "hvs." } else { "s." }, random(24));
        let mut info = json!({
            "token": token,
            "accessor": uuid(),
            "ttl": ttl.as_secs(),
            "creation_time": now.to_string(),
            "creation_path": path,
        });
        if let Some(accessor) = secret.auth.as_ref().and_then(|auth| auth.get("accessor")) {
            info["wrapped_accessor"] = accessor.clone();
        }
        let wrapped =
            Wrapped { reply: envelope(secret, None), ttl, created: now, expires: now + ttl, path: path.to_owned() };
        self.wrapped.insert(token, wrapped);
        Secret { wrap_info: Some(info), ..Secret::default() }
    }

    /// The token that is meant: the one in the body, else the caller's own.
    fn meant(call: &Call) -> &str {
        call.fields().text("token").or(call.token.as_deref()).unwrap_or_default()
    }

    pub(super) fn unwrap(&mut self, call: &Call) -> Outcome {
        let wrapped = self.wrapped.remove(Self::meant(call)).ok_or_else(invalid)?;
        Ok(Answer::Raw(200, wrapped.reply))
    }

    pub(super) fn look_up_wrapped(&self, call: &Call) -> Outcome {
        let wrapped = self.wrapped.get(Self::meant(call)).ok_or_else(invalid)?;
        data(json!({
            "creation_path": wrapped.path,
            "creation_time": wrapped.created.to_string(),
            "creation_ttl": wrapped.ttl.as_secs(),
        }))
    }
}
