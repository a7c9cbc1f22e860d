//! How long a token or a lease may live.

use std::time::Duration;

use jiff::Timestamp;

use super::values::{SYSTEM_TTL, go, until};

/// What bounds a life; zero means that nothing is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub ttl: Duration,
    pub max: Duration,
    pub explicit_max: Duration,
    pub period: Duration,
}

impl Limits {
    /// A life from now: the period where there is one, else what is asked, else the own TTL, else the system's; never past
    /// the longest counted from the issue. With a warning where that shortens it.
    pub(super) fn grant(self, asked: Duration, issued: Timestamp, now: Timestamp) -> (Duration, Option<String>) {
        let periodic = !self.period.is_zero();
        let wanted = [self.period, asked, self.ttl, SYSTEM_TTL];
        let wanted = wanted.into_iter().find(|ttl| !ttl.is_zero()).unwrap_or(SYSTEM_TTL);
        let bounds = if periodic { [Duration::ZERO, self.explicit_max] } else { [self.max, self.explicit_max] };
        let system = (!periodic).then_some(SYSTEM_TTL);
        let longest = bounds.into_iter().filter(|bound| !bound.is_zero()).chain(system).min();
        let Some(most) = longest.map(|longest| until(issued + longest, now)) else { return (wanted, None) };
        if wanted <= most {
            return (wanted, None);
        }
        let warning = format!(
            "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped accordingly",
            go(wanted),
            go(most)
        );
        (most, Some(warning))
    }
}
