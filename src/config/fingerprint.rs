//! What the policy needs of a service, and the fingerprint by which it knows that a check was changed.

use std::fmt::Write;
use std::time::Duration;

use iaso_policy::id::{CredentialKey, HostId, Identity};
use iaso_policy::spec::{CheckSpec, OnFailure, RecoverySpec, ServiceSpec};

use super::validated::{
    Careful, Check, Composed, Credential, DnsProbe, GrpcProbe, HttpMethod, HttpProbe, Part, Peer, Probe, Reference,
    Service, TcpProbe, TlsProbe, Trust, UrlHost, UrlPort,
};

impl Service {
    /// What the policy needs to heal one instance of this service, which keeps data or does not.
    pub fn spec(&self, identity: Identity, host: HostId, stateful: bool) -> ServiceSpec {
        let mut recovery = self.recovery.spec.clone();
        let mut start_period = self.start_period;
        if stateful {
            let Careful { stop_timeout, least_grace, quarantine_retry, notice, .. } = self.careful;
            recovery = RecoverySpec { stop_timeout, least_grace, quarantine_retry, notice, ..recovery };
            start_period = self.careful.start_period;
        }
        ServiceSpec {
            identity,
            host,
            checks: self.checks.iter().map(Check::spec).collect(),
            recovery,
            lifecycle: self.lifecycle,
            after_gap: self.after_gap,
            heal_exits: self.heal_exits,
            start_period,
            settles_within: self.settles_within(),
            stateful,
        }
    }

    /// How long a heartbeat that heals may wait for its first ping.
    fn settles_within(&self) -> Duration {
        let waits = self.checks.iter().map(|check| match (&*check.probe, check.on_failure) {
            (Probe::Heartbeat(heartbeat), OnFailure::Heal) => heartbeat.max_age,
            _ => Duration::ZERO,
        });
        waits.max().unwrap_or_default()
    }
}

impl Check {
    fn spec(&self) -> CheckSpec {
        CheckSpec {
            fingerprint: self.fingerprint(),
            on_failure: self.on_failure,
            failure: self.failure,
            success_threshold: self.success_threshold,
            interval: self.interval,
        }
    }

    /// A hash of the name, of what is probed and of what is expected: the same for the same definition in every release and
    /// on every platform. How often it runs and what follows from a failure are not part of it: they do not make it wrong.
    pub fn fingerprint(&self) -> u64 {
        fnv1a(canonical(&self.name, &self.probe, self.timeout.as_millis()).as_bytes())
    }
}

/// One line for each part. Texts are quoted and escaped, so that no two definitions are spelled alike; the spelling must
/// never change, or every check must prove itself again.
fn canonical(name: &str, probe: &Probe, timeout: u128) -> String {
    let mut text = format!("{} 1\nname {}\ntimeout {timeout}\n", probe.kind(), quoted(name));
    text.push_str(&match probe {
        Probe::Http(http) => canonical_http(http),
        Probe::Tcp(TcpProbe { peer, send, expect }) => {
            format!("{}send {}\nexpect {}\n", canonical_peer(peer), optional(send.as_ref()), optional(expect.as_ref()))
        }
        Probe::Tls(TlsProbe { peer, trust, min_days_left }) => {
            format!("{}days {min_days_left}\n{}", canonical_peer(peer), canonical_trust(trust))
        }
        Probe::Dns(DnsProbe { query, record, server, expect }) => {
            let server = server.as_ref().map_or_else(|| "usual\n".to_owned(), canonical_peer);
            let expect: Vec<String> = expect.iter().map(|text| quoted(text)).collect();
            format!("query {} {record:?}\n{server}expect {}\n", quoted(query), expect.join(" "))
        }
        Probe::Grpc(GrpcProbe { peer, service, tls }) => {
            let tls = tls.as_ref().map_or_else(|| "plain\n".to_owned(), canonical_trust);
            format!("{}service {}\n{tls}", canonical_peer(peer), quoted(service))
        }
        Probe::Icmp(host) => format!("{}\n", canonical_host(host)),
        Probe::Exec(argv) | Probe::Command(argv) => {
            argv.iter().map(|word| format!("word {}\n", quoted(word))).collect()
        }
        Probe::Docker => String::new(),
        // A new token or age makes no other check of it.
        Probe::Heartbeat(_) => String::new(),
    });
    text
}

fn canonical_peer(peer: &Peer) -> String {
    format!("at {} {}\n", canonical_host(&peer.host), canonical_port(peer.port))
}

