//! Two hosts: the second is a dockerd of the test's own behind TLS and a cable, or something that only looks like an engine.

use std::fs;
use std::time::Duration;

use iaso::system::clock::stopwatch;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::authority::{Authority, Valid};
use crate::cable::Cable;
use crate::daemon::{Daemon, Home, Settings};
use crate::front::Front;
use crate::own_dockerd::OwnDockerd;
use crate::site::{Events, Site, clock};
use crate::support::{Need, test};
use crate::{scratch, until, wait};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident: $needs:expr),+ $(,)?) => {
            vec![$(test(concat!("hosts::", stringify!($name)), &$needs, || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_second_host_is_healed_and_its_loss_is_one_incident: [Need::OwnEngine, Need::Engine, Need::Program("ip")],
        what_is_wrong_with_a_remote_engine_is_told_in_words: [Need::Engine],
    ]
}

const NONE: &str = "--network=none";

/// A loss is told soon, and its end too; the one here that falls again and again is healed each time.
const SOON: &str = "[recovery]\nhost_lost_after = \"1s\"\nhost_budget = { max = 100, window = \"10m\" }\n";
const OFTEN: &str = "stop_timeout = \"1s\"\nverify_stable = \"1s\"\nverify_timeout = \"60s\"\nmax_restarts = 100\n\
                     backoff = { base = \"100ms\", factor = 1.0, max = \"100ms\", jitter = 0.0, reset_after = \"10m\" }\n";

/// Another machine with an engine. Its parts end in this order.
struct Nas {
    site: Site,
    dockerd: OwnDockerd,
    cable: Cable,
    /// Certificates, and whose they are.
    dir: TempDir,
}

impl Nas {
    /// With an engine that speaks to whom its authority knows. Its containers carry the label of `site`.
    fn start(site: &Site) -> Self {
        let (dir, cable, authority) = (scratch(), Cable::lay(), Authority::new("the engine's"));
        let server = authority.server(&[&cable.there.to_string()], Valid::Now);
        let own = authority.client(Valid::Now);
        for (name, content) in [
            ("ca.pem", &authority.pem),
            ("server.pem", &server.cert),
            ("server-key.pem", &server.key),
            ("cert.pem", &own.cert),
            ("key.pem", &own.key),
        ] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let file = |name: &str| dir.path().join(name).display().to_string();
        let dockerd = wait(OwnDockerd::within(
            cable.network(),
            vec![
                format!("--host=tcp://{}:2376", cable.there),
                "--tlsverify".to_owned(),
                format!("--tlscacert={}", file("ca.pem")),
                format!("--tlscert={}", file("server.pem")),
                format!("--tlskey={}", file("server-key.pem")),
            ],
        ));
        let mut own = Site::own(&dockerd.socket());
        own.run.clone_from(&site.run);
        Self { site: own, dockerd, cable, dir }
    }

    /// As Iaso is told of it.
    fn section(&self) -> String {
        let files = ["ca", "cert", "key"]
            .map(|name| format!("{name}_file = {:?}\n", self.dir.path().join(name).with_extension("pem")));
        format!("[hosts.nas]\nurl = \"tcp://{}:2376\"\n{}", self.cable.there, files.concat())
    }

    /// The engine stands still until that is dropped.
    fn freeze(&self) -> Frozen<'_> {
        self.dockerd.send(Signal::STOP);
        Frozen(&self.dockerd)
    }
}

struct Frozen<'d>(&'d OwnDockerd);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.send(Signal::CONT);
    }
}

/// A daemon over the machine's engine, on which one container falls again and again, and over another host.
struct Two<'s> {
    daemon: Daemon,
    site: &'s Site,
    events: &'s Events<'s>,
    /// The container that falls.
    near: String,
    /// The other host's name.
    other: &'static str,
    /// A service on it.
    far: String,
    /// How often it was lost.
    losses: usize,
}

