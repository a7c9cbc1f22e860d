//! The `tls` probe: a handshake, and for how long the certificate that is shown is still good.
//!
//! The chain and the name are judged in the handshake. A server that also wants a client's certificate says so only after TLS
//! 1.3's handshake, which is of no concern here; in TLS 1.2 it breaks the handshake off.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::config::validated::TlsProbe;
use crate::probe::address::Endpoint;
use crate::probe::connect::Connector;
use crate::probe::report::Report;
use crate::probe::run::{Failed, Run};
use crate::system::clock::Clock;
use crate::system::trust::{End, day};

const SECONDS_A_DAY: i64 = 86400;

/// Probes over TLS.
#[derive(Debug, Clone)]
pub struct TlsProber {
    connector: Connector,
    clock: Clock,
}

impl TlsProber {
    /// Days are counted from this clock's.
    pub fn new(connector: Connector, clock: Clock) -> Self {
        Self { connector, clock }
    }

    /// Probes once, connecting to `endpoint`. Ends within `timeout`.
    pub async fn probe(&self, probe: &TlsProbe, endpoint: &Endpoint, timeout: Duration) -> Report {
        let mut run = Run::new();
        let ended = tokio::time::timeout(timeout, Box::pin(self.run(probe, endpoint, &mut run))).await;
        run.report(&ended, timeout)
    }

    async fn run(&self, probe: &TlsProbe, endpoint: &Endpoint, run: &mut Run) -> Result<(), Failed> {
        let stream = self.connector.tcp(endpoint, run).await?;
        let (mut stream, end) = self.connector.tls(stream, &endpoint.host, &probe.trust, None, run).await?;
        // Whether the farewell arrives says nothing of the certificate.
        let _gone = stream.shutdown().await;
        let Some(end) = end else { return run.fail("expiry", "when the certificate ends cannot be read".to_owned()) };
        let now = self.clock.now().wall.0 / 1000;
        // Where a key alone is trusted, dates do not count.
        let min = (probe.trust.pins.is_empty() || !probe.trust.roots.is_empty()).then_some(probe.min_days_left);
        let (ok, words) = expiry(end, now, min);
        run.check("expiry", ok, words)
    }
}

/// Whether a certificate is good for whole days enough, and in words.
fn expiry(end: End, now: i64, min: Option<u16>) -> (bool, String) {
    let left = (end.at - now).div_euclid(SECONDS_A_DAY);
    let whose = if end.of_authority { "certificate of an authority in its chain" } else { "certificate" };
    let days = |days: i64| format!("{days} {}", if days == 1 { "day" } else { "days" });
    let words = format!("{whose} ends {} ({} left)", day(end.at), days(left));
    match min.map(i64::from) {
        None => (true, format!("{words}, which does not count beside its pin")),
        Some(min) if left < min => (false, format!("{words}, expected {} or more", days(min))),
        Some(_) => (true, words),
    }
}

#[cfg(test)]
mod tests;
