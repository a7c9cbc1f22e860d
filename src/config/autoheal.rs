//! autoheal's environment, so that replacing its image is the whole migration. Whatever else names the same setting beats it:
//! the file, and a container's own labels.
//!
//! Only what would make Iaso watch other containers, or another engine, than were meant is a mistake that refuses the start.
//! Any other value that cannot be read is told and left out: a leftover of another tool must not keep a host unhealed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::decode::{self, Table};
use super::host_tls;
use super::mistake::{Level, Mistake, Mistakes, shown};
use super::secret::Secret;
use super::validated::{AutohealLabel, Config, HostAddress, Inherited, Message, Reporter};
use super::values::{self, Read};

/// The label that autoheal looks at when its environment names no other.
pub(super) const LABEL: &str = "autoheal";

const CONTAINER_LABEL: &str = "AUTOHEAL_CONTAINER_LABEL";
const INTERVAL: &str = "AUTOHEAL_INTERVAL";
const START_PERIOD: &str = "AUTOHEAL_START_PERIOD";
const STOP_TIMEOUT: &str = "AUTOHEAL_DEFAULT_STOP_TIMEOUT";
const ONLY_RUNNING: &str = "AUTOHEAL_ONLY_MONITOR_RUNNING";
const TIMEOUT: &str = "CURL_TIMEOUT";
const SOCKET: &str = "DOCKER_SOCK";
const WEBHOOK: &str = "WEBHOOK_URL";
const WEBHOOK_KEY: &str = "WEBHOOK_JSON_KEY";
const APPRISE: &str = "APPRISE_URL";
const SCRIPT: &str = "POST_RESTART_SCRIPT";

/// Where autoheal has the certificates for `tcps://`.
const CERTIFICATES: &str = "/certs";
/// How long telling somebody may take when `CURL_TIMEOUT` says nothing.
const USUAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The keys of a webhook's text when `WEBHOOK_JSON_KEY` names none: that of autoheal's script, and that of its image. Each
/// kind of receiver looks for one and passes over the other.
const USUAL_KEYS: [&str; 2] = ["text", "content"];

/// Looks up a variable of the environment that is not empty.
type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The engine that `DOCKER_SOCK` names; none when it is not set.
///
/// # Errors
/// When it names none that Iaso can reach: healing another engine would be worse than healing none.
pub(super) fn engine(env: Env) -> Result<Option<HostAddress>, Mistakes> {
    env(SOCKET).map(|text| address(&text, Path::new(CERTIFICATES))).transpose()
}

fn address(text: &str, certificates: &Path) -> Result<HostAddress, Mistakes> {
    // The variable may hold a user name and password.
    let wrong = |got: &str, expected: &str| Mistakes::of("$DOCKER_SOCK", got.to_owned(), expected);
    if text.starts_with('/') {
        return Ok(HostAddress::Unix(PathBuf::from(text)));
    }
    let over_tls = text.strip_prefix("tcps://");
    let plain = over_tls.map_or_else(|| text.to_owned(), |rest| format!("tcp://{rest}"));
    let address = values::host_address(&plain).map_err(|_| {
        wrong("another address", "/PATH/TO/SOCKET, unix:///PATH/TO/SOCKET, tcp://HOST:PORT or tcps://HOST:PORT")
    })?;
    match address {
        HostAddress::Tcp(address) if over_tls.is_some() => {
            let [ca, cert, key] =
                ["ca.pem", "client-cert.pem", "client-key.pem"].map(|name| Some(certificates.join(name)));
            let tls = host_tls::read(&host_tls::Files { ca, cert, key });
            let tls = tls.map_err(|host_tls::Wrong { got, expected, .. }| wrong(&got, expected))?;
            Ok(HostAddress::Tls { address, tls })
        }
        address => Ok(address),
    }
}

/// Adds to a configuration what the environment says and `file` does not, and how each variable was understood. Returns a
/// warning for each that has no effect although one was meant.
///
/// # Errors
/// When it names no label: other containers than those that were meant would be watched.
pub(super) fn inherit(config: &mut Config, file: &Table, env: Env) -> Result<Vec<Mistake>, Mistakes> {
    let mut heir = Heir { config, file, env, useless: Vec::new() };
    heir.containers()?;
    heir.engine_address();
    heir.start_period();
    heir.stop_timeout();
    heir.reporters();
    heir.unneeded();
    Ok(heir.useless)
}

