//! What the policy needs of a service, and the fingerprint by which it knows that a check was changed.

use std::fmt::Write;

use iaso_policy::id::{HostId, Identity};
use iaso_policy::spec::{CheckSpec, ServiceSpec};

use super::validated::{Check, HttpMethod, HttpProbe, Probe, Service, UrlHost, UrlPort};

impl Service {
    /// What the policy needs to heal one instance of this service.
    pub fn spec(&self, identity: Identity, host: HostId) -> ServiceSpec {
        ServiceSpec {
            identity,
            host,
            checks: self.checks.iter().map(Check::spec).collect(),
            recovery: self.recovery.spec.clone(),
            lifecycle: self.lifecycle,
            after_gap: self.after_gap,
            heal_exits: self.heal_exits,
            start_period: self.start_period,
        }
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
        let Probe::Http(http) = &self.probe;
        fnv1a(canonical(&self.name, http, self.timeout.as_millis()).as_bytes())
    }
}

/// One line for each part. Texts are quoted and escaped, so that no two definitions are spelled alike; the spelling must
/// never change, or every check must prove itself again.
fn canonical(name: &str, http: &HttpProbe, timeout: u128) -> String {
    let mut text = format!("http 1\nname {}\ntimeout {timeout}\n", quoted(name));
    let method = match http.method {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
        HttpMethod::Post => "POST",
    };
    let host = match &http.url.host {
        UrlHost::Container => "{address}".to_owned(),
        UrlHost::Fixed(host) => quoted(host),
    };
    let port = match http.url.port {
        None => "usual".to_owned(),
        Some(UrlPort::Number(port)) => port.to_string(),
        Some(UrlPort::Published(port)) => format!("{{port:{port}}}"),
    };
    let expect = &http.expect;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{method} {} {host} {port} {}", http.url.https, quoted(&http.url.path));
    let _ = writeln!(text, "redirects {}", http.redirects);
    for (name, value) in &http.headers {
        let _ = writeln!(text, "header {} {}", quoted(name), quoted(value));
    }
    for (low, high) in &expect.status {
        let _ = writeln!(text, "status {low} {high}");
    }
    if let Some(part) = &expect.body_contains {
        let _ = writeln!(text, "body {}", quoted(part));
    }
    for (pointer, value) in &expect.json {
        let _ = writeln!(text, "json {} {value}", quoted(pointer));
    }
    for (name, value) in &expect.headers {
        let _ = writeln!(text, "answers {} {}", quoted(name), quoted(value));
    }
    if let Some(latency) = expect.max_latency {
        let _ = writeln!(text, "latency {}", latency.as_millis());
    }
    text
}

/// As JSON quotes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iaso_policy::spec::{OnFailure, Threshold};

    use super::*;
    use crate::config::url;
    use crate::config::validated::HttpExpect;

    fn check() -> Check {
        let probe = HttpProbe {
            url: url::template("http://{address}:3000/health").unwrap(),
            method: HttpMethod::Get,
            headers: vec![("host".to_owned(), "localhost".to_owned())],
            redirects: 0,
            expect: HttpExpect::default(),
        };
        Check {
            name: "api".to_owned(),
            probe: Probe::Http(probe),
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
        let Probe::Http(http) = check().probe;
        let text = "http 1\nname \"api\"\ntimeout 5000\nGET false {address} 3000 \"/health\"\nredirects 0\n\
                    header \"host\" \"localhost\"\nstatus 200 299\n";
        assert_eq!(canonical("api", &http, 5000), text);
    }

    #[test]
    fn only_what_is_probed_and_expected_counts() {
        let before = check().fingerprint();
        let relaxed = Check { interval: Duration::from_secs(60), failure: Threshold::in_a_row(5), ..check() };
        assert_eq!(relaxed.fingerprint(), before);
        let mut stricter = check();
        let Probe::Http(http) = &mut stricter.probe;
        http.expect.body_contains = Some("up".to_owned());
        assert_ne!(stricter.fingerprint(), before);
    }
}
