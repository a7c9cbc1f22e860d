//! The KV engine: version 1, and version 2 with its versions, its metadata and its check-and-set.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::{Call, Op};
use super::reply::{Answer, Outcome, Refusal, Secret, data, done, keys, not_found, refuse, unsupported_operation};
use super::values::{self, Fields, SYSTEM_TTL, go};

/// Version 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Kv1(BTreeMap<String, Map<String, Value>>);

impl Kv1 {
    pub(super) fn answer(&mut self, call: &Call) -> Outcome {
        match call.op {
            Op::Read => {
                let fields = self.0.get(&call.path).ok_or_else(not_found)?;
                let ttl = fields.get("ttl").or_else(|| fields.get("lease")).and_then(values::duration);
                let secret = Secret {
                    lease_duration: ttl.unwrap_or(SYSTEM_TTL).as_secs(),
                    data: Some(Value::Object(fields.clone())),
                    ..Secret::default()
                };
                Ok(Answer::Secret(200, Box::new(secret)))
            }
            Op::Write if call.body.is_empty() => Err(refuse(400, "missing data fields")),
            Op::Write => {
                self.0.insert(call.path.clone(), call.body.clone());
                done()
            }
            Op::Delete => {
                self.0.remove(&call.path);
                done()
            }
            Op::List => keys(children(self.0.keys(), &call.path)),
            Op::Patch => Err(unsupported_operation()),
        }
    }
}

/// Version 2.
#[derive(Debug, Clone, Default)]
pub(super) struct Kv2 {
    keys: BTreeMap<String, Key>,
    settings: Settings,
}

/// What may be set on a mount or on a key.
#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    max_versions: u64,
    cas_required: bool,
    delete_version_after: Duration,
}

#[derive(Debug, Clone)]
struct Key {
    versions: BTreeMap<u64, Version>,
    current: u64,
    oldest: u64,
    created: Timestamp,
    updated: Timestamp,
    settings: Settings,
    custom: Option<Map<String, Value>>,
}

#[derive(Debug, Clone)]
struct Version {
    /// None once it is destroyed.
    data: Option<Value>,
    created: Timestamp,
    /// May lie in the future: the version lives until then.
    deletion: Option<Timestamp>,
}

const WRONG_PATH: &str = "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API \
                          endpoints to use. If using the Vault CLI, use 'vault kv get' for this operation.";

impl Kv2 {
    pub(super) fn answer(&mut self, call: &Call) -> Outcome {
        let (area, path) = call.path.split_once('/').unwrap_or((&call.path, ""));
        match (area, call.op) {
            ("config", Op::Read) => data(self.settings.shown()),
            ("config", Op::Write) => self.settings.set(call.fields()).map(|()| Answer::Empty(204)),
            ("data", Op::Read) => self.read(call, path),
            ("data", Op::Write) => self.write(call, path),
            ("data", Op::Patch) => self.patch(call, path),
            ("data", Op::Delete) => {
                if let Some(key) = self.keys.get_mut(path) {
                    let latest = key.current;
                    key.delete(&[latest], call.now);
                }
                done()
            }
            ("delete" | "undelete" | "destroy", Op::Write) => self.change_versions(call, area, path),
            ("metadata", Op::Read) => self.keys.get(path).ok_or_else(not_found).and_then(|key| data(key.metadata())),
            ("metadata", Op::Write | Op::Patch) => self.set_metadata(call, path),
            ("metadata", Op::Delete) => {
                self.keys.remove(path);
                done()
            }
            ("metadata", Op::List) => keys(children(self.keys.keys(), path)),
            ("config" | "data" | "delete" | "undelete" | "destroy", _) => Err(unsupported_operation()),
            _ => {
                let secret = Secret { warnings: vec![WRONG_PATH.to_owned()], ..Secret::default() };
                Ok(Answer::Secret(404, Box::new(secret)))
            }
        }
    }

    fn read(&self, call: &Call, path: &str) -> Outcome {
        let key = self.keys.get(path).ok_or_else(not_found)?;
        let asked = match call.query.get("version") {
            Some(text) => text.parse().map_err(|_| refuse(400, "error converting input for field \"version\""))?,
            None => 0,
        };
        let number = if asked == 0 { key.current } else { asked };
        let version = key.versions.get(&number).ok_or_else(not_found)?;
        let gone = version.gone(call.now);
        let shown = if gone { Value::Null } else { version.data.clone().unwrap_or_default() };
        let secret = Secret {
            data: Some(json!({ "data": shown, "metadata": key.version_metadata(number, version) })),
            ..Secret::default()
        };
        Ok(Answer::Secret(if gone { 404 } else { 200 }, Box::new(secret)))
    }