struct Heir<'c> {
    config: &'c mut Config,
    file: &'c Table<'c>,
    env: Env<'c>,
    useless: Vec<Mistake>,
}

impl Heir<'_> {
    fn says(&self, section: &str, key: &str) -> bool {
        decode::table(self.file, section).is_some_and(|table| table.contains_key(key))
    }

    fn note(&mut self, variable: &'static str, meaning: impl Into<String>) {
        self.config.inherited.push(Inherited { variable, meaning: meaning.into() });
    }

    fn useless(&mut self, variable: &'static str, got: &str, expected: &str) {
        self.note(variable, got);
        let found = Mistake::of(&format!("${variable}"), got.to_owned(), expected);
        self.useless.push(Mistake { level: Level::Warning, ..found });
    }

    /// A variable's value, where it can be read.
    fn value<T>(&mut self, variable: &'static str, read: impl FnOnce(&str) -> Read<T>) -> Option<T> {
        let text = (self.env)(variable)?;
        let value = read(text.trim());
        value.map_err(|expected| self.useless(variable, "left out, for it cannot be read", &expected)).ok()
    }

    fn containers(&mut self) -> Result<(), Mistakes> {
        let Some(label) = (self.env)(CONTAINER_LABEL) else { return Ok(()) };
        let label = label.trim();
        if label.is_empty() || label.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
            let expected = "a label's name without its value, such as \"autoheal\", or \"all\"";
            return Err(Mistakes::of("$AUTOHEAL_CONTAINER_LABEL", format!("found {}", shown(label)), expected));
        }
        if self.says("discovery", "labels") || !self.config.discovery.enabled {
            self.note(CONTAINER_LABEL, "overruled by [discovery]");
            return Ok(());
        }
        if label == LABEL {
            self.note(CONTAINER_LABEL, "containers labelled autoheal=true are watched, as without it");
            return Ok(());
        }
        self.config.discovery.labels.retain(|known| known.key != LABEL);
        if label == "all" {
            self.config.discovery.autoheal = Some(AutohealLabel::All);
            self.note(
                CONTAINER_LABEL,
                "every container is watched, except those labelled autoheal=false or iaso.enable=false",
            );
        } else {
            self.config.discovery.autoheal = Some(AutohealLabel::Named(label.to_owned()));
            self.note(
                CONTAINER_LABEL,
                format!("containers with the label {} of the value true are watched", shown(label)),
            );
        }
        Ok(())
    }

    fn engine_address(&mut self) {
        if (self.env)(SOCKET).is_none() {
            return;
        }
        if decode::table(self.file, "hosts").is_some_and(|hosts| !hosts.is_empty()) {
            self.note(SOCKET, "overruled by [hosts]");
        } else if (self.env)("DOCKER_HOST").is_some() {
            self.note(SOCKET, "the engine that is watched; it beats DOCKER_HOST, as with autoheal");
        } else {
            self.note(SOCKET, "the engine that is watched");
        }
    }

    fn start_period(&mut self) {
        let Some(period) = self.value(START_PERIOD, |text| seconds(text, 0, 86_400)) else { return };
        if self.says("recovery", "quiet_start") {
            self.note(START_PERIOD, "overruled by [recovery] quiet_start");
            return;
        }
        let fleet = &mut self.config.fleet;
        fleet.quiet_start_healthcheck = period;
        fleet.quiet_start = fleet.quiet_start.max(period);
        self.note(START_PERIOD, format!("nothing unhealthy is restarted for {period:?} after this start"));
    }

    fn stop_timeout(&mut self) {
        let Some(timeout) = self.value(STOP_TIMEOUT, |text| seconds(text, 0, 3600)) else { return };
        if self.config.defaults.recovery.spec.stop_timeout.is_some() {
            self.note(STOP_TIMEOUT, "overruled by [defaults.recovery] stop_timeout");
            return;
        }
        for service in self.config.services.values_mut().map(Arc::make_mut) {
            service.recovery.spec.stop_timeout.get_or_insert(timeout);
            service.careful.least_grace = service.careful.least_grace.max(timeout);
        }
        self.config.defaults.recovery.spec.stop_timeout.get_or_insert(timeout);
        self.note(STOP_TIMEOUT, format!("containers get {timeout:?} to stop, where no label says otherwise"));
    }

    fn reporters(&mut self) {
        let timeout = self.value(TIMEOUT, |text| {
            let positive = |seconds: &f64| (0.001..=3600.0).contains(seconds);
            let seconds = text.parse().ok().filter(positive).ok_or("seconds from 0.001 to 3600")?;
            Ok(Duration::from_secs_f64(seconds))
        });
        let key = (self.env)(WEBHOOK_KEY);
        let keys = key.as_ref().map_or(USUAL_KEYS.map(str::to_owned).into(), |key| vec![key.clone()]);
        let mut told = false;
        for (variable, name, message) in
            [(WEBHOOK, "webhook", Message::Text { keys }), (APPRISE, "apprise", Message::Apprise)]
        {
            let Some(url) = self.value(variable, receiver) else { continue };
            told = true;
            let timeout = timeout.unwrap_or(USUAL_TIMEOUT);
            self.config.reporters.push(Reporter { name: name.to_owned(), message, url, timeout });
            self.note(variable, "told of every restart, and of every one that failed");
        }
        if let Some(timeout) = timeout {
            let meaning =
                format!("telling somebody may take {timeout:?}; calls to the engine have limits of their own");
            self.note(TIMEOUT, if told { meaning } else { "not needed: nobody is to be told".to_owned() });
        }
        if key.is_some() {
            self.note(WEBHOOK_KEY, if told { "the webhook's text stands under it" } else { "not needed" });
        }
    }

    fn unneeded(&mut self) {
        if (self.env)(INTERVAL).is_some() {
            self.note(INTERVAL, "not needed: Iaso hears of an unhealthy container at once");
        }
        if (self.env)(ONLY_RUNNING).is_some() {
            self.note(ONLY_RUNNING, "not needed: what is paused or stopped is left alone in any case");
        }
        if (self.env)(SCRIPT).is_some() {
            let got = "not run, for the image holds no shell and no script";
            self.useless(SCRIPT, got, "WEBHOOK_URL, to call what shall happen after a restart");
        }
    }
}