impl Two<'_> {
    /// The other host, as `/health` tells it.
    fn component(&self) -> Value {
        self.daemon.whole_health()["components"][format!("docker/{}", self.other)].clone()
    }

    fn lines(&self, event: &str) -> Vec<Value> {
        self.daemon.lines().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Lines about the other host with this message.
    fn lines_of(&self, message: &str) -> Vec<Value> {
        let wanted = |line: &Value| line["host"] == self.other && line["message"] == message;
        self.daemon.lines().into_iter().filter(wanted).collect()
    }

    /// The one here falls and is healed; how long it was down, by its engine's clock.
    fn near_is_healed(&self) -> Duration {
        let healed = |line: &&Value| {
            line["service"] == *self.near && line["event"] == "operation_ended" && line["reason"] == "healed"
        };
        let heals = || self.daemon.lines().iter().filter(healed).count();
        let (before, starts) = (heals(), self.events.count(&self.near, "start"));
        self.site.ask(&self.near, "/exit?code=3");
        until("the one here is healed", || (heals() > before).then_some(()));
        until("its start is told", || (self.events.count(&self.near, "start") > starts).then_some(()));
        let last = |action: &str| {
            let all = self.events.timed();
            all.into_iter().rfind(|event| event.name == self.near && event.action == action).unwrap().nanos
        };
        Duration::from_nanos(u64::try_from(last("start") - last("die")).unwrap())
    }

    /// The other host is told as lost, with these words, and nothing else is.
    fn is_lost(&mut self, words: &[&str]) {
        self.losses += 1;
        let told = until("/health tells it", || {
            let told = self.component();
            let message = told["message"].as_str().unwrap_or_default().to_owned();
            (told["status"] == "unhealthy" && message.contains("the host is lost")).then_some(message)
        });
        assert!(words.iter().any(|words| told.contains(words)), "{told}");
        self.daemon.until_health(&self.far, "unknown");
        // Meanwhile all is as ever here.
        self.near_is_healed();
        let (code, health) = self.daemon.health();
        assert_eq!((code, &health["status"]), (200, &"degraded".into()), "{health}");
        assert_eq!(health["components"]["docker/local"]["status"], "healthy");
        assert_eq!(self.component()["status"], "unhealthy", "it is away still");
        assert_eq!(self.lines("host_lost").len(), self.losses);
        let losses = self.daemon.metric("iaso_host_losses_total", &[("host", self.other)]);
        assert_eq!(losses, Some(f64::from(u32::try_from(self.losses).unwrap())));
        self.daemon.until_explained(&self.far, &["in an unknown state", "the host is lost, incident"]);
    }

    /// It is back, and that is told once it has held.
    fn is_back(&self) {
        until("/health tells it", || (self.component()["status"] == "healthy").then_some(()));
        until("its incident is over", || (self.lines("host_back").len() == self.losses).then_some(()));
        let (lost, back) = (self.lines("host_lost"), self.lines("host_back"));
        let incident = |lines: &[Value]| lines.last().unwrap()["incident"].clone();
        assert_eq!(incident(&lost), incident(&back));
        assert_eq!((&lost[0]["host"], &lost[0]["reason"]), (&self.other.into(), &"host_down".into()));
        assert_eq!(self.daemon.metric("iaso_law_violations_total", &[]), None);
    }

    fn attempts(&self, service: &str) -> usize {
        self.daemon.attempts().iter().filter(|attempt| attempt["service"] == *service).count()
    }
}

