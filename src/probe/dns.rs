//! The `dns` probe: a name that must resolve, asked afresh each time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use crate::config::validated::{DnsProbe, DnsRecord};
use crate::probe::address::Endpoint;
use crate::probe::connect::Connector;
use crate::probe::report::Report;
use crate::probe::run::{Failed, Run};
use crate::system::clock::stopwatch;
use crate::system::resolver::Resolver;

/// The most answers that are shown.
const SHOWN: usize = 4;

/// Asks once: `server`, else the machine's name servers. Ends within `limit`.
pub(super) async fn probe(
    probe: &DnsProbe,
    server: Option<&Endpoint>,
    connector: &Connector,
    resolver: &Resolver,
    limit: Duration,
) -> Report {
    let mut run = Run::new();
    let ended = timeout(limit, ask(probe, server, connector, resolver, &mut run)).await;
    run.report(&ended, limit)
}

async fn ask(
    probe: &DnsProbe,
    server: Option<&Endpoint>,
    connector: &Connector,
    resolver: &Resolver,
    run: &mut Run,
) -> Result<(), Failed> {
    let server = match server {
        Some(Endpoint { host, port }) => {
            let found = connector.resolve(host, run).await?;
            found.first().map(|address| SocketAddr::new(*address, *port))
        }
        None => None,
    };
    run.doing("question", "the name server did not answer");
    let (took, asked) = (stopwatch(), format!("{} {}", probe.query, word(probe.record)));
    let found = match resolver.ask(server, &probe.query, probe.record).await {
        Ok(found) => found,
        Err(why) => return run.broke("question", took(), format!("{asked}: {why}")),
    };
    let more = if found.len() > SHOWN { format!(" and {} more", found.len() - SHOWN) } else { String::new() };
    run.did("question", took(), format!("{asked}: {}{more}", found[..found.len().min(SHOWN)].join(", ")));
    for expected in &probe.expect {
        let there = found.iter().any(|answer| same(probe.record, expected, answer));
        let is = if there { "is" } else { "is not" };
        run.check("expect", there, format!("{expected:?} {is} among the answers to {asked}"))?;
    }
    Ok(())
}

/// Whether an answer is what was expected: addresses in any spelling, names in any case, texts to the letter.
fn same(record: DnsRecord, expected: &str, answer: &str) -> bool {
    match record {
        DnsRecord::A | DnsRecord::Aaaa => expected.parse::<IpAddr>().is_ok_and(|address| answer.parse() == Ok(address)),
        DnsRecord::Txt => expected == answer,
        _ => expected.trim_end_matches('.').eq_ignore_ascii_case(answer),
    }
}

const fn word(record: DnsRecord) -> &'static str {
    match record {
        DnsRecord::A => "A",
        DnsRecord::Aaaa => "AAAA",
        DnsRecord::Cname => "CNAME",
        DnsRecord::Mx => "MX",
        DnsRecord::Ns => "NS",
        DnsRecord::Ptr => "PTR",
        DnsRecord::Srv => "SRV",
        DnsRecord::Txt => "TXT",
    }
}

#[cfg(test)]
mod tests;
