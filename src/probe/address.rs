//! Finds where a container's `{address}` and `{port:N}` lead to. Pure: what the engine knows of both sides comes in.
//!
//! In order: the same network namespace, a network that both share, the container's own address where it can be reached,
//! the published port; else an error that names the cure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::validated::{Peer, Probe, UrlHost, UrlPort};

/// What the engine says of the container that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Its id, all 64 digits.
    pub id: String,
    /// Its networks by name, with its addresses there. Where it lives in another container's namespace
    /// (`network_mode = "container:ID"`), that container's.
    pub networks: BTreeMap<String, Vec<IpAddr>>,
    /// `host`, `none`, `bridge`, `container:ID`, or a network's name.
    pub network_mode: String,
    /// Its published TCP ports (likewise): the container's port, the host's address, the host's port.
    pub ports: Vec<(u16, IpAddr, u16)>,
}

/// Where Iaso stands, seen from the engine that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The container that Iaso runs in, when it is one of this engine's.
    pub in_container: Option<OwnContainer>,
    /// Where the engine is.
    pub engine: EngineSite,
}

/// The container that Iaso runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnContainer {
    /// Its id, all 64 digits.
    pub id: String,
    /// The names of its networks.
    pub networks: Vec<String>,
    /// As [`Place::network_mode`].
    pub network_mode: String,
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineSite {
    /// On this machine, its networks among the machine's own.
    Local,
    /// On this machine, its networks in a namespace of their own (rootless), or in a virtual machine: only published ports
    /// lead there.
    Apart,
    /// On another machine, by this name or address.
    Remote(String),
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address (IPv6 without brackets).
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Where a probe goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To a port.
    Port(Endpoint),
    /// To a name or an address, whatever the port.
    Host(String),
    /// Nowhere that needs an address: into the container, or to what is known already.
    Direct,
}

/// There is no way to the container; the words name the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// `{port:N}` of a port that is not published.
    #[error("port {0} is not published: publish it (ports: [\"{0}:{0}\"]), or use {{address}}")]
    NotPublished(u16),
    /// `{port:N}` of a port that is published where Iaso cannot reach it.
    #[error(
        "port {port} is published on {on} of the host, which Iaso's container does not reach: use {{address}} over a shared \
         network, or run Iaso with network_mode: host"
    )]
    PublishedElsewhere {
        /// The container's port.
        port: u16,
        /// The host's address.
        on: IpAddr,
    },
    /// `{address}` of a container that Iaso, in a container itself, shares nothing with.
    #[error(
        "Iaso's container shares no network with it: connect Iaso to {networks}, or run Iaso with network_mode: host"
    )]
    NothingShared {
        /// Its networks.
        networks: String,
    },
    /// `{address}` of a container without a network.
    #[error(
        "it has no address on any network: start it, or give it a network, or check it from inside with an exec check"
    )]
    NoNetwork,
    /// `{address}` of a container on an engine whose networks are not this machine's, for a ping.
    #[error("the networks of its engine do not reach Iaso: check a published port of it with type tcp instead")]
    NoPing,
    /// `{address}` of a container on an engine whose networks are not this machine's.
    #[error("the networks of its engine do not reach Iaso: publish port {0} on the engine's host")]
    EngineApart(u16),
}

/// Where a probe of a container goes.
///
/// # Errors
/// When nothing leads there.
pub fn way(probe: &Probe, place: &Place, own: &Own) -> Result<Way, NoAddress> {
    let to = |peer: &Peer| endpoint(&peer.host, peer.port, place, own).map(Way::Port);
    match probe {
        Probe::Http(http) => {
            let usual = UrlPort::Number(if http.url.https { 443 } else { 80 });
            endpoint(&http.url.host, http.url.port.unwrap_or(usual), place, own).map(Way::Port)
        }
        Probe::Tcp(tcp) => to(&tcp.peer),
        Probe::Tls(tls) => to(&tls.peer),
        Probe::Grpc(grpc) => to(&grpc.peer),
        Probe::Dns(dns) => dns.server.as_ref().map_or(Ok(Way::Direct), to),
        Probe::Icmp(UrlHost::Fixed(host)) => Ok(Way::Host(host.clone())),
        Probe::Icmp(UrlHost::Container) => pinged(place, own).map(Way::Host),
        Probe::Exec(_) | Probe::Command(_) | Probe::Docker | Probe::Heartbeat(_) => Ok(Way::Direct),
    }
}