fn a_second_host_is_healed_and_its_loss_is_one_incident() {
    let site = Site::shared();
    let mut nas = Nas::start(&site);
    let settings = Settings { more: format!("{}{SOON}", nas.section()), recovery: OFTEN, ..Settings::default() };
    let home = Home::new(&site, &settings);
    let events = site.events();
    let daemon = home.start(&[]);
    let near = site.patient("near", &[NONE], &[]);
    let web = nas.site.patient("web", &[NONE], &[]);
    let starts = nas.site.patient("starts", &[NONE, "--label=iaso.after_gap=start"], &[]);
    let always = nas.site.patient("always", &[NONE, "--restart=always"], &[]);
    let stopped = nas.site.patient("stopped", &[NONE, "--label=iaso.after_gap=start"], &[]);
    let far = |name: &str| format!("nas.{name}");
    daemon.until_health(&near, "healthy");
    for name in [&web, &starts, &always, &stopped] {
        daemon.until_health(&far(name), "healthy");
    }
    nas.site.docker(&["stop", "-t", "1", &stopped]);
    daemon.until_event(&far(&stopped), "operator_stopped", None);
    let since_stop = stopwatch();
    let status = home.iaso(&["status"]).out;
    assert!(status.lines().next().unwrap().contains("HOST"), "{status}");
    let mut two = Two { daemon, site: &site, events: &events, near, other: "nas", far: far(&web), losses: 0 };

    // It is healed over there as here.
    nas.site.ask(&web, "/exit?code=3");
    two.daemon.until_event(&far(&web), "incident_closed", Some("healed"));
    two.daemon.until_health(&far(&web), "healthy");
    let life = |nas: &Nas| nas.site.inspect(&web, ".State.StartedAt");
    let lived = life(&nas);
    let before = (0..3).map(|_| two.near_is_healed()).max().unwrap();

    // Frozen: whoever asks it anything waits, and that is nobody here.
    let frozen = nas.freeze();
    let meanwhile = (0..3).map(|_| two.near_is_healed()).min().unwrap();
    assert!(meanwhile < before + Duration::from_secs(2), "down for {meanwhile:?} at least, {before:?} before at most");
    two.is_lost(&["no connection within", "did not answer within"]);
    drop(frozen);
    two.is_back();
    two.daemon.until_health(&far(&web), "healthy");

    // Cut off: nothing comes back.
    nas.cable.cut();
    two.is_lost(&["no connection within", "does not answer", "did not answer within"]);
    nas.cable.mend();
    two.is_back();
    two.daemon.until_health(&far(&web), "healthy");
    assert_eq!((life(&nas), two.attempts(&far(&web))), (lived, 1), "nobody touched it");

    // Killed. What a person stopped before may not be taken for a part of that.
    until("the stop is long ago", || (since_stop() > Duration::from_secs(61)).then_some(()));
    nas.dockerd.send(Signal::KILL);
    wait(nas.dockerd.stopped());
    two.is_lost(&["not running"]);
    wait(nas.dockerd.start_again());
    two.is_back();
    comes_back(&two, &nas, [&web, &starts, &always, &stopped], 1);

    // Its machine is started anew: first everything on it is stopped in order.
    nas.site.docker(&["start", &web]);
    two.daemon.until_health(&far(&web), "healthy");
    wait(nas.dockerd.stop());
    two.is_lost(&["not running"]);
    wait(nas.dockerd.start_again());
    two.is_back();
    comes_back(&two, &nas, [&web, &starts, &always, &stopped], 2);
    assert!(two.daemon.count(&far(&web), "operator_stopped") <= 1, "and that one was taken back");
    two.daemon.stop();
}

/// After an end of the engine, which was not a person's doing: each follows its own rule.
fn comes_back(two: &Two<'_>, nas: &Nas, [web, starts, always, stopped]: [&String; 4], ends: usize) {
    let far = |name: &str| format!("nas.{name}");
    two.daemon.until_health(&far(starts), "healthy");
    two.daemon.until_health(&far(always), "healthy");
    // It heeded the engine's signal and exited with 0, seen or not: either way it is left.
    until("it is left", || {
        let said = two.daemon.explain(&far(web));
        ["(unknown_stop", "(completed"].iter().any(|reason| said.contains(reason)).then_some(())
    });
    two.daemon.until_explained(&far(stopped), &["operator_stopped"]);
    assert!(nas.site.runs(starts) && nas.site.runs(always) && !nas.site.runs(web) && !nas.site.runs(stopped));
    let attempts = [web, starts, always, stopped].map(|name| two.attempts(&far(name)));
    assert_eq!(attempts, [1, ends, 0, 0]);
}

