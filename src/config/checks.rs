//! Checks of the file and of labels, validated.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use iaso_policy::spec::OnFailure;

use super::decode::{self, Table, Value, duration_of, integer_of, text_of, word_of};
use super::references::References;
use super::report::Report;
use super::secret::Secret;
use super::sections::threshold;
use super::validated::{
    Check, Defaults, DnsProbe, DnsRecord, GrpcProbe, HeartbeatProbe, HttpExpect, HttpMethod, HttpProbe, Peer, Probe,
    TcpProbe, TlsProbe, Trust, UrlHost, UrlPort, UrlTemplate,
};
use super::{files, url};

/// The shortest token of a heartbeat, in characters.
const SHORTEST_TOKEN: usize = 16;

/// What a check may rely on beside its own table.
pub(super) struct Around<'a> {
    pub(super) defaults: &'a Defaults,
    /// What relative paths are relative to.
    pub(super) folder: &'a Path,
    /// Programs may be run on this host.
    pub(super) commands: bool,
    /// What texts name credentials.
    pub(super) references: &'a References,
}

/// Why a table that agrees with its keys is no check.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Which of its keys; none: the table lacks one.
    pub(super) key: Option<&'static str>,
    pub(super) got: String,
    pub(super) expected: String,
}

impl Wrong {
    /// A key that is not there, or whose value is none that can be read.
    pub(super) fn lacks(table: &Table, key: &'static str, example: &str) -> Self {
        let there = table.contains_key(key).then_some(key);
        Self { key: there, got: format!("no {key}"), expected: format!("{key} = {example}") }
    }

    pub(super) fn at(key: &'static str, got: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { key: Some(key), got: got.into(), expected: expected.into() }
    }

    /// Tells it of the table at `path`, which stands at `span`, unless the table of keys does not agree with the value itself:
    /// that is told already.
    pub(super) fn tell(self, report: &mut Report, path: &str, table: &Table, span: Range<usize>) {
        let Self { key, got, expected } = self;
        let value = key.and_then(|key| table.get(key)).map(Value::span);
        let told = value.as_ref().is_some_and(|value| report.has_at(value));
        let span = value.unwrap_or(span);
        let path = key.map_or_else(|| path.to_owned(), |key| format!("{path}.{key}"));
        let got = if report.is_filled(&span) { "found another value".to_owned() } else { got };
        if !told {
            report.mistake(span, &path, got, expected);
        }
    }
}

/// The checks under a service of the file; `commands` lets them run programs on this host.
pub(super) fn checks(
    report: &mut Report,
    table: &Table,
    path: &str,
    defaults: &Defaults,
    commands: bool,
    references: &References,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut names = BTreeSet::new();
    let items = table.get("checks").and_then(|value| value.get_ref().as_array()).into_iter().flatten();
    for (index, item) in items.enumerate() {
        let path = format!("{path}.checks[{index}]");
        let Some(table) = item.get_ref().as_table() else { continue };
        let Some(kind) = text_of(table, "type") else {
            if !table.contains_key("type") {
                report.mistake(item.span(), &path, "no type".to_owned(), "type = \"http\", or another one");
            }
            continue;
        };
        let around = Around { defaults, folder: report.folder_at(item.span().start), commands, references };
        let check = match check(table, kind, text_of(table, "name").unwrap_or(kind), &around) {
            Ok(check) => check,
            Err(wrong) => {
                wrong.tell(report, &path, table, item.span());
                continue;
            }
        };
        if names.insert(check.name.clone()) {
            checks.push(check);
        } else {
            let span = table.get("name").map_or(item.span(), Value::span);
            let got = format!("a second check named {}", report.shown(&span, &check.name));
            report.mistake(span, &format!("{path}.name"), got, "a name of its own within the service");
        }
    }
    checks.shrink_to_fit();
    checks
}

