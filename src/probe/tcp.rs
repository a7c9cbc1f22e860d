//! The `tcp` probe: a connection, and what is said over it. Neither what is sent nor what comes back is ever shown.

use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::secret::Secret;
use crate::config::validated::{Composed, TcpProbe};
use crate::in_use::{CredentialValues, Which};
use crate::probe::address::Endpoint;
use crate::probe::connect::Connector;
use crate::probe::fill;
use crate::probe::report::{Report, Verdict};
use crate::probe::run::{Failed, Run};
use crate::system::clock::stopwatch;

/// How much of an answer is read.
const ANSWER: usize = 64 * 1024;

/// Probes once, connecting to `endpoint` (what [`crate::probe::address::way`] found). Ends within `limit`; twice
/// that while a credential that it names changes.
pub(super) async fn probe(
    probe: &TcpProbe,
    endpoint: &Endpoint,
    connector: &Connector,
    values: Option<&CredentialValues>,
    limit: Duration,
) -> Report {
    let texts = |which| -> Result<[Option<Secret>; 2], String> {
        let text = |text: &Option<Composed>| fill::optional(text.as_ref(), values, which);
        Ok([text(&probe.send)?, text(&probe.expect)?])
    };
    let in_use = match texts(Which::InUse) {
        Ok(in_use) => in_use,
        Err(why) => return Report::pending(&why),
    };
    let report = once(&in_use, endpoint, connector, limit).await;
    if report.verdict != Verdict::Failed {
        return report;
    }
    // While a value takes the place of another, a service may take the one or the other.
    match texts(Which::Other) {
        Ok(other) if other != in_use => once(&other, endpoint, connector, limit).await,
        _ => report,
    }
}

async fn once(
    [send, expect]: &[Option<Secret>; 2],
    endpoint: &Endpoint,
    connector: &Connector,
    limit: Duration,
) -> Report {
    let mut run = Run::new();
    let ended = timeout(limit, talk(send.as_ref(), expect.as_ref(), endpoint, connector, &mut run)).await;
    run.report(&ended, limit)
}

async fn talk(
    send: Option<&Secret>,
    expect: Option<&Secret>,
    endpoint: &Endpoint,
    connector: &Connector,
    run: &mut Run,
) -> Result<(), Failed> {
    let mut stream = connector.tcp(endpoint, run).await?;
    if let Some(text) = send {
        run.doing("send", "the peer did not take what was sent");
        let took = stopwatch();
        match stream.write_all(text.expose().as_bytes()).await {
            Ok(()) => run.did("send", took(), format!("{} bytes sent", text.expose().len())),
            Err(error) => return run.broke("send", took(), format!("the connection broke while sending: {error}")),
        }
    }
    match expect {
        Some(expected) => listen(&mut stream, expected.expose().as_bytes(), run).await,
        None => Ok(()),
    }
}

/// Reads until the expected text has come.
async fn listen(stream: &mut TcpStream, expected: &[u8], run: &mut Run) -> Result<(), Failed> {
    run.doing("expect", "the expected text did not come");
    let took = stopwatch();
    let mut answer = Vec::new();
    loop {
        // Only what is new can complete the text.
        let seen = answer.len().saturating_sub(expected.len());
        let room = ANSWER - answer.len();
        match (&mut *stream).take(room as u64).read_buf(&mut answer).await {
            Ok(0) => {
                let detail = match room {
                    0 => "the first 64 KiB of the answer do not hold the expected text".to_owned(),
                    _ => format!("the peer closed after {} bytes, without the expected text", answer.len()),
                };
                return run.broke("expect", took(), detail);
            }
            Ok(_) => {}
            Err(error) => {
                let detail = format!("the connection broke after {} bytes: {error}", answer.len());
                return run.broke("expect", took(), detail);
            }
        }
        if memmem::find(&answer[seen..], expected).is_some() {
            run.did("expect", took(), format!("{} bytes came, with the expected text", answer.len()));
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