fn what_is_wrong_with_a_remote_engine_is_told_in_words() {
    let (site, front, dir) = (Site::shared(), Front::new(), scratch());
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, &front.authority.pem).unwrap();
    let [near, away] = ["near", "away"].map(|short| site.name(short));
    // Both hosts have the same engine behind them: each watches its own container alone.
    let more = format!(
        "[hosts.far]\nurl = \"https://{}\"\nca_file = {ca:?}\n{SOON}[services.{near}]\nhost = \"local\"\ncontainer = \"{near}\"\n\
         [services.{away}]\nhost = \"far\"\ncontainer = \"{away}\"\n",
        front.address,
    );
    let settings = Settings { more, recovery: OFTEN, discovery: false, ..Settings::default() };
    let home = Home::new(&site, &settings);
    let events = site.events();
    for short in ["near", "away"] {
        site.patient(short, &[NONE], &[]);
    }
    let place = front.address.to_string();
    // It ends while connections stand.
    front.answer(Valid::Until(clock() + Duration::from_secs(20)), Duration::ZERO);
    let daemon = home.start(&[]);
    let far = format!("far.{away}");
    daemon.until_health(&far, "healthy");
    let mut two = Two { daemon, site: &site, events: &events, near, other: "far", far: far.clone(), losses: 0 };
    until_wrong(&mut two, &front, &[&place, "its certificate", "has expired: it was valid until"]);
    front.answer(Valid::Now, Duration::ZERO);
    two.is_back();

    front.fall_silent();
    until_wrong(&mut two, &front, &[&place, "no connection within 4s"]);
    // At the next connection.
    front.answer(Valid::NoMore, Duration::ZERO);
    until("/health tells it", || told(&two).contains("valid until 2001-01-01").then_some(()));
    front.answer(Valid::Now, Duration::ZERO);
    two.is_back();

    // Slow, and yet in time: it is used, and what falls behind it is healed.
    let connected = || two.lines_of("engine connected").len();
    let before = connected();
    front.answer(Valid::Now, Duration::from_secs(1));
    until("the link is made again", || (connected() > before).then_some(()));
    site.ask(&away, "/exit?code=3");
    two.daemon.until_event(&far, "incident_closed", Some("healed"));
    // To make the link anew takes that one longer than a loss does here.
    let settled = || two.lines("host_lost").len() == two.lines("host_back").len();
    until("nothing is lost", || settled().then_some(()));
    two.losses = two.lines("host_lost").len();
    // Too slow.
    front.answer(Valid::Now, Duration::from_secs(8));
    until_wrong(&mut two, &front, &["did not answer within 5s"]);
    front.answer(Valid::Now, Duration::ZERO);
    two.is_back();
    two.daemon.until_health(&far, "healthy");
    two.daemon.stop();
}

fn told(two: &Two<'_>) -> String {
    two.component()["message"].as_str().unwrap_or_default().to_owned()
}

/// All of this is told, in the log too, and it is tried again and again, but not all the time.
fn until_wrong(two: &mut Two<'_>, front: &Front, words: &[&str]) {
    let has_all = |text: &str| words.iter().all(|words| text.contains(words));
    until(&format!("/health tells {words:?}"), || has_all(&told(two)).then_some(()));
    let complains = |line: &Value| has_all(line["error"].as_str().unwrap_or_default());
    until("the log tells it", || two.lines_of("engine not reachable").iter().any(complains).then_some(()));
    two.is_lost(words);
    let (tries, spent) = (front.connections(), stopwatch());
    until("it is tried again", || (front.connections() >= tries + 3).then_some(()));
    let most = 3 + u32::try_from(spent().as_secs()).unwrap();
    assert!(front.connections() - tries <= 2 * most, "{} tries within {:?}", front.connections() - tries, spent());
}