/// The check of a table. Where it does not say what its failure asks for, that is healing when what fails is the container's
/// own, else an alert, since the way there may be what is broken.
///
/// # Errors
/// What the table lacks, or holds beyond its keys' forms.
pub(super) fn check(table: &Table, kind: &str, name: &str, around: &Around) -> Result<Check, Wrong> {
    let probe = probe(table, kind, around)?;
    let defaults = around.defaults;
    let usual = if probe.is_own() { OnFailure::Heal } else { OnFailure::Alert };
    Ok(Check {
        name: name.to_owned(),
        interval: duration_of(table, "interval").unwrap_or(defaults.interval),
        timeout: duration_of(table, "timeout").unwrap_or(defaults.timeout),
        on_failure: word_of(table, "on_failure").unwrap_or(usual),
        failure: threshold(table).unwrap_or(defaults.failure),
        success_threshold: integer_of(table, "success_threshold").unwrap_or(defaults.success_threshold),
        probe: Arc::new(probe),
    })
}

fn probe(table: &Table, kind: &str, around: &Around) -> Result<Probe, Wrong> {
    match kind {
        "http" => http(table, around).map(Probe::Http),
        "tcp" => {
            let [send, expect] = ["send", "expect"].map(|key| around.references.text_of(table, key));
            Ok(Probe::Tcp(TcpProbe { peer: peer(table)?, send, expect }))
        }
        "tls" => {
            let min_days_left = integer_of(table, "min_days_left").unwrap_or(14);
            Ok(Probe::Tls(TlsProbe { peer: peer(table)?, trust: trust(table, around)?, min_days_left }))
        }
        "dns" => dns(table).map(Probe::Dns),
        "grpc" => grpc(table, around).map(Probe::Grpc),
        "icmp" => {
            let host = text_of(table, "address").unwrap_or("{address}");
            url::host(host).map(Probe::Icmp).map_err(|expected| Wrong::at("address", "found another address", expected))
        }
        "exec" => argv(table, "[\"pg_isready\"]").map(Probe::Exec),
        "command" if around.commands => argv(table, "[\"/usr/local/bin/check-nas\"]").map(Probe::Command),
        "command" => {
            let expected = "allow_commands = true under [daemon], which lets checks run programs";
            Err(Wrong::at("type", "a program of this host", expected))
        }
        "docker" => Ok(Probe::Docker),
        "heartbeat" => heartbeat(table, around).map(Probe::Heartbeat),
        _ => Err(Wrong::at("type", "unknown type", "one that there is")),
    }
}

fn http(table: &Table, around: &Around) -> Result<HttpProbe, Wrong> {
    let url = match (text_of(table, "url"), integer_of(table, "port")) {
        // Only labels know the port beside a path.
        (path, Some(port)) => own_url(path.unwrap_or("/"), port)?,
        (Some(text), None) => {
            url::template(text).map_err(|expected| Wrong::at("url", "found another URL", expected))?
        }
        (None, None) => return Err(Wrong::lacks(table, "url", "\"http://...\"")),
    };
    Ok(HttpProbe {
        url,
        method: word_of(table, "method").unwrap_or(HttpMethod::Get),
        headers: around.references.headers_of(table, "headers"),
        redirects: integer_of(table, "redirects").unwrap_or(0),
        expect: expect(decode::table(table, "expect").unwrap_or(&Table::new()), around.references),
        // Over plain http too: a redirect may lead to https.
        trust: trust(table, around)?,
    })
}

/// The URL of a path of the container's own.
fn own_url(path: &str, port: u16) -> Result<UrlTemplate, Wrong> {
    const ONE: &str = "a path such as \"/health\" beside a port, or a whole URL alone";
    let url = url::template(&format!("http://{{address}}:{port}{path}")).ok().filter(|_| path.starts_with('/'));
    url.ok_or_else(|| Wrong::at("url", "a URL beside a port", ONE))
}

/// Where `address`, or a label's `port` of the container's own, leads.
fn peer(table: &Table) -> Result<Peer, Wrong> {
    match (text_of(table, "address"), integer_of(table, "port")) {
        (Some(text), None) => {
            url::peer(text).map_err(|expected| Wrong::at("address", "found another address", expected))
        }
        (None, Some(port)) => Ok(Peer { host: UrlHost::Container, port: UrlPort::Number(port) }),
        (Some(_), Some(_)) => Err(Wrong::at("port", "a port beside an address", "one of them")),
        (None, None) => Err(Wrong::lacks(table, "address", "\"{address}:PORT\"")),
    }
}

