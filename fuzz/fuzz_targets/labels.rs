//! Law 19: no labels lead beyond their own container. The text's lines are labels, `KEY=VALUE`.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use iaso::config;
use iaso::config::validated::{Config, Peer, Probe, Service, Target, Trust, UrlHost};
use iaso::config::watch::{Labels, Verdict, judge};
use iaso::policy::spec::Step;
use libfuzzer_sys::fuzz_target;

static CONFIG: LazyLock<Config> =
    LazyLock::new(|| config::decode("iaso.toml", "", &|_| None).expect("an empty file is a configuration"));

fuzz_target!(|text: &str| {
    let pair = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut labels: Labels = text.lines().filter_map(pair).collect();
    labels.entry("iaso.enable".to_owned()).or_insert_with(|| "true".to_owned());
    if let Verdict::Watched(watched) = judge(&CONFIG, "local", "web", "postgres", &labels) {
        assert!(is_allowed(&watched.service), "{watched:?}");
    }
});

fn is_allowed(service: &Service) -> bool {
    let own = |peer: &Peer| peer.host == UrlHost::Container;
    let no_file = |trust: &Trust| trust.roots.is_empty();
    let steps = service.recovery.spec.ladder.iter().all(|step| !matches!(step, Step::Exec(_)));
    let checks = service.checks.iter().all(|check| {
        check.interval >= Duration::from_secs(1)
            && match &*check.probe {
                Probe::Http(http) => http.url.host == UrlHost::Container && http.redirects == 0 && no_file(&http.trust),
                Probe::Tcp(tcp) => own(&tcp.peer),
                Probe::Tls(tls) => own(&tls.peer) && no_file(&tls.trust),
                Probe::Dns(dns) => dns.server.as_ref().is_some_and(own),
                Probe::Grpc(grpc) => own(&grpc.peer) && grpc.tls.as_ref().is_none_or(no_file),
                Probe::Icmp(host) => *host == UrlHost::Container,
                Probe::Exec(_) | Probe::Docker | Probe::Heartbeat(_) => true,
                Probe::Command(_) => false,
            }
    });
    steps
        && checks
        && service.recovery.commands.is_empty()
        && service.depends_on.is_empty()
        && service.target == Target::Container("web".to_owned())
}
