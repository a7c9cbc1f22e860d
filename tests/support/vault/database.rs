//! The database engine, and the users of the one service that it mints for.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::{Call, Op};
use super::leases::Leased;
use super::login::password;
use super::reply::{Answer, Outcome, data, done, keys, not_found, refuse, unsupported_operation, unsupported_path};
use super::ttl::Limits;
use super::values::{random, seconds_until};

/// A database.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    roles: BTreeMap<String, Limits>,
    statics: BTreeMap<String, Static>,
    /// Whom the service lets in, with their passwords.
    pub users: BTreeMap<String, String>,
}

/// A user whose password Vault changes from time to time.
#[derive(Debug, Clone)]
struct Static {
    username: String,
    period: Duration,
    rotated: Timestamp,
}

impl Database {
    pub(super) fn answer(&mut self, call: &Call) -> Outcome {
        self.rotate(call.now);
        let fields = call.fields();
        if call.op == Op::List && call.path.trim_end_matches('/') == "roles" {
            return keys(self.roles.keys().cloned());
        }
        let Some((area, name)) = call.path.split_once('/') else { return Err(unsupported_path()) };
        match (area, call.op) {
            ("config", Op::Write) => done(),
            ("roles", Op::Write) => {
                let limits = Limits {
                    ttl: fields.duration("default_ttl")?.unwrap_or_default(),
                    max: fields.duration("max_ttl")?.unwrap_or_default(),
                    ..Limits::default()
                };
                self.roles.insert(name.to_owned(), limits);
                done()
            }
            ("roles", Op::Read) => {
                let limits = self.roles.get(name).ok_or_else(not_found)?;
                data(json!({ "default_ttl": limits.ttl.as_secs(), "max_ttl": limits.max.as_secs() }))
            }
            ("roles", Op::Delete) => {
                self.roles.remove(name);
                done()
            }
            ("creds", Op::Read) => self.mint(name),
            ("static-roles", Op::Write) => self.set_static(call, name),
            ("static-creds", Op::Read) => {
                let found = self.statics.get(name).ok_or_else(|| refuse(400, format!("unknown role: {name}")))?;
                data(json!({
                    "username": found.username,
                    "password": self.users.get(&found.username),
                    "ttl": seconds_until(found.rotated + found.period, call.now),
                    "rotation_period": found.period.as_secs(),
                    "last_vault_rotation": found.rotated.to_string(),
                }))
            }
            ("rotate-role", Op::Write) => {
                let found = self.statics.get_mut(name).ok_or_else(|| refuse(400, format!("unknown role: {name}")))?;
                found.rotated = call.now;
                self.users.insert(found.username.clone(), password());
                done()
            }
            ("config" | "roles" | "creds" | "static-roles" | "static-creds" | "rotate-role", _) => {
                Err(unsupported_operation())
            }
            _ => Err(unsupported_path()),
        }
    }

    fn mint(&mut self, name: &str) -> Outcome {
        let limits = *self.roles.get(name).ok_or_else(|| refuse(400, format!("unknown role: {name}")))?;
        let (username, password) = (format!("v-{name}-{}", random(16)), password());
        self.users.insert(username.clone(), password.clone());
        let data: Value = json!({ "username": username, "password": password });
        Ok(Answer::Leased(Box::new(Leased { data, limits, renewable: true, user: Some(username) })))
    }

    fn set_static(&mut self, call: &Call, name: &str) -> Outcome {
        let fields = call.fields();
        let username = fields
            .text("username")
            .ok_or_else(|| refuse(400, "username is a required field to create a static account"))?;
        let period = fields.duration("rotation_period")?.unwrap_or_default();
        if period < Duration::from_secs(5) {
            return Err(refuse(400, "rotation_period must be 5 seconds or more"));
        }
        self.statics.insert(name.to_owned(), Static { username: username.to_owned(), period, rotated: call.now });
        self.users.insert(username.to_owned(), password());
        done()
    }

    /// Gives each static user whose period has passed a new password, at the time it was due.
    pub(super) fn rotate(&mut self, now: Timestamp) {
        for found in self.statics.values_mut() {
            let periods = seconds_until(now, found.rotated) / found.period.as_secs();
            if periods > 0 {
                found.rotated += Duration::from_secs(periods * found.period.as_secs());
                self.users.insert(found.username.clone(), password());
            }
        }
    }
}