fn seconds(text: &str, min: u64, max: u64) -> Read<Duration> {
    let read = text.parse().ok().filter(|seconds| (min..=max).contains(seconds));
    read.map(Duration::from_secs).ok_or_else(|| format!("a whole number of seconds from {min} to {max}"))
}

fn receiver(text: &str) -> Read<Secret> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(|_| Secret::new(text)).ok_or_else(|| "a URL that begins with http:// or https://".to_owned())
}

#[cfg(test)]
mod tests {
    use iaso_policy::spec::Step;

    use super::*;
    use crate::config::texts::Text;
    use crate::config::watch::{Labels, Verdict, judge};

    /// The configuration of this file in this environment, and what it warns of.
    fn warned(file: &str, env: &[(&str, &str)]) -> (Result<Config, Mistakes>, Vec<String>) {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (config, warnings) = crate::config::judge(vec![Text::memory("iaso.toml", file)], Vec::new(), &env);
        (config, warnings.iter().map(ToString::to_string).collect())
    }

    fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, Mistakes> {
        warned(file, env).0
    }

    fn config(env: &[(&str, &str)]) -> Config {
        load("", env).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// What is said of a variable.
    fn said(config: &Config, variable: &str) -> String {
        let found = config.inherited.iter().find(|known| known.variable == variable);
        found.map(|known| known.meaning.clone()).unwrap_or_else(|| panic!("{variable} is not said"))
    }

    /// Whether a container of these labels is watched; and if so, whether its exits are healed.
    fn watches(config: &Config, labels: &[(&str, &str)]) -> Option<bool> {
        let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        match judge(config, "local", "web", "example/web", &labels) {
            Verdict::Watched(watched) => Some(watched.service.heal_exits),
            Verdict::Disabled | Verdict::Unwatched(_) => None,
        }
    }

    #[test]
    fn without_it_nothing_is_said_and_nothing_changes() {
        assert_eq!(config(&[]), load("", &[("HOME", "/root")]).unwrap());
        assert!(config(&[]).inherited.is_empty() && config(&[]).reporters.is_empty());
    }

    #[test]
    fn a_label_of_any_name_keeps_autoheal_s_meaning() {
        let config = config(&[(CONTAINER_LABEL, "autoheal-app")]);
        for yes in ["true", "True", " TRUE "] {
            assert_eq!(watches(&config, &[("autoheal-app", yes)]), Some(false), "{yes}");
        }
        assert_eq!(watches(&config, &[("autoheal-app", "1")]), None);
        assert_eq!(watches(&config, &[("autoheal", "true")]), None, "another autoheal's container");
        assert_eq!(watches(&config, &[("autoheal-app", "true"), ("autoheal", "FALSE")]), None);
        assert_eq!(watches(&config, &[("iaso.enable", "true")]), Some(true));
        assert_eq!(
            said(&config, CONTAINER_LABEL),
            "containers with the label \"autoheal-app\" of the value true are watched"
        );
        let usual = self::config(&[(CONTAINER_LABEL, "autoheal")]);
        assert_eq!(watches(&usual, &[("autoheal", "true")]), Some(false));
    }

    #[test]
    fn all_is_every_container_but_those_that_say_no() {
        let config = config(&[(CONTAINER_LABEL, "all")]);
        assert_eq!(watches(&config, &[]), Some(false));
        assert_eq!(watches(&config, &[("iaso.enable", "true")]), Some(true));
        assert_eq!(watches(&config, &[("autoheal", "perhaps")]), Some(false));
        for no in ["False", "false", "FALSE", " false", "0", "no", "off"] {
            assert_eq!(watches(&config, &[("autoheal", no)]), None, "autoheal={no}");
            assert_eq!(watches(&config, &[("iaso.enable", no), ("autoheal", "true")]), None, "iaso.enable={no}");
        }
    }

    #[test]
    fn what_would_watch_the_wrong_thing_refuses_the_start() {
        for bad in ["autoheal=true", "two words", " "] {
            let told = load("", &[(CONTAINER_LABEL, bad)]).unwrap_err().0[0].to_string();
            assert!(told.starts_with("$AUTOHEAL_CONTAINER_LABEL: found ") && told.contains("\"all\""), "{told}");
        }
        for bad in ["docker.sock", "unix://docker.sock", "tcp://name", "http://me:s3cret@host:1", "ssh://host"] {
            let told = load("", &[(SOCKET, bad)]).unwrap_err().0[0].to_string();
            assert!(told.starts_with("$DOCKER_SOCK: ") && !told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn a_leftover_that_cannot_be_read_is_told_and_left_out() {
        let env = [
            (START_PERIOD, "30s"),
            (STOP_TIMEOUT, "-1"),
            (TIMEOUT, "0"),
            (WEBHOOK, "hooks.example.org/s3cret"),
            (APPRISE, "mailto://s3cret@example.org"),
            (SCRIPT, "/restarted.sh"),
            (INTERVAL, "often"),
            (ONLY_RUNNING, "perhaps"),
        ];
        let (config, mut warnings) = warned("", &env);
        let config = config.unwrap();
        assert_eq!(config.fleet.quiet_start_healthcheck, Duration::ZERO);
        assert_eq!(config.defaults.recovery.spec.stop_timeout, None);
        assert!(config.reporters.is_empty());
        assert_eq!(config.inherited.len(), env.len(), "{:?}", config.inherited);
        warnings.sort();
        let about: Vec<&str> = warnings.iter().map(|told| told.split(':').next().unwrap()).collect();
        let useless = [APPRISE, START_PERIOD, STOP_TIMEOUT, TIMEOUT, WEBHOOK, SCRIPT].map(|name| format!("${name}"));
        assert!(useless.iter().all(|name| about.contains(&&**name)) && about.len() == useless.len(), "{warnings:?}");
        let expected = "$AUTOHEAL_DEFAULT_STOP_TIMEOUT: left out, for it cannot be read; expected a whole number of seconds \
                        from 0 to 3600";
        assert!(warnings.iter().any(|told| told == expected), "{warnings:?}");
        assert!(!format!("{config:?} {warnings:?}").contains("s3cret"));
    }

    #[test]
    fn the_start_period_quiets_healthchecks_and_shortens_nothing() {
        let config = config(&[(START_PERIOD, "10")]);
        let secs = Duration::from_secs;
        assert_eq!((config.fleet.quiet_start_healthcheck, config.fleet.quiet_start), (secs(10), secs(30)));
        assert_eq!(self::config(&[(START_PERIOD, "300")]).fleet.quiet_start, secs(300));
    }

    #[test]
    fn the_stop_timeout_is_what_no_file_and_no_label_says_otherwise() {
        let file =
            "[services.web]\ncontainer = \"web\"\n[services.db]\ncontainer = \"db\"\nrecovery.stop_timeout = \"90s\"\n";
        let config = load(file, &[(STOP_TIMEOUT, "45")]).unwrap();
        let of = |name: &str| config.services[name].recovery.spec.stop_timeout.map(|timeout| timeout.as_secs());
        assert_eq!((of("web"), of("db")), (Some(45), Some(90)));
        let labelled = |labels: &[(&str, &str)]| {
            let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            match judge(&config, "local", "app", "example/app", &labels) {
                Verdict::Watched(watched) => watched.service.recovery.spec.clone(),
                other => panic!("{other:?}"),
            }
        };
        let spec = labelled(&[(LABEL, "true")]);
        assert_eq!((spec.stop_timeout, &spec.ladder[..]), (Some(Duration::from_secs(45)), &[Step::Restart][..]));
        let own = labelled(&[(LABEL, "true"), ("autoheal.stop.timeout", "60")]);
        assert_eq!(own.stop_timeout, Some(Duration::from_secs(60)));
    }

    #[test]
    fn the_file_beats_it() {
        let file = "[hosts.far]\nurl = \"tcp://far:2375\"\n[discovery]\nlabels = [\"app=x\"]\n\
                    [recovery]\nquiet_start = \"5s\"\n[defaults.recovery]\nstop_timeout = \"7s\"\n";
        let env = [(SOCKET, "/x.sock"), (CONTAINER_LABEL, "all"), (START_PERIOD, "60"), (STOP_TIMEOUT, "60")];
        let config = load(file, &env).unwrap();
        let bare = Config { inherited: Vec::new(), ..config.clone() };
        assert_eq!(bare, load(file, &[]).unwrap());
        for (variable, _) in env {
            assert!(said(&config, variable).starts_with("overruled by ["), "{variable}");
        }
        assert!(load(file, &[(SOCKET, "rubbish")]).is_ok(), "nobody needs it");
        let off = load("[discovery]\nenabled = false\n", &[(CONTAINER_LABEL, "all")]).unwrap();
        assert_eq!(watches(&off, &[]), None);
    }

    #[test]
    fn the_engine_is_a_path_or_an_address_and_beats_docker_host() {
        let address = |text: &str| config(&[(SOCKET, text), ("DOCKER_HOST", "tcp://other:1")]).hosts[0].address.clone();
        for socket in ["/run/d.sock", "unix:///run/d.sock"] {
            assert_eq!(address(socket), HostAddress::Unix("/run/d.sock".into()));
        }
        assert_eq!(address("tcp://proxy:2375"), HostAddress::Tcp("proxy:2375".to_owned()));
    }

    #[test]
    fn an_engine_over_tls_has_its_certificates_where_autoheal_had_them() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["engine".to_owned()]).unwrap();
        for (name, pem) in [
            ("ca.pem", made.cert.pem()),
            ("client-cert.pem", made.cert.pem()),
            ("client-key.pem", made.signing_key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), pem).unwrap();
        }
        let HostAddress::Tls { address: at, tls } = address("tcps://engine:2376", folder.path()).unwrap() else {
            panic!()
        };
        assert_eq!(
            (&*at, tls.authorities.map(|all| all.len()), tls.identity.is_some()),
            ("engine:2376", Some(1), true)
        );
        std::fs::remove_file(folder.path().join("client-key.pem")).unwrap();
        let told = address("tcps://engine:2376", folder.path()).unwrap_err().0[0].to_string();
        assert!(told.starts_with("$DOCKER_SOCK: ") && told.contains("client-key.pem"), "{told}");
        let missing = load("", &[(SOCKET, "tcps://engine:2376")]).unwrap_err().0[0].to_string();
        assert!(missing.contains("/certs/ca.pem"), "{missing}");
    }

    #[test]
    fn reporters_have_url_keys_and_time() {
        let url = "https://hooks.example.org/s3cret";
        let config = config(&[(WEBHOOK, url), (APPRISE, "http://apprise:8000/notify/s3cret"), (TIMEOUT, "2.5")]);
        let [webhook, apprise] = &config.reporters[..] else { panic!("{:?}", config.reporters) };
        assert_eq!((&*webhook.name, webhook.url.expose()), ("webhook", url));
        assert_eq!(webhook.message, Message::Text { keys: vec!["text".into(), "content".into()] });
        assert_eq!((&*apprise.name, &apprise.message), ("apprise", &Message::Apprise));
        assert_eq!(webhook.timeout, Duration::from_millis(2500));
        assert!(!format!("{config:?}").contains("s3cret"));
        let keyed = self::config(&[(WEBHOOK, url), (WEBHOOK_KEY, "my \"key\"")]);
        assert_eq!(keyed.reporters[0].message, Message::Text { keys: vec!["my \"key\"".into()] });
        assert_eq!(keyed.reporters[0].timeout, USUAL_TIMEOUT);
    }
}