/// Where to connect for this host and port.
fn endpoint(host: &UrlHost, port: UrlPort, place: &Place, own: &Own) -> Result<Endpoint, NoAddress> {
    match (host, port) {
        (UrlHost::Fixed(host), UrlPort::Number(port)) => Ok(Endpoint { host: host.clone(), port }),
        (UrlHost::Fixed(host), UrlPort::Published(inner)) => {
            let outer = place.ports.iter().find(|(port, ..)| *port == inner).ok_or(NoAddress::NotPublished(inner))?.2;
            Ok(Endpoint { host: host.clone(), port: outer })
        }
        (UrlHost::Container, UrlPort::Number(port)) => address(port, place, own),
        (UrlHost::Container, UrlPort::Published(port)) => published(port, place, own),
    }
}

/// The container's own address: a published port leads no ping there.
fn pinged(place: &Place, own: &Own) -> Result<String, NoAddress> {
    let unpublished = Place { ports: Vec::new(), ..place.clone() };
    address(0, &unpublished, own).map(|found| found.host).map_err(|none| match none {
        NoAddress::EngineApart(_) => NoAddress::NoPing,
        other => other,
    })
}

/// `{address}` and a port of the container's.
fn address(port: u16, place: &Place, own: &Own) -> Result<Endpoint, NoAddress> {
    if let EngineSite::Remote(host) = &own.engine {
        if place.network_mode == "host" {
            return Ok(Endpoint { host: host.clone(), port });
        }
        return published(port, place, own).map_err(|_| NoAddress::EngineApart(port));
    }
    if own.namespace().is_some_and(|namespace| namespace == place.namespace()) {
        return Ok(at(Ipv4Addr::LOCALHOST.into(), port));
    }
    let shared = own.in_container.iter().flat_map(|container| &container.networks);
    if let Some(address) = shared.filter_map(|name| place.networks.get(name)).find_map(|found| best(found)) {
        return Ok(at(address, port));
    }
    if own.on_bridges()
        && let Some(address) = place.networks.values().find_map(|found| best(found))
    {
        return Ok(at(address, port));
    }
    published(port, place, own).map_err(|_| {
        let networks: Vec<&str> = place.networks.keys().map(String::as_str).collect();
        match (&own.in_container, networks.is_empty() || place.network_mode == "none") {
            (_, true) => NoAddress::NoNetwork,
            (Some(_), false) => NoAddress::NothingShared { networks: networks.join(" or ") },
            (None, false) => NoAddress::EngineApart(port),
        }
    })
}

/// The port of the host that the container's is published on, at an address that leads there.
fn published(port: u16, place: &Place, own: &Own) -> Result<Endpoint, NoAddress> {
    let mut on: Vec<(IpAddr, u16)> =
        place.ports.iter().filter(|(inner, ..)| *inner == port).map(|(_, address, outer)| (*address, *outer)).collect();
    on.sort_by_key(|(address, outer)| (address.is_ipv6(), *outer));
    let first = *on.first().ok_or(NoAddress::NotPublished(port))?;
    let reachable = on.iter().find_map(|&(address, outer)| match &own.engine {
        EngineSite::Remote(_) if address.is_loopback() => None,
        EngineSite::Remote(host) if address.is_unspecified() => Some(Endpoint { host: host.clone(), port: outer }),
        EngineSite::Remote(_) => Some(at(address, outer)),
        _ if own.on_host() => Some(at(to_loopback(address), outer)),
        // From a container with its own namespace only an address of the host's own leads to the host.
        _ if address.is_unspecified() || address.is_loopback() => None,
        _ => Some(at(address, outer)),
    });
    reachable.ok_or(NoAddress::PublishedElsewhere { port, on: first.0 })
}

/// An unspecified address stands for all of them, so for the loopback one too.
fn to_loopback(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// IPv4 first: IPv6 on a container network often leads nowhere.
fn best(addresses: &[IpAddr]) -> Option<IpAddr> {
    addresses.iter().copied().filter(|address| !address.is_unspecified()).min_by_key(IpAddr::is_ipv6)
}

fn at(address: IpAddr, port: u16) -> Endpoint {
    Endpoint { host: address.to_string(), port }
}

/// A network namespace of an engine's: the host's, or the one that the container of this id made.
#[derive(PartialEq, Eq)]
enum Namespace<'a> {
    Host,
    Of(&'a str),
}

fn namespace<'a>(id: &'a str, mode: &'a str) -> Namespace<'a> {
    match mode.strip_prefix("container:") {
        Some(parent) => Namespace::Of(parent),
        None if mode == "host" => Namespace::Host,
        None => Namespace::Of(id),
    }
}

impl Place {
    fn namespace(&self) -> Namespace<'_> {
        namespace(&self.id, &self.network_mode)
    }
}

