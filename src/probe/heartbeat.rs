//! The `heartbeat` probe: the service tells Iaso that it lives, and only silence is a failure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iaso_policy::time::Mono;

use crate::config::validated::HeartbeatProbe;
use crate::probe::report::{Report, Step};
use crate::probe::scheduler::Planned;
use crate::system::clock::Clock;

/// A ping older than any check's `max_age` is as good as none.
const LONGEST: Duration = Duration::from_secs(8 * 86400);

/// The newest ping of each check. Clones share one book.
#[derive(Debug, Clone)]
pub struct Heartbeats {
    clock: Clock,
    /// Pings before this came to nobody.
    opened: Mono,
    /// By service and check. Bounded by the checks that there are: who writes here has found one first.
    newest: Arc<Mutex<BTreeMap<(String, String), Mono>>>,
}

impl Heartbeats {
    /// A book without pings.
    pub fn new(clock: Clock) -> Self {
        Self { clock, opened: clock.mono(), newest: Arc::default() }
    }

    /// A ping came, just now, for a check that exists.
    pub fn ping(&self, service: &str, check: &str) {
        let (key, now) = ((service.to_owned(), check.to_owned()), self.clock.mono());
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.insert(key, now).is_none() {
            newest.retain(|_, at| now.since(*at) <= LONGEST);
        }
    }

    /// The newest ping of a check since `since`.
    fn newest(&self, service: &str, check: &str, since: Mono) -> Option<Mono> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(&(service.to_owned(), check.to_owned())).copied().filter(|at| *at >= since)
    }
}

/// Passes while the newest ping of the container's life is young enough. The first ping of a life is waited for as long as
/// for any other, from the container's start or Iaso's own, whichever came later.
pub(super) fn probe(probe: &HeartbeatProbe, planned: &Planned, heartbeats: Option<&Heartbeats>) -> Report {
    let Some(heartbeats) = heartbeats else {
        return Report::pending("only the daemon knows the pings: `iaso explain` tells what it knows");
    };
    let (now, most) = (heartbeats.clock.mono(), probe.max_age);
    let (ok, detail) = match heartbeats.newest(&planned.service, &planned.name, planned.since) {
        Some(at) => {
            let age = now.since(at);
            let detail = format!("the last ping came {} ago, expected one every {}", span(age), span(most));
            (age <= most, detail)
        }
        None => {
            let waited = now.since(planned.since.max(heartbeats.opened));
            if waited <= most {
                return Report::pending(&format!("no ping yet; the first is waited for up to {}", span(most)));
            }
            (false, format!("no ping came for {}, expected one every {}", span(waited), span(most)))
        }
    };
    Report::of(vec![Step { name: "ping", took: Duration::ZERO, detail, ok }], Duration::ZERO)
}

/// Whole seconds above ten, so that a standing state keeps its words.
fn span(span: Duration) -> String {
    if span < Duration::from_secs(10) {
        format!("{:.1} s", span.as_secs_f64())
    } else {
        format!("{} s", span.as_secs())
    }
}

#[cfg(test)]
mod tests;
