//! What is right and yet unwise: secrets in plain text and in open files, and engines and servers spoken to in plain text.

use std::net::IpAddr;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use url::Url;

use super::report::Report;
use super::texts::Source;
use super::validated::HostAddress;

/// A header of the file; some hold a secret by their name.
pub(super) fn header(report: &mut Report, path: &str, name: &str, value: Range<usize>) {
    let name = name.to_ascii_lowercase();
    if ["authorization", "cookie", "key", "passw", "secret", "token"].iter().any(|word| name.contains(word)) {
        plain_secret(report, path, value);
    }
}

/// A secret, unless it was filled in.
pub(super) fn plain_secret(report: &mut Report, path: &str, value: Range<usize>) {
    if report.is_filled(&value) {
        return;
    }
    report.warning(value.clone(), path, "a secret in plain text".to_owned(), "${VARIABLE} or ${file:PATH}");
    let (text, _) = report.text_at(value.start);
    if let Source::File { mode, .. } = text.source
        && mode & 0o004 != 0
        && report.expose(&value)
    {
        let got = format!("everybody may read this file (mode {mode:04o}), and the secret in it");
        report.warning(value, path, got, "a file for its owner and group: chmod o= FILE");
    }
}

/// A host over TCP without TLS that may be reached by way of strangers.
pub(super) fn plain_host(report: &mut Report, path: &str, address: &HostAddress, span: Range<usize>) {
    if let HostAddress::Tcp(address) = address
        && !is_private(address.rsplit_once(':').map_or(address, |(host, _)| host))
    {
        let got =
            "plain TCP beyond loopback and private networks: whoever is on the way is root on that host".to_owned();
        report.warning(span, path, got, "a private address, or TLS");
    }
}

/// A file that holds a secret: one that is not there, or that everybody may read.
pub(super) fn secret_file(report: &mut Report, path: &str, file: &Path, span: Range<usize>) {
    // A path that was filled in is nobody's to see.
    let shown = if report.is_filled(&span) { "the file".to_owned() } else { file.display().to_string() };
    match std::fs::metadata(file) {
        Err(error) => report.warning(span, path, format!("{shown}: {error}"), "a file that Iaso may read"),
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o7777;
            if mode & 0o004 != 0 {
                let got = format!("{shown}: everybody may read this secret (mode {mode:04o})");
                report.warning(span, path, got, "a file for its owner alone: chmod go= FILE");
            }
        }
    }
}

/// Vault without TLS beyond this machine.
pub(super) fn plain_vault(report: &mut Report, path: &str, address: &str, span: Range<usize>) {
    if is_plain(address) {
        let got = "plain HTTP: whoever is on the way reads every secret, and the token".to_owned();
        report.warning(span, path, got, "https://");
    }
}

/// AWS without TLS beyond this machine.
pub(super) fn plain_aws(report: &mut Report, path: &str, endpoint: &str, span: Range<usize>) {
    if is_plain(endpoint) {
        let got = "plain HTTP: whoever is on the way reads the secret".to_owned();
        report.warning(span, path, got, "https://");
    }
}

/// Whether an address is spoken to in plain text beyond this machine.
fn is_plain(address: &str) -> bool {
    let url = address.strip_prefix("http://").and_then(|_| Url::parse(address).ok());
    url.is_some_and(|url| !is_loopback(&url))
}

/// A call that carries a secret without TLS by way of strangers.
pub(super) fn plain_call(report: &mut Report, path: &str, url: &Url, span: Range<usize>) {
    if url.scheme() == "http" && !url.host_str().is_some_and(is_private) {
        let got = "plain HTTP beyond loopback and private networks: whoever is on the way reads the secret".to_owned();
        report.warning(span, path, got, "https://, or a private address");
    }
}

/// A credential whose every change would be refused: it may not be put back where that is needed.
pub(super) fn scarce(report: &mut Report, path: &str, services: usize, max_per_hour: u32, span: Range<usize>) {
    let needed = services * 2;
    if needed > max_per_hour as usize {
        let got = format!(
            "{max_per_hour}, and a change may take {needed}: each of {services} services is told, and told again where it is \
             put back; it would be refused"
        );
        report.warning(
            span,
            path,
            got,
            format!("max_per_hour = {needed}, or more where a service has several containers"),
        );
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether a host is this machine, or in a network that strangers do not share, as far as its name or address tells.
fn is_private(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            let [first, second, ..] = address.octets();
            // The shared address space (RFC 6598) is what overlay networks such as Tailscale's use.
            let shared = first == 100 && (64..128).contains(&second);
            address.is_loopback() || address.is_private() || address.is_link_local() || shared
        }
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => is_private(&mapped.to_string()),
            None => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
        },
        // A name without a dot is a neighbour; these ends are nobody's on the internet.
        Err(_) => {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            let own = ["home.arpa", "internal", "lan", "home", "local", "localdomain", "localhost", "test"];
            !host.contains('.') || own.iter().any(|end| host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_is_what_strangers_do_not_share() {
        for host in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.5",
            "169.254.1.1",
            "100.64.0.1",
            "[::1]",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "localhost",
            "proxy",
            "nas.lan",
            "Nas.Home.Arpa",
            "docker.internal.",
        ] {
            assert!(is_private(host), "{host}");
        }
        for host in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "[2001:db8::1]",
            "[::ffff:8.8.8.8]",
            "docker.example.org",
            "lan.example.org",
            "xlan.de",
        ] {
            assert!(!is_private(host), "{host}");
        }
    }
}