impl Own {
    /// Iaso's namespace, as far as it is one of this engine's.
    fn namespace(&self) -> Option<Namespace<'_>> {
        match (&self.in_container, &self.engine) {
            (_, EngineSite::Remote(_)) | (None, EngineSite::Apart) => None,
            (Some(own), _) => Some(namespace(&own.id, &own.network_mode)),
            (None, EngineSite::Local) => Some(Namespace::Host),
        }
    }

    /// Whether the engine's bridges are among the interfaces that Iaso sees.
    fn on_bridges(&self) -> bool {
        self.namespace() == Some(Namespace::Host)
    }

    /// Whether ports published on loopback are in Iaso's reach.
    fn on_host(&self) -> bool {
        self.in_container.is_none() || self.on_bridges()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validated::{HttpExpect, HttpMethod, HttpProbe, Trust, UrlTemplate};

    const CONTAINER: &str = "c0";
    const OWN: &str = "1a50";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A container with these networks (`NAME=ADDRESS`), in this mode, with these ports (`INNER>ADDRESS>OUTER`).
    fn place(networks: &[&str], mode: &str, ports: &[&str]) -> Place {
        let mut place = Place { id: CONTAINER.to_owned(), network_mode: mode.to_owned(), ..Place::default() };
        for network in networks {
            let (name, address) = network.split_once('=').unwrap();
            place.networks.entry(name.to_owned()).or_default().push(ip(address));
        }
        for port in ports {
            let mut parts = port.split('>');
            let mut part = || parts.next().unwrap();
            place.ports.push((part().parse().unwrap(), ip(part()), part().parse().unwrap()));
        }
        place
    }

    fn on_host() -> Own {
        Own { in_container: None, engine: EngineSite::Local }
    }

    fn in_container(networks: &[&str], mode: &str) -> Own {
        let networks = networks.iter().map(|name| (*name).to_owned()).collect();
        let own = OwnContainer { id: OWN.to_owned(), networks, network_mode: mode.to_owned() };
        Own { in_container: Some(own), engine: EngineSite::Local }
    }

    fn apart() -> Own {
        Own { in_container: None, engine: EngineSite::Apart }
    }

    fn remote() -> Own {
        Own { in_container: None, engine: EngineSite::Remote("nas.lan".to_owned()) }
    }

    fn url(host: UrlHost, port: Option<UrlPort>) -> Peer {
        Peer { host, port: port.unwrap_or(UrlPort::Number(80)) }
    }

    fn endpoint(peer: &Peer, place: &Place, own: &Own) -> Result<Endpoint, NoAddress> {
        super::endpoint(&peer.host, peer.port, place, own)
    }

    fn spelled(found: Result<Endpoint, NoAddress>) -> String {
        match found {
            Ok(Endpoint { host, port }) => format!("{host} {port}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_address_is_found_in_the_contracts_order() {
        let web = || place(&["front=172.20.0.5", "front=fd00::5"], "front", &["80>0.0.0.0>8080"]);
        let bare = || place(&["front=172.20.0.5"], "front", &[]);
        let child = |parent: &str| place(&["front=172.20.0.7"], &format!("container:{parent}"), &["80>0.0.0.0>8080"]);
        let rows = [
            // The same network namespace.
            (place(&[], "host", &[]), on_host(), "127.0.0.1 80"),
            (place(&[], "host", &[]), in_container(&["host"], "host"), "127.0.0.1 80"),
            (child(OWN), in_container(&["front"], "front"), "127.0.0.1 80"),
            (web(), in_container(&[], "container:c0"), "127.0.0.1 80"),
            (child("aa"), in_container(&[], "container:aa"), "127.0.0.1 80"),
            (Place { id: OWN.to_owned(), ..bare() }, in_container(&["back"], "back"), "127.0.0.1 80"),
            // A network they share, before anything else, and IPv4 first.
            (
                place(&["a=10.0.0.1", "back=fd00::9", "back=172.21.0.9"], "a", &[]),
                in_container(&["back"], "back"),
                "172.21.0.9 80",
            ),
            (place(&["six=fd00::9"], "six", &[]), in_container(&["six"], "six"), "fd00::9 80"),
            (child("aa"), in_container(&["front"], "front"), "172.20.0.7 80"),
            (web(), Own { engine: EngineSite::Apart, ..in_container(&["front"], "front") }, "172.20.0.5 80"),
            // Its own address, from the host.
            (web(), on_host(), "172.20.0.5 80"),
            (web(), in_container(&["host"], "host"), "172.20.0.5 80"),
            (web(), Own { engine: EngineSite::Apart, ..in_container(&["host"], "host") }, "172.20.0.5 80"),
            // The published port.
            (place(&["front=0.0.0.0"], "front", &["80>0.0.0.0>8080"]), on_host(), "127.0.0.1 8080"),
            (web(), apart(), "127.0.0.1 8080"),
            (place(&["n=fd00::9"], "n", &["80>::>8080"]), apart(), "::1 8080"),
            (place(&["n=10.0.0.9"], "n", &["80>::>8081", "80>0.0.0.0>8080"]), apart(), "127.0.0.1 8080"),
            (place(&["n=10.0.0.9"], "n", &["80>192.168.1.5>8080"]), apart(), "192.168.1.5 8080"),
            (place(&["n=10.0.0.9"], "n", &["80>192.168.1.5>8080"]), in_container(&["m"], "m"), "192.168.1.5 8080"),
            (web(), remote(), "nas.lan 8080"),
            (place(&["n=10.0.0.9"], "n", &["80>192.168.1.5>8080"]), remote(), "192.168.1.5 8080"),
            (place(&[], "host", &[]), remote(), "nas.lan 80"),
        ];
        for (place, own, expected) in rows {
            let found = endpoint(&url(UrlHost::Container, None), &place, &own);
            assert_eq!(spelled(found), expected, "{place:?} from {own:?}");
        }
    }

    #[test]
    fn without_a_way_the_error_names_the_cure() {
        let shared_nothing = "Iaso's container shares no network with it: connect Iaso to back or front, or run Iaso with \
                              network_mode: host";
        let two = || place(&["front=172.20.0.5", "back=172.21.0.5"], "front", &["80>0.0.0.0>8080"]);
        let rows = [
            // What is published on all of the host's addresses says not which of them leads there from a container.
            (two(), in_container(&["m"], "m"), shared_nothing),
            (place(&["n=10.0.0.9"], "n", &[]), apart(), "publish port 80 on the engine's host"),
            (place(&["n=10.0.0.9"], "n", &["80>127.0.0.1>8080"]), remote(), "publish port 80 on the engine's host"),
            (place(&["none=0.0.0.0"], "none", &[]), on_host(), "it has no address on any network"),
            (place(&[], "none", &[]), in_container(&["m"], "m"), "it has no address on any network"),
            // A network of the same name on another engine is another network.
            (place(&["bridge=172.17.0.2"], "bridge", &[]), remote(), "publish port 80 on the engine's host"),
        ];
        for (place, own, expected) in rows {
            let found = endpoint(&url(UrlHost::Container, None), &place, &own).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}\n{place:?} from {own:?}");
            assert!(!found.contains('\n'));
        }
    }

    #[test]
    fn a_published_port_is_the_hosts() {
        let web =
            place(&["front=172.20.0.5"], "front", &["3000>0.0.0.0>33000", "3000>::>33000", "4000>127.0.0.1>34000"]);
        let container = |port| url(UrlHost::Container, Some(UrlPort::Published(port)));
        let fixed = |port| url(UrlHost::Fixed("home.example.org".to_owned()), Some(port));
        let rows = [
            (container(3000), on_host(), "127.0.0.1 33000"),
            (container(4000), on_host(), "127.0.0.1 34000"),
            (container(3000), remote(), "nas.lan 33000"),
            (
                container(5000),
                on_host(),
                "port 5000 is not published: publish it (ports: [\"5000:5000\"]), or use {address}",
            ),
            (fixed(UrlPort::Published(3000)), on_host(), "home.example.org 33000"),
            (
                fixed(UrlPort::Published(1)),
                on_host(),
                "port 1 is not published: publish it (ports: [\"1:1\"]), or use {address}",
            ),
            (fixed(UrlPort::Number(3000)), remote(), "home.example.org 3000"),
        ];
        for (url, own, expected) in rows {
            assert_eq!(spelled(endpoint(&url, &web, &own)), expected, "{url:?} from {own:?}");
        }
        let from_container = endpoint(&container(4000), &web, &in_container(&["front"], "front"));
        assert_eq!(from_container, Err(NoAddress::PublishedElsewhere { port: 4000, on: ip("127.0.0.1") }));
    }

    #[test]
    fn each_probe_has_its_way() {
        let web = place(&["front=172.20.0.5"], "front", &["443>0.0.0.0>8443"]);
        let http = |https| {
            let url = UrlTemplate { https, host: UrlHost::Container, port: None, path: "/".to_owned() };
            Probe::Http(HttpProbe {
                url,
                method: HttpMethod::Get,
                headers: Vec::new(),
                redirects: 0,
                expect: HttpExpect::default(),
                trust: Trust::default(),
            })
        };
        let port = |port| Ok(Way::Port(Endpoint { host: "172.20.0.5".to_owned(), port }));
        assert_eq!([way(&http(false), &web, &on_host()), way(&http(true), &web, &on_host())], [port(80), port(443)]);
        let ping = Probe::Icmp(UrlHost::Container);
        assert_eq!(way(&ping, &web, &on_host()), Ok(Way::Host("172.20.0.5".to_owned())));
        // A published port leads no ping there.
        assert_eq!(way(&ping, &web, &apart()), Err(NoAddress::NoPing));
        assert_eq!(way(&Probe::Docker, &Place::default(), &apart()), Ok(Way::Direct));
    }
}
