//! The rules of the demo: the shipped ones with shorter times, and the containers of this run alone.

use std::path::Path;
use std::time::Duration;

use super::run::{LABEL, RunId};
use crate::config::validated::{Config, LabelMatch};
use crate::config::{self, Environment, Mistakes};

/// Between two HEALTHCHECKs of the one container that has one; the engine's own default is 30 s.
pub(super) const HEALTHCHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A time that is shorter than the shipped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortened {
    /// Which, in words.
    pub(super) what: &'static str,
    /// As shipped.
    pub(super) shipped: Duration,
    /// In the demo.
    pub(super) here: Duration,
}

type Time = fn(&mut Config) -> &mut Duration;

/// Everything in which the demo's rules differ from the shipped ones.
const TIMES: [(&str, Time, Duration); 7] = [
    ("from one check to the next", |config| &mut config.defaults.interval, Duration::from_secs(1)),
    ("the same while a service fails", |config| &mut config.fleet.failing_interval, Duration::from_secs(1)),
    ("the same while a recovery is verified", |config| &mut config.fleet.verify_interval, Duration::from_secs(1)),
    ("a check's time limit", |config| &mut config.defaults.timeout, Duration::from_secs(2)),
    ("healthy for so long counts as healed", verify_stable, Duration::from_secs(3)),
    ("the wait before a second attempt, then doubling", backoff_base, Duration::from_secs(1)),
    ("after Iaso's own start, before checks may heal", |config| &mut config.fleet.quiet_start, Duration::from_secs(2)),
];

fn verify_stable(config: &mut Config) -> &mut Duration {
    &mut config.defaults.recovery.spec.verify_stable
}

fn backoff_base(config: &mut Config) -> &mut Duration {
    &mut config.defaults.recovery.spec.backoff.base
}

/// The shipped rules as a fresh installation has them; `home` is a folder to leave an empty configuration in. No file of this
/// machine's own counts; `env` is what counts of the environment.
///
/// # Errors
/// When the environment names an engine that cannot be one.
pub(super) fn shipped(home: &Path, env: &Environment) -> Result<Config, Mistakes> {
    let file = home.join("iaso.toml");
    // One that cannot be written is missed by the reader, which says so.
    let _ = std::fs::write(&file, "# Every default.\n");
    config::load(Some(&file), env).map(|loaded| loaded.config)
}

/// The demo's rules, and where they differ from `shipped`.
pub(super) fn shortened(shipped: &Config, run: &RunId) -> (Config, Vec<Shortened>) {
    let mut config = shipped.clone();
    // Nothing but what carries this run's own label is ever touched.
    config.discovery.labels = vec![LabelMatch { key: LABEL.to_owned(), value: run.to_string() }];
    let times = TIMES.map(|(what, time, here)| {
        let shipped = std::mem::replace(time(&mut config), here);
        Shortened { what, shipped, here }
    });
    let engine = Shortened {
        what: "from one HEALTHCHECK to the next (the engine's)",
        shipped: Duration::from_secs(30),
        here: HEALTHCHECK_INTERVAL,
    };
    (config, times.into_iter().chain([engine]).collect())
}
