//! What may reach the policy.

use iaso::policy::Input;
use serde_json::Value;

/// Everything that a label asks for, and a service of the file.
pub const CONFIG: &str =
    "discovery.labels = [\"iaso.enable=true\", \"autoheal=true\"]\n[services.web]\ncontainer = \"web\"\n";

/// Texts are names or words of the policy's own: letters, digits, `_.-`, and `/` between the parts of an identity.
pub fn judge(inputs: &[Input]) {
    for input in inputs {
        // As the flight recorder writes them: an id is a number of 128 bits, which only text holds.
        let text = serde_json::to_string(input).expect("inputs are recorded as JSON");
        assert!(is_closed(&serde_json::from_str(&text).expect("what was written can be read")), "{text}");
    }
}

fn is_closed(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => {
            text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte))
        }
        Value::Array(items) => items.iter().all(is_closed),
        Value::Object(fields) => fields.values().all(is_closed),
    }
}