fn argv(table: &Table, example: &'static str) -> Result<Vec<String>, Wrong> {
    match decode::argv_of(table, "command") {
        Some(words) if words.is_empty() => Err(Wrong::at("command", "an empty list", example)),
        Some(words) => Ok(words),
        None => Err(Wrong::lacks(table, "command", example)),
    }
}

fn dns(table: &Table) -> Result<DnsProbe, Wrong> {
    let query = text_of(table, "query").ok_or_else(|| Wrong::lacks(table, "query", "\"db.example.org\""))?;
    Ok(DnsProbe {
        query: query.trim_end_matches('.').to_owned(),
        record: word_of(table, "record").unwrap_or(DnsRecord::A),
        server: text_of(table, "server").and_then(|text| url::peer(text).ok()),
        expect: decode::texts_of(table, "expect"),
    })
}

fn grpc(table: &Table, around: &Around) -> Result<GrpcProbe, Wrong> {
    let trust = trust(table, around)?;
    let tls = table.get("tls").and_then(|value| value.get_ref().as_bool()).unwrap_or(false);
    if !tls && trust != Trust::default() {
        let key = ["ca_file", "pin_sha256", "server_name"].into_iter().find(|key| table.contains_key(*key));
        return Err(Wrong::at(key.unwrap_or("tls"), "no use for it without TLS", "tls = true beside it"));
    }
    let service = text_of(table, "service").unwrap_or_default().to_owned();
    Ok(GrpcProbe { peer: peer(table)?, service, tls: tls.then_some(trust) })
}

fn heartbeat(table: &Table, around: &Around) -> Result<HeartbeatProbe, Wrong> {
    let max_age = duration_of(table, "max_age").unwrap_or(std::time::Duration::from_secs(300));
    let interval = duration_of(table, "interval").unwrap_or(around.defaults.interval);
    if max_age < interval {
        let expected = "at least the interval, at which its age is looked at";
        return Err(Wrong::at("max_age", "less than the interval", expected));
    }
    let token = text_of(table, "token");
    if token.is_some_and(|token| token.chars().count() < SHORTEST_TOKEN) {
        return Err(Wrong::at("token", "a shorter one", format!("{SHORTEST_TOKEN} characters or more")));
    }
    Ok(HeartbeatProbe { max_age, token: token.map(Secret::new) })
}

fn trust(table: &Table, around: &Around) -> Result<Trust, Wrong> {
    let roots = match text_of(table, "ca_file") {
        Some(path) => files::certificates(&around.folder.join(path))
            .map_err(|why| Wrong::at("ca_file", why, "a readable file with certificates in PEM"))?,
        None => Vec::new(),
    };
    let server_name = match text_of(table, "server_name") {
        Some(name) if rustls::pki_types::ServerName::try_from(name).is_err() => {
            return Err(Wrong::at("server_name", "found another text", "a host name or an address"));
        }
        name => name.map(str::to_owned),
    };
    Ok(Trust { roots, pins: decode::pins_of(table, "pin_sha256"), server_name })
}

impl Default for HttpExpect {
    fn default() -> Self {
        Self { status: vec![(200, 299)], body_contains: None, json: Vec::new(), headers: Vec::new(), max_latency: None }
    }
}

fn expect(table: &Table, references: &References) -> HttpExpect {
    let json = decode::table(table, "json").into_iter().flatten();
    HttpExpect {
        status: table
            .get("status")
            .and_then(|value| decode::statuses_of(value).ok())
            .unwrap_or_else(|| HttpExpect::default().status),
        body_contains: references.text_of(table, "body_contains"),
        json: json
            .filter_map(|(pointer, value)| Some((pointer.get_ref().to_string(), decode::json(value).ok()?)))
            .collect(),
        headers: references.headers_of(table, "headers"),
        max_latency: duration_of(table, "max_latency"),
    }
}
