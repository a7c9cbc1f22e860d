//! How credentials stand: what their picture holds.

use std::collections::BTreeMap;

use iaso_policy::time::Wall;
use prometheus::proto::{Histogram, MetricFamily};

use super::names;
use super::series::histogram;
use crate::snapshot::{CredentialStatus, CredentialsPicture, OPERATION_BOUNDS};
use crate::system::meters::Status;

/// What the picture tells, at `now` on Iaso's wall clock.
pub(super) fn families(picture: &CredentialsPicture, Wall(now): Wall) -> Vec<MetricFamily> {
    let credentials = || picture.credentials.iter();
    let left = |until: i64| until.saturating_sub(now).max(0) as f64 / 1000.0;
    vec![
        names::CREDENTIAL_AGE.family(credentials().filter_map(|credential| {
            let age = now.saturating_sub(credential.fetched?).max(0);
            Some(([&*credential.name], age as f64 / 1000.0))
        })),
        names::CREDENTIAL_EXPIRY.family(credentials().filter_map(|c| Some(([&*c.name], c.expires? as f64 / 1000.0)))),
        names::CREDENTIAL_REFRESHES.family(credentials().flat_map(|credential| {
            let (well, badly) = credential.reads;
            [([&*credential.name, "success"], well as f64), ([&*credential.name, "failure"], badly as f64)]
        })),
        names::VAULT_UP.family(picture.vault.iter().map(|vault| ([], if vault.link.up { 1.0 } else { 0.0 }))),
        names::VAULT_TOKEN_TTL.family(picture.vault.iter().filter_map(|vault| Some(([], left(vault.token_ends?))))),
    ]
}

/// What was done about credentials, for the series of operations: by operation, service and status.
#[derive(Default)]
pub(super) struct Done<'p> {
    ended: BTreeMap<[&'p str; 3], u64>,
    took: BTreeMap<[&'p str; 2], Took>,
}

/// Durations of one operation for one service.
#[derive(Default)]
struct Took {
    within: [u64; OPERATION_BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl<'p> Done<'p> {
    pub(super) fn of(picture: &'p CredentialsPicture) -> Self {
        let mut done = Self::default();
        for credential in &picture.credentials {
            let service = service(credential);
            for operation in &credential.operations {
                let status = if operation.ok { Status::Success } else { Status::Failure };
                *done.ended.entry([operation.operation, service, status.name()]).or_default() += operation.count;
                let took = done.took.entry([operation.operation, service]).or_default();
                took.within.iter_mut().zip(operation.within).for_each(|(sum, more)| *sum += more);
                took.count += operation.count;
                took.sum += operation.took.as_secs_f64();
            }
        }
        done
    }

    pub(super) fn ended(&self) -> impl Iterator<Item = ([&'p str; 3], f64)> {
        self.ended.iter().map(|(labels, count)| (*labels, *count as f64))
    }

    pub(super) fn durations(&self) -> impl Iterator<Item = ([&'p str; 2], Histogram)> {
        let durations = |took: &Took| histogram(&OPERATION_BOUNDS, &took.within, took.count, took.sum);
        self.took.iter().map(move |(labels, took)| (*labels, durations(took)))
    }
}

/// For whom it was done: several services may use one credential, and the first stands for them.
fn service(credential: &CredentialStatus) -> &str {
    credential.services.first().map_or(&credential.name, |service| service)
}