fn canonical_host(host: &UrlHost) -> String {
    match host {
        UrlHost::Container => "{address}".to_owned(),
        UrlHost::Fixed(host) => quoted(host),
    }
}

fn canonical_port(port: UrlPort) -> String {
    match port {
        UrlPort::Number(port) => port.to_string(),
        UrlPort::Published(port) => format!("{{port:{port}}}"),
    }
}

/// Nothing where the machine's roots are trusted, so that checks from before there were others keep their proof.
fn canonical_trust(trust: &Trust) -> String {
    let mut text = String::new();
    for root in &trust.roots {
        let _ = writeln!(text, "root {:016x}", fnv1a(root));
    }
    for pin in &trust.pins {
        let _ = writeln!(text, "pin {:016x}", fnv1a(pin));
    }
    if let Some(name) = &trust.server_name {
        let _ = writeln!(text, "as {}", quoted(name));
    }
    text
}

fn optional(text: Option<&Composed>) -> String {
    text.map_or_else(|| "nothing".to_owned(), composed)
}

/// A credential counts by its name and field, never by its value: what changes by itself is no other check.
fn composed(text: &Composed) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => quoted(text.expose()),
        Part::Value(Reference { credential, field }) => format!("credential {} {}", quoted(credential), quoted(field)),
    };
    text.parts().iter().map(part).collect::<Vec<_>>().join(" ")
}

fn canonical_http(http: &HttpProbe) -> String {
    let mut text = String::new();
    let method = match http.method {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
        HttpMethod::Post => "POST",
    };
    let host = canonical_host(&http.url.host);
    let port = http.url.port.map_or_else(|| "usual".to_owned(), canonical_port);
    let expect = &http.expect;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{method} {} {host} {port} {}", http.url.https, quoted(&http.url.path));
    let _ = writeln!(text, "redirects {}", http.redirects);
    for (name, value) in &http.headers {
        let _ = writeln!(text, "header {} {}", quoted(name), composed(value));
    }
    for (low, high) in &expect.status {
        let _ = writeln!(text, "status {low} {high}");
    }
    if let Some(part) = &expect.body_contains {
        let _ = writeln!(text, "body {}", composed(part));
    }
    for (pointer, value) in &expect.json {
        let _ = writeln!(text, "json {} {value}", quoted(pointer));
    }
    for (name, value) in &expect.headers {
        let _ = writeln!(text, "answers {} {}", quoted(name), composed(value));
    }
    if let Some(latency) = expect.max_latency {
        let _ = writeln!(text, "latency {}", latency.as_millis());
    }
    text.push_str(&canonical_trust(&http.trust));
    text
}

/// As JSON quotes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Credential {
    /// What its charges are kept under: a hash of its name, the same in every release.
    pub fn key(&self) -> CredentialKey {
        CredentialKey(fnv1a(self.name.as_bytes()))
    }
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iaso_policy::spec::{OnFailure, Threshold};

    use std::sync::Arc;

    use super::*;
    use crate::config::url;
    use crate::config::validated::HttpExpect;

    fn check() -> Check {
        let probe = HttpProbe {
            url: url::template("http://{address}:3000/health").unwrap(),
            method: HttpMethod::Get,
            headers: vec![("host".to_owned(), "localhost".into())],
            redirects: 0,
            expect: HttpExpect::default(),
            trust: Trust::default(),
        };
        Check {
            name: "api".to_owned(),
            probe: Arc::new(Probe::Http(probe)),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            on_failure: OnFailure::Heal,
            failure: Threshold::in_a_row(3),
            success_threshold: 1,
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn fingerprints_stay_the_same_across_releases() {
        let text = "http 1\nname \"api\"\ntimeout 5000\nGET false {address} 3000 \"/health\"\nredirects 0\n\
                    header \"host\" \"localhost\"\nstatus 200 299\n";
        assert_eq!(canonical("api", &check().probe, 5000), text);
    }

    #[test]
    fn only_what_is_probed_and_expected_counts() {
        let before = check().fingerprint();
        let relaxed = Check { interval: Duration::from_secs(60), failure: Threshold::in_a_row(5), ..check() };
        assert_eq!(relaxed.fingerprint(), before);
        let mut stricter = check();
        let Probe::Http(http) = Arc::make_mut(&mut stricter.probe) else { panic!() };
        http.expect.body_contains = Some("up".into());
        assert_ne!(stricter.fingerprint(), before);
    }
}
