//! The URL of an HTTP check, with its placeholders.

use url::{Host, Position, Url};

use super::validated::{Peer, UrlHost, UrlPort, UrlTemplate};
use super::values::Read;

const FORM: &str = "a URL such as \"http://{address}:3000/health\", or with {port:3000} for the published port";

/// Stands for `{address}` while the rest is read. Reserved, so that it resolves nowhere.
const STAND_IN: &str = "container.invalid";

/// Reads a URL of a check.
///
/// # Errors
/// What was expected: another scheme, user names, fragments and placeholders in other places are refused.
pub(super) fn template(text: &str) -> Read<UrlTemplate> {
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let https = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err("http:// or https://".to_owned()),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("a URL without a user name; put credentials into headers".to_owned());
    }
    if path.contains("{address}") || path.contains("{port:") {
        return Err("{address} as the host and {port:N} as the port, nowhere else".to_owned());
    }
    let (authority, published) = match authority.split_once(":{port:") {
        Some((host, port)) => {
            let port = port.strip_suffix('}').and_then(port_number).ok_or("{port:N} with N from 1 to 65535")?;
            (host, Some(port))
        }
        None => (authority, None),
    };
    let (container, rest) = match authority.strip_prefix("{address}") {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => (true, rest),
        Some(_) => return Err(FORM.to_owned()),
        None => (false, authority),
    };
    if rest.contains(['{', '}']) || (published.is_some() && container && !rest.is_empty()) {
        return Err(FORM.to_owned());
    }
    let stand_in = if container { STAND_IN } else { "" };
    let url = Url::parse(&format!("{scheme}://{stand_in}{rest}{path}")).map_err(|_| FORM)?;
    if url.fragment().is_some() {
        return Err("a URL without a fragment".to_owned());
    }
    if published.is_some() && url.port().is_some() || url.port() == Some(0) {
        return Err("one port from 1 to 65535".to_owned());
    }
    let host = match url.host() {
        _ if container => UrlHost::Container,
        Some(Host::Domain(name)) => UrlHost::Fixed(name.to_owned()),
        Some(Host::Ipv4(address)) => UrlHost::Fixed(address.to_string()),
        Some(Host::Ipv6(address)) => UrlHost::Fixed(address.to_string()),
        None => return Err(FORM.to_owned()),
    };
    let port = published.map(UrlPort::Published).or(url.port().map(UrlPort::Number));
    Ok(UrlTemplate { https, host, port, path: url[Position::BeforePath..Position::AfterQuery].to_owned() })
}

const PEER: &str = "an address such as \"{address}:5432\", \"{port:5432}\" for the published port, or \"HOST:PORT\"";

/// Reads where a check connects to.
pub(super) fn peer(text: &str) -> Read<Peer> {
    if let Some(port) = text.strip_prefix("{port:").and_then(|rest| rest.strip_suffix('}')) {
        let port = UrlPort::Published(port_number(port).ok_or("{port:N} with N from 1 to 65535")?);
        return Ok(Peer { host: UrlHost::Container, port });
    }
    // What follows is what a URL's authority may be.
    if text.contains(['/', '?', '#']) {
        return Err(PEER.to_owned());
    }
    // A URL drops the port that is its scheme's own: no scheme is 80 and 443.
    let (plain, tls) = (template(&format!("http://{text}")), template(&format!("https://{text}")));
    let (plain, tls) = plain.and_then(|plain| Ok((plain, tls?))).map_err(|_| PEER)?;
    let port = plain.port.or(tls.port).ok_or(PEER)?;
    Ok(Peer { host: plain.host, port })
}

