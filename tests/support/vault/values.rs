//! Identifiers, and times and durations as Vault reads and writes them.

use std::time::Duration;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};

use super::reply::{Refusal, refuse};

/// The TTL of what asks for none, and the longest: 32 days.
pub(super) const SYSTEM_TTL: Duration = Duration::from_secs(2_764_800);

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the machine's random source");
    bytes
}

/// So many letters and digits.
pub(super) fn random(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(ALPHABET[usize::from(u16::from_be_bytes(bytes())) % ALPHABET.len()])).collect()
}

/// A random UUID.
pub(super) fn uuid() -> String {
    let mut bytes: [u8; 16] = bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Twenty random bytes, as a certificate's serial number.
pub(super) fn serial() -> [u8; 20] {
    let mut serial: [u8; 20] = bytes();
    serial[0] = serial[0] & 0x7f | 0x01;
    serial
}

/// Whole seconds from `now` to `then`, zero when it has passed.
pub(super) fn seconds_until(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(then.duration_since(now).as_secs()).unwrap_or(0)
}

/// How long from `now` to `then`, zero when it has passed.
pub(super) fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// A duration as Go prints it: `1h0m0s`.
pub(super) fn go(duration: Duration) -> String {
    let (seconds, fraction) = (duration.as_secs(), duration.subsec_nanos());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let seconds = if fraction == 0 {
        (seconds % 60).to_string()
    } else {
        format!("{}.{fraction:09}", seconds % 60).trim_end_matches('0').to_owned()
    };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Seconds, or text as `90`, `1h30m`, `500ms`.
pub(super) fn duration(value: &Value) -> Option<Duration> {
    if let Some(seconds) = value.as_u64() {
        return Some(Duration::from_secs(seconds));
    }
    let text = value.as_str()?;
    if text.is_empty() {
        return Some(Duration::ZERO);
    }
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += amount
            * match &rest[..end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(total).ok()
}

/// The fields of a request's body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str)
    }

    /// None where the field is absent.
    pub(super) fn duration(self, name: &str) -> Result<Option<Duration>, Refusal> {
        let parse =
            |value| duration(value).ok_or_else(|| refuse(400, format!("error converting input for field {name:?}")));
        self.get(name).map(parse).transpose()
    }

    /// A number, or a number in text.
    pub(super) fn number(self, name: &str) -> Result<Option<u64>, Refusal> {
        let parse = |value: &Value| {
            value
                .as_u64()
                .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
                .ok_or_else(|| refuse(400, format!("error converting input for field {name:?}")))
        };
        self.get(name).map(parse).transpose()
    }

    pub(super) fn flag(self, name: &str) -> Option<bool> {
        self.get(name).and_then(|value| value.as_bool().or_else(|| value.as_str()?.parse().ok()))
    }

    /// A list, or its members with commas between.
    pub(super) fn list(self, name: &str) -> Option<Vec<String>> {
        let trimmed = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Some(match self.get(name)? {
            Value::String(text) => text.split(',').filter_map(trimmed).collect(),
            Value::Array(members) => members.iter().filter_map(|member| trimmed(member.as_str()?)).collect(),
            _ => Vec::new(),
        })
    }
}
