//! The one resolver of names: in the process, never by the C library, which may load foreign modules, block a thread for
//! minutes, or crash a static executable.
//!
//! In order: an address is itself; `/etc/hosts`; `localhost`; a `.local` name is refused (multicast is the C library's way);
//! the name servers of `/etc/resolv.conf`. Both files are read again when they change, looked at once a second at most, and
//! only when a name is asked for.

mod question;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use iaso_policy::time::Mono;

pub use self::question::NoAnswer;
use crate::system::clock::Clock;

/// One look-up's whole time, over all name servers and tries.
const TOTAL: Duration = Duration::from_secs(5);
/// One try at one name server.
const TRY: Duration = Duration::from_secs(2);
/// Answers are kept at least this long, so that one probe asks once; and not for much longer than a probe's interval.
const KEPT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Failures are kept this long at most.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// Names kept at most.
const CACHE: u64 = 1024;
/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// Resolves names. Clones share one cache.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    resolv_conf: PathBuf,
    hosts_file: PathBuf,
    /// Held for a look at the files, never across an await.
    files: Mutex<Option<Files>>,
}

/// What the files said when they were last read.
#[derive(Debug, Clone)]
struct Files {
    looked: Mono,
    resolv_stamp: Option<Stamp>,
    hosts_stamp: Option<Stamp>,
    hosts: Arc<Hosts>,
    /// The name servers, or why there are none.
    dns: Result<TokioResolver, String>,
}

/// Tells a file from its next version: device, inode, size, and the times of its content's and its inode's last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64, u64, u64, [i64; 4]);

/// A name that gave no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name {name} does not resolve: {cause}")]
pub struct ResolveError {
    /// The name, as asked for.
    pub name: String,
    /// Why.
    pub cause: Cause,
}

/// Why a name gave no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It cannot be a name.
    #[error("it is not a host name")]
    NotAName,
    /// A multicast name.
    #[error(
        "names under .local are announced by multicast, which Iaso does not use; give the address, or put the name into /etc/hosts"
    )]
    Local,
    /// The name servers say that there is no such name.
    #[error("there is no such name")]
    NoSuchName,
    /// The name exists and has no address.
    #[error("the name has no address")]
    NoAddress,
    /// No answer in time.
    #[error("no name server answered in time")]
    TimedOut,
    /// There are no name servers to ask.
    #[error("{0}")]
    NoServers(String),
    /// The name servers failed.
    #[error("{0}")]
    Failed(String),
}

impl Resolver {
    /// Over `/etc/resolv.conf` and `/etc/hosts`. Reads nothing yet.
    pub fn system(clock: Clock) -> Self {
        Self::over(clock, "/etc/resolv.conf".into(), "/etc/hosts".into())
    }

    /// Over other files of the same form.
    pub fn over(clock: Clock, resolv_conf: PathBuf, hosts_file: PathBuf) -> Self {
        Self { shared: Arc::new(Shared { clock, resolv_conf, hosts_file, files: Mutex::new(None) }) }
    }

    /// The addresses of a name (or of an address in its usual spelling, IPv6 without brackets): at least one, IPv4 first.
    /// Takes 5 s at most.
    ///
    /// # Errors
    /// When there is none; says the name and why.
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        self.lookup_name(name).await.map_err(|cause| ResolveError { name: name.to_owned(), cause })
    }

    async fn lookup_name(&self, text: &str) -> Result<Vec<IpAddr>, Cause> {
        let name = Name::from_str_relaxed(text).map_err(|_| Cause::NotAName)?;
        if text.is_empty() || name.is_root() {
            return Err(Cause::NotAName);
        }
        let (hosts, dns) = self.files();
        let listed = in_hosts(&hosts, &name);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let plain = text.trim_end_matches('.').to_ascii_lowercase();
        if plain == "localhost" || plain.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if plain == "local" || plain.ends_with(".local") {
            return Err(Cause::Local);
        }
        let dns = dns.map_err(Cause::NoServers)?;
        let answer = tokio::time::timeout(TOTAL, dns.lookup_ip(name)).await;
        let mut found: Vec<IpAddr> = match answer {
            Err(_) => return Err(Cause::TimedOut),
            Ok(Err(error)) => return Err(cause_of(&error)),
            Ok(Ok(answer)) => answer.iter().collect(),
        };
        found.sort_by_key(IpAddr::is_ipv6);
        if found.is_empty() { Err(Cause::NoAddress) } else { Ok(found) }
    }

    /// What the files say, read again when they changed.
    fn files(&self) -> (Arc<Hosts>, Result<TokioResolver, String>) {
        let shared = &*self.shared;
        let mut kept = shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        let now = shared.clock.mono();
        let files = match kept.take() {
            Some(files) if now.since(files.looked) < LOOK => files,
            before => shared.look(before, now),
        };
        let answer = (Arc::clone(&files.hosts), files.dns.clone());
        *kept = Some(files);
        answer
    }
}

impl Shared {
    fn look(&self, before: Option<Files>, now: Mono) -> Files {
        // The stamps are taken before reading: a change in between is found at the next look.
        let (resolv_stamp, hosts_stamp) = (stamp(&self.resolv_conf), stamp(&self.hosts_file));
        let (hosts, dns) = match before {
            Some(files) => (
                (files.hosts_stamp == hosts_stamp).then_some(files.hosts),
                (files.resolv_stamp == resolv_stamp).then_some(files.dns),
            ),
            None => (None, None),
        };
        Files {
            looked: now,
            resolv_stamp,
            hosts_stamp,
            hosts: hosts.unwrap_or_else(|| Arc::new(read_hosts(&self.hosts_file))),
            dns: dns.unwrap_or_else(|| read_resolv_conf(&self.resolv_conf)),
        }
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            let addresses: reqwest::dns::Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp(meta.dev(), meta.ino(), meta.size(), [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]))
}

fn read_hosts(path: &Path) -> Hosts {
    let mut hosts = Hosts::default();
    // Without the file, or with lines that make no sense, the rest of it and the name servers still serve.
    if let Ok(file) = std::fs::File::open(path)
        && let Err(error) = hosts.read_hosts_conf(file)
    {
        tracing::warn!(file = %path.display(), %error, "the hosts file cannot be read whole");
    }
    hosts
}

fn in_hosts(hosts: &Hosts, name: &Name) -> Vec<IpAddr> {
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|found| found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
        .collect()
}

fn read_resolv_conf(path: &Path) -> Result<TokioResolver, String> {
    let (config, options) = std::fs::read(path)
        .map_err(NetError::from)
        .and_then(system_conf::parse_resolv_conf)
        .map_err(|error| format!("there are no name servers to ask: {}: {error}", path.display()))?;
    build(config, options).map_err(|error| format!("{} cannot be used: {error}", path.display()))
}

/// Keeps what the file says of servers, search list and `ndots`; times, tries and the cache are Iaso's own.
fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    options.timeout = TRY;
    options.attempts = 2;
    options.cache_size = CACHE;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.positive_min_ttl = Some(KEPT.0);
    options.positive_max_ttl = Some(KEPT.1);
    options.negative_min_ttl = Some(KEPT.0);
    options.negative_max_ttl = Some(FAILURE_KEPT);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

fn cause_of(error: &NetError) -> Cause {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            Cause::NoSuchName
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NoError => {
            Cause::NoAddress
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            Cause::Failed(format!("the name servers answer {}", none.response_code))
        }
        NetError::Timeout => Cause::TimedOut,
        other => Cause::Failed(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