    fn write(&mut self, call: &Call, path: &str) -> Outcome {
        let new = call.fields().get("data").filter(|new| new.is_object()).cloned();
        let new = new.ok_or_else(|| refuse(400, "no data provided"))?;
        self.check_cas(call, path)?;
        self.put(call, path, new)
    }

    fn patch(&mut self, call: &Call, path: &str) -> Outcome {
        let change = call.fields().get("data").cloned().ok_or_else(|| refuse(400, "no data provided"))?;
        let key = self.keys.get(path).ok_or_else(not_found)?;
        let version = key.versions.get(&key.current).ok_or_else(not_found)?;
        if version.gone(call.now) {
            return self.read(call, path);
        }
        let mut merged = version.data.clone().unwrap_or_default();
        self.check_cas(call, path)?;
        merge(&mut merged, &change);
        self.put(call, path, merged)
    }

    /// Compares with the current version's number, whether that version is deleted or not; a key that never was has 0.
    fn check_cas(&self, call: &Call, path: &str) -> Result<(), Refusal> {
        let key = self.keys.get(path);
        let required = self.settings.cas_required || key.is_some_and(|key| key.settings.cas_required);
        let options = call.fields().get("options").and_then(Value::as_object);
        let Some(cas) = options.and_then(|options| options.get("cas")) else {
            return if required { Err(refuse(400, "check-and-set parameter required for this call")) } else { Ok(()) };
        };
        let cas = cas.as_u64().or_else(|| cas.as_str()?.parse().ok());
        let cas = cas.ok_or_else(|| refuse(400, "error parsing check-and-set parameter"))?;
        if cas != key.map_or(0, |key| key.current) {
            return Err(refuse(400, "check-and-set parameter did not match the current version"));
        }
        Ok(())
    }

    fn put(&mut self, call: &Call, path: &str, new: Value) -> Outcome {
        let mount = self.settings;
        let key = self.keys.entry(path.to_owned()).or_insert_with(|| Key::new(call.now));
        key.current += 1;
        key.updated = call.now;
        let number = key.current;
        let lives = [key.settings.delete_version_after, mount.delete_version_after];
        let deletion = lives.into_iter().filter(|life| !life.is_zero()).min().map(|life| call.now + life);
        key.versions.insert(number, Version { data: Some(new), created: call.now, deletion });
        let most = match key.settings.max_versions.max(mount.max_versions) {
            0 => 10,
            most => most,
        };
        if let Some(last_gone) = number.checked_sub(most).filter(|last| *last > 0) {
            key.versions.retain(|number, _| *number > last_gone);
            key.oldest = last_gone + 1;
        }
        data(key.version_metadata(number, &key.versions[&number]))
    }

    fn change_versions(&mut self, call: &Call, what: &str, path: &str) -> Outcome {
        let missing = if what == "destroy" { "no version number provided" } else { "No version number provided" };
        let listed = call.fields().get("versions");
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let numbers: Vec<u64> = match listed {
            Some(Value::Array(members)) => members.iter().filter_map(number).collect(),
            Some(one) => number(one).into_iter().collect(),
            None => Vec::new(),
        };
        if numbers.is_empty() {
            return Err(refuse(400, missing));
        }
        let Some(key) = self.keys.get_mut(path) else { return done() };
        match what {
            "delete" => key.delete(&numbers, call.now),
            "undelete" => key.each(&numbers, |version| version.deletion = None),
            _ => key.each(&numbers, |version| version.data = None),
        }
        done()
    }

    fn set_metadata(&mut self, call: &Call, path: &str) -> Outcome {
        let fields = call.fields();
        let custom = fields.get("custom_metadata").map(checked_custom).transpose()?;
        if call.op == Op::Patch && !self.keys.contains_key(path) {
            return Err(not_found());
        }
        let key = self.keys.entry(path.to_owned()).or_insert_with(|| Key::new(call.now));
        key.settings.set(fields)?;
        key.updated = call.now;
        if let Some(custom) = custom {
            if call.op == Op::Patch {
                let mut merged = Value::Object(key.custom.take().unwrap_or_default());
                merge(&mut merged, &Value::Object(custom));
                key.custom = merged.as_object().cloned();
            } else {
                key.custom = Some(custom);
            }
        }
        done()
    }
}

