//! Applications that Iaso knows: how they are checked, and which of them keep data. One table makes the decoder, the suggestions
//! and `docs/presets.md`.
//!
//! A preset's checks come with its name alone, from the file or from a label. An image that is recognised only tells whether
//! its container keeps data: who watches it, and by what checks, stays for people to say.

mod table;

use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

use self::table::TABLE;
use super::checks::{self, Around};
use super::decode::{self, Table, duration_of, text_of};
use super::references::References;
use super::validated::{Careful, Check, Defaults, Recovery};

/// The name that stands for none of them: whatever its image, the container keeps no data.
const NONE: &str = "none";

/// What keeps data may take this long to get well after a start.
const START_PERIOD: Duration = Duration::from_secs(300);
/// It has at least this long to stop: it writes down what it holds in memory.
const LEAST_GRACE: Duration = Duration::from_secs(60);
/// A person has this long to take an outage over.
const NOTICE: Duration = Duration::from_secs(60);

/// A known application.
#[derive(Debug)]
pub(crate) struct Preset {
    pub(crate) name: &'static str,
    /// The last parts of its images' names, without registry, tag and digest.
    images: &'static [&'static str],
    /// It keeps data that a restart at a bad moment harms.
    pub(crate) stateful: bool,
    /// Its checks, each as the file would have it.
    pub(crate) checks: &'static [&'static str],
}

/// Every name that may stand for a preset.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    TABLE.iter().map(|preset| preset.name).chain([NONE])
}

/// The preset of this name.
fn named(name: &str) -> Option<&'static Preset> {
    TABLE.iter().find(|preset| preset.name == name)
}

/// The preset that an image is of: `postgres`, `docker.io/library/postgres:16`, `registry:5000/team/postgres@sha256:...`.
pub(crate) fn of_image(image: &str) -> Option<&'static Preset> {
    let image = image.split('@').next().unwrap_or_default();
    let repository = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    };
    let is = |known: &&str| repository.strip_suffix(*known).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    TABLE.iter().find(|preset| preset.images.iter().any(is))
}

/// Whether an image is of an application that keeps data.
pub fn is_stateful(image: &str) -> bool {
    of_image(image).is_some_and(|preset| preset.stateful)
}

/// Whether a service keeps data, as far as its table says so itself: by `stateful`, else by its preset.
pub(super) fn said(table: &Table) -> Option<bool> {
    let flag = table.get("stateful").and_then(|value| value.get_ref().as_bool());
    flag.or_else(|| match text_of(table, "preset")? {
        NONE => Some(false),
        name => named(name).map(|preset| preset.stateful),
    })
}

/// What holds of a service if it keeps data: what its own table says, else what becomes such a service, else what is longer in
/// `[defaults]`. `says_stop` that somebody else's label, which is the container's own too, names its stop grace.
pub(super) fn careful(table: &Table, own: &Recovery, says_stop: bool, defaults: &Defaults) -> Careful {
    let empty = Table::new();
    let recovery = decode::table(table, "recovery").unwrap_or(&empty);
    let says = |key: &str| recovery.contains_key(key);
    let usual = &defaults.recovery.spec;
    let stop_timeout = own.spec.stop_timeout.filter(|_| says_stop || says("stop_timeout"));
    Careful {
        start_period: duration_of(table, "start_period").unwrap_or(START_PERIOD.max(defaults.start_period)),
        stop_timeout,
        least_grace: LEAST_GRACE.max(usual.stop_timeout.unwrap_or_default()),
        quarantine_retry: own.spec.quarantine_retry.filter(|_| says("quarantine_retry")),
        notice: if says("notice") { own.spec.notice } else { NOTICE.max(usual.notice) },
    }
}

/// Adds the checks of the preset that a table names, but for those whose names are taken.
pub(super) fn add_checks(table: &Table, defaults: &Defaults, checks: &mut Vec<Check>) {
    let Some(preset) = text_of(table, "preset").and_then(named) else { return };
    for check in preset.checks.iter().filter_map(|text| check(text, defaults)) {
        if checks.iter().all(|own| own.name != check.name) {
            checks.push(check);
        }
    }
}

/// A check of the table, decoded as one of the file's.
fn check(text: &str, defaults: &Defaults) -> Option<Check> {
    let table = DeTable::parse(text).ok()?.into_inner();
    let references = &References::default();
    let around = Around { defaults, folder: Path::new(""), commands: false, references };
    checks::check(&table, text_of(&table, "type")?, text_of(&table, "name")?, &around).ok()
}

#[cfg(test)]
pub(super) mod tests;