/// Reads whom a check pings: `{address}`, a name or an address.
pub(super) fn host(text: &str) -> Read<UrlHost> {
    const FORM: &str = "\"{address}\", or a name or address without a port";
    let bare = text.parse::<std::net::Ipv6Addr>().map(|address| format!("[{address}]"));
    let authority = bare.as_deref().unwrap_or(text);
    let url = template(&format!("http://{authority}")).map_err(|_| FORM)?;
    if url.port.is_some() || url.path != "/" || text.contains([':', '/', '?', '#']) && bare.is_err() {
        return Err(FORM.to_owned());
    }
    Ok(url.host)
}

/// 1 to 65535.
pub(super) fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port > 0)
}

impl UrlTemplate {
    /// Whether it goes to the container itself, so that its failure is the container's.
    pub fn is_own(&self) -> bool {
        self.host == UrlHost::Container || matches!(self.port, Some(UrlPort::Published(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_stand_for_host_and_port() {
        let read = |text| template(text).map(|url| (url.https, url.host, url.port, url.path));
        let fixed = |name: &str| UrlHost::Fixed(name.to_owned());
        assert_eq!(
            read("http://{address}:3000/api?q=1"),
            Ok((false, UrlHost::Container, Some(UrlPort::Number(3000)), "/api?q=1".into()))
        );
        assert_eq!(read("https://{address}"), Ok((true, UrlHost::Container, None, "/".into())));
        assert_eq!(
            read("http://localhost:{port:80}/x"),
            Ok((false, fixed("localhost"), Some(UrlPort::Published(80)), "/x".into()))
        );
        assert_eq!(
            read("http://{address}:{port:80}"),
            Ok((false, UrlHost::Container, Some(UrlPort::Published(80)), "/".into()))
        );
        assert_eq!(read("http://[::1]:8080"), Ok((false, fixed("::1"), Some(UrlPort::Number(8080)), "/".into())));
        assert_eq!(read("http://example.org?a"), Ok((false, fixed("example.org"), None, "/?a".into())));
    }

    #[test]
    fn peers_are_hosts_with_ports() {
        let read = |text| peer(text).map(|peer| (peer.host, peer.port)).map_err(drop);
        let fixed = |name: &str| UrlHost::Fixed(name.to_owned());
        assert_eq!(read("{address}:5432"), Ok((UrlHost::Container, UrlPort::Number(5432))));
        assert_eq!(read("{port:80}"), Ok((UrlHost::Container, UrlPort::Published(80))));
        assert_eq!(read("localhost:{port:80}"), Ok((fixed("localhost"), UrlPort::Published(80))));
        assert_eq!(read("home.example.org:443"), Ok((fixed("home.example.org"), UrlPort::Number(443))));
        assert_eq!(read("10.0.0.1:80"), Ok((fixed("10.0.0.1"), UrlPort::Number(80))));
        assert_eq!(read("[::1]:53"), Ok((fixed("::1"), UrlPort::Number(53))));
        for bad in
            ["", "a", "a:", "a:0", "a:1/x", ":80", "{address}", "{port:0}", "u@a:1", "http://a:1", "a:1:{port:2}"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_have_no_port() {
        let fixed = |name: &str| Ok(UrlHost::Fixed(name.to_owned()));
        assert_eq!(host("{address}"), Ok(UrlHost::Container));
        assert_eq!([host("nas"), host("10.0.0.1"), host("::1")], [fixed("nas"), fixed("10.0.0.1"), fixed("::1")]);
        for bad in ["", "a:80", "a/x", "{address}:1", "u@a", "a b", "http://a", "[::1]:2"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for bad in [
            "",
            "/health",
            "ftp://a/",
            "http://",
            "http://user:pass@a/",
            "http://{address}@evil/",
            "http://{address}.evil/",
            "http://{address}:0/",
            "http://{address}:99999/",
            "http://{address}:{port:0}/",
            "http://{address}:{port:+5}/",
            "http://{address}:1:{port:80}/",
            "http://a:1:{port:80}/",
            "http://{adress}/",
            "http://a/{address}",
            "http://a/#b",
            "http://{port:80}/",
            "http://${HOST}/",
        ] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }
}
