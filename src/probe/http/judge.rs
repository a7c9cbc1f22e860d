//! Compares an answer with what is expected of it.

use memchr::memmem;

use crate::config::secret::Secret;
use crate::config::validated::HttpExpect;
use crate::probe::http::{Answer, words};
use crate::probe::run::{Failed, Run};
use crate::system::clock::stopwatch;

/// How much of a body is read.
pub(super) const BODY: usize = 1024 * 1024;

/// Compares the answer with what is expected, reading its body. `body_contains` and `headers` are those of `expect`, filled in.
pub(super) async fn judge(
    mut answer: Answer,
    expect: &HttpExpect,
    body_contains: Option<&Secret>,
    headers: &[(String, Secret)],
    run: &mut Run,
) -> Result<(), Failed> {
    let status = answer.head.status.as_u16();
    let accepted = expect.status.iter().any(|(low, high)| (*low..=*high).contains(&status));
    let detail = if accepted {
        format!("status {status}")
    } else {
        format!("status {status}, expected {}", ranges(&expect.status))
    };
    run.check("status", accepted, detail)?;
    for (name, part) in headers {
        let mut values = answer.head.headers.get_all(name.as_str()).iter().peekable();
        let there = values.peek().is_some();
        let holds = values.any(|value| String::from_utf8_lossy(value.as_bytes()).contains(part.expose()));
        let detail = match (there, holds) {
            (_, true) => format!("header {name} holds the expected text"),
            (true, false) => format!("header {name} does not hold the expected text"),
            (false, false) => format!("header {name} is not there"),
        };
        run.check("header", holds, detail)?;
    }
    run.doing("body", "the body was being read");
    let took = stopwatch();
    let (body, whole) = match read(&mut answer).await {
        Ok(read) => read,
        Err(error) => return run.fail("body", format!("the body broke off: {}", words(&error).1)),
    };
    // Whatever lies beyond the first MiB is not waited for.
    drop(answer);
    let detail = format!("{} bytes read{}", body.len(), if whole { "" } else { ", the rest not asked for" });
    run.did("body", took(), detail);
    if let Some(text) = body_contains.map(Secret::expose) {
        // In linear time: a container brings both sides, and may mean to keep Iaso busy.
        let found = memmem::find(&body, text.as_bytes()).is_some();
        let detail = match (found, whole) {
            (true, _) => "the body holds the expected text",
            (false, true) => "the body does not hold the expected text",
            (false, false) => "the body's first 1 MiB does not hold the expected text",
        };
        run.check("body", found, detail.to_owned())?;
    }
    if !expect.json.is_empty() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&body);
        let value = run.value("json", parsed.map_err(|_| not_json(whole)))?;
        for (pointer, wanted) in &expect.json {
            let found = value.pointer(pointer);
            // Neither value is told: what is expected may have been filled in with a secret.
            let detail = match found {
                Some(found) if found == wanted => format!("JSON {pointer:?} is as expected"),
                Some(found) if kind(found) == kind(wanted) => {
                    format!("JSON {pointer:?} is another {} than expected", kind(found))
                }
                Some(found) => {
                    format!("JSON {pointer:?} is a value of type {}, expected {}", kind(found), kind(wanted))
                }
                None => format!("JSON {pointer:?} is not there, expected a value of type {}", kind(wanted)),
            };
            run.check("json", found == Some(wanted), detail)?;
        }
    }
    Ok(())
}

/// The body's first MiB, and whether that is all of it.
async fn read(answer: &mut Answer) -> hyper::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

fn not_json(whole: bool) -> String {
    if whole {
        "the body is not JSON".to_owned()
    } else {
        "the body is longer than 1 MiB, so it cannot be read as JSON".to_owned()
    }
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}

fn ranges(accepted: &[(u16, u16)]) -> String {
    let spelled =
        accepted.iter().map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") });
    spelled.collect::<Vec<_>>().join(", ")
}
