//! The files of a credential: their texts, and what they hold.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use iaso_policy::id::Digest;

use super::holding::Value;
use super::publish::Rendered;
use crate::config::validated::{Credential, TargetFile};
use crate::credentials::kept::Entry;
use crate::credentials::render;
use crate::credentials::template::{self, Context};

/// Renders every file, beside the tasks.
pub(super) async fn render_all(spec: &Arc<Credential>, value: &Value) -> Rendered {
    let (spec, value) = (Arc::clone(spec), value.clone());
    let failed = |error: tokio::task::JoinError| Rendered { failed: vec![error.to_string()], ..Rendered::default() };
    tokio::task::spawn_blocking(move || render_some(&spec, &value, |_| true)).await.unwrap_or_else(failed)
}

/// Renders these files; one that cannot be does not keep the others from it.
pub(super) fn render_some(spec: &Credential, value: &Value, wanted: impl Fn(&TargetFile) -> bool) -> Rendered {
    let mut rendered = Rendered::default();
    let context = context(spec, value);
    for (index, file) in spec.files.iter().enumerate().filter(|(_, file)| wanted(file)) {
        let contents = match template::contents(file, index, &context) {
            Ok(contents) => contents,
            Err(error) => {
                rendered.failed.push(error.to_string());
                continue;
            }
        };
        match render::render(file, contents.expose().as_bytes()) {
            Ok(outcome) if outcome.bytes_changed() => rendered.changed.push(file.path.clone()),
            Ok(_) => {}
            Err(error) => rendered.failed.push(error.to_string()),
        }
    }
    rendered
}

pub(super) fn context<'v>(spec: &'v Credential, value: &'v Value) -> Context<'v> {
    let entry = &value.entry;
    Context { credential: &spec.name, field: &spec.field, fields: &entry.fields, version: entry.version, old: None }
}

/// Whether a file holds this value already.
pub(super) fn is_rendered(spec: &Credential, entry: &Entry) -> bool {
    let value = Value { digest: Digest(0), entry: entry.clone() };
    spec.files.iter().enumerate().any(|(index, file)| {
        let contents = template::contents(file, index, &context(spec, &value));
        contents.is_ok_and(|text| std::fs::read(&file.path).is_ok_and(|there| there == text.expose().as_bytes()))
    })
}

/// Whether there are files, and none holds this value.
pub(super) fn is_elsewhere(spec: &Credential, entry: &Entry) -> bool {
    spec.files.iter().any(|file| file.path.exists()) && !is_rendered(spec, entry)
}

/// When the newest of a credential's files was written, in milliseconds since 1970.
pub(super) fn newest(spec: &Credential) -> Option<i64> {
    let written = |file: &TargetFile| {
        let seen = std::fs::metadata(&file.path).ok()?;
        Some(seen.mtime().saturating_mul(1000) + seen.mtime_nsec() / 1_000_000)
    };
    spec.files.iter().filter_map(written).max()
}