/// At most 64 keys of at most 128 bytes, with text of at most 512 bytes.
fn checked_custom(custom: &Value) -> Result<Map<String, Value>, Refusal> {
    let custom = custom.as_object().ok_or_else(|| refuse(400, "custom_metadata must be a map"))?;
    if custom.len() > 64 {
        let error = format!(
            "custom_metadata validation failed: payload must contain at most 64 keys, provided {}",
            custom.len()
        );
        return Err(refuse(400, error));
    }
    for (key, value) in custom {
        if key.is_empty() || key.len() > 128 {
            return Err(refuse(400, "custom_metadata validation failed: length of key is not between 1 and 128"));
        }
        if !value.is_null() && value.as_str().is_none_or(|value| value.is_empty() || value.len() > 512) {
            return Err(refuse(400, "custom_metadata validation failed: length of value is not between 1 and 512"));
        }
    }
    Ok(custom.clone())
}

impl Settings {
    fn set(&mut self, fields: Fields<'_>) -> Result<(), Refusal> {
        self.max_versions = fields.number("max_versions")?.unwrap_or(self.max_versions);
        self.cas_required = fields.flag("cas_required").unwrap_or(self.cas_required);
        self.delete_version_after = fields.duration("delete_version_after")?.unwrap_or(self.delete_version_after);
        Ok(())
    }

    fn shown(self) -> Value {
        json!({
            "max_versions": self.max_versions,
            "cas_required": self.cas_required,
            "delete_version_after": go(self.delete_version_after),
        })
    }
}

impl Key {
    fn new(now: Timestamp) -> Self {
        let settings = Settings::default();
        Self { versions: BTreeMap::new(), current: 0, oldest: 0, created: now, updated: now, settings, custom: None }
    }

    fn each(&mut self, numbers: &[u64], change: impl Fn(&mut Version)) {
        for number in numbers {
            self.versions.get_mut(number).into_iter().for_each(&change);
        }
    }

    /// What is deleted already keeps its time.
    fn delete(&mut self, numbers: &[u64], now: Timestamp) {
        self.each(numbers, |version| {
            if !version.gone(now) {
                version.deletion = Some(now);
            }
        });
    }

    fn version_metadata(&self, number: u64, version: &Version) -> Value {
        let mut shown = version.shown();
        shown["version"] = number.into();
        shown["custom_metadata"] = self.custom.clone().map_or(Value::Null, Value::Object);
        shown
    }

    fn metadata(&self) -> Value {
        let mut shown = self.settings.shown();
        let versions = self.versions.iter().map(|(number, version)| (number.to_string(), version.shown()));
        shown["versions"] = Value::Object(versions.collect());
        shown["current_version"] = self.current.into();
        shown["oldest_version"] = self.oldest.into();
        shown["created_time"] = self.created.to_string().into();
        shown["updated_time"] = self.updated.to_string().into();
        shown["custom_metadata"] = self.custom.clone().map_or(Value::Null, Value::Object);
        shown
    }
}

impl Version {
    fn gone(&self, now: Timestamp) -> bool {
        self.data.is_none() || self.deletion.is_some_and(|at| at <= now)
    }

    fn shown(&self) -> Value {
        json!({
            "created_time": self.created.to_string(),
            "deletion_time": self.deletion.map(|at| at.to_string()).unwrap_or_default(),
            "destroyed": self.data.is_none(),
        })
    }
}

/// A merge patch (RFC 7396): null removes.
fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        target.clone_from(change);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in change {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// What lies directly in a folder; folders themselves end with a slash.
pub(super) fn children<'a>(paths: impl Iterator<Item = &'a String>, folder: &str) -> BTreeSet<String> {
    let folder = if folder.is_empty() || folder.ends_with('/') { folder.to_owned() } else { format!("{folder}/") };
    let inside = paths.filter_map(|path| path.strip_prefix(&folder));
    inside.map(|rest| rest.split_inclusive('/').next().unwrap_or(rest).to_owned()).collect()
}
