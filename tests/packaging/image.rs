//! The image, as `packaging/container/build` makes it: who it runs as, behind a socket proxy, and in the place of autoheal.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use iaso::engine::image::pack;
use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::haproxy::{Haproxy, PROGRAM as HAPROXY, documented};
use crate::own_dockerd::OwnDockerd;
use crate::site::Site;
use crate::support::{Need, test};
use crate::{PROGRAM, output, scratch, shipped, until, wait};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident: $needs:expr),+ $(,)?) => {
            vec![$(test(concat!("image::", stringify!($name)), &$needs, || { $name(); Ok(()) })),+]
        };
    }
    suite![
        it_becomes_its_own_user_with_the_socket_s_group_and_heals_behind_a_proxy: [Need::Engine, Need::Root, HAPROXY],
        a_given_user_is_respected: [Need::Engine, Need::Root],
        root_that_cannot_be_given_up_does_not_start: [Need::Engine],
        it_takes_autoheal_s_place_in_its_users_compose_file: [Need::OwnEngine, Need::Program("docker-compose")],
        the_smallest_example_and_the_sidecar_heal_as_they_are:
            [Need::OwnEngine, HAPROXY, Need::Program("docker-compose"), Need::Program("nsenter"), Need::Program("ip")],
        the_whole_stack_comes_up_as_it_is_and_heals_without_its_vault: [
            Need::OwnEngine,
            Need::Program("docker-compose"),
            Need::Program("nsenter"),
            Need::Program("ip"),
            Need::Program("prometheus"),
            Need::Program("prometheus-alertmanager"),
        ],
    ]
}

/// What it is called on every engine of the tests.
fn tag() -> String {
    format!("iaso-test-image-{}:1", std::process::id())
}

/// Builds it on an engine, from local files alone.
fn build(engine: &str, tag: &str) {
    let mut build = Command::new(shipped("packaging/container/build"));
    output(build.args(["--executable", PROGRAM, "--tag", tag]).env("DOCKER_HOST", engine));
}

fn built() -> String {
    static BUILT: LazyLock<()> = LazyLock::new(|| build("unix:///var/run/docker.sock", &tag()));
    LazyLock::force(&BUILT);
    tag()
}

/// Takes the image away again.
pub fn remove() {
    let _ = Command::new("docker").args(["rmi", "-f", &tag()]).output();
}

/// Runs the image with these flags of `docker run`; its name.
fn run(site: &Site, short: &str, flags: &[&str]) -> String {
    let (name, label, image) = (site.name(short), format!("--label={}", site.label()), built());
    site.docker(&[&["run", "-d", "--name", &name, &label][..], flags, &[&image]].concat());
    name
}

/// A line of `/proc/PID/status` of a container's first process.
fn status(site: &Site, name: &str, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", site.inspect(name, ".State.Pid"))).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn logs(site: &Site, name: &str) -> String {
    let output = Command::new("docker").args(["-H", &site.engine, "logs", name]).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A configuration that watches this test's containers alone, to be mounted.
fn configuration(site: &Site, folder: &Path) -> String {
    let text = format!("[discovery]\nlabels = [\"{}\"]\n[defaults.recovery]\nverify_stable = \"1s\"\n", site.label());
    fs::write(folder.join("iaso.toml"), text).unwrap();
    format!("{}:/etc/iaso/iaso.toml:ro", folder.join("iaso.toml").display())
}

/// The flags of `deploy/`: nothing that it does not need.
const STRICT: [&str; 6] = [
    "--read-only",
    "--network=none",
    "--cap-drop=ALL",
    "--cap-add=SETGID",
    "--cap-add=SETUID",
    "--security-opt=no-new-privileges",
];

pub fn is_healthy(site: &Site, name: &str) {
    until(&format!("{name} is healthy"), || {
        let state = site.inspect(name, ".State.Status");
        assert!(state != "exited", "{name} has ended: {}", logs(site, name));
        (site.inspect(name, ".State.Health.Status") == "healthy").then_some(())
    });
}

fn it_becomes_its_own_user_with_the_socket_s_group_and_heals_behind_a_proxy() {
    let (site, folder) = (Site::shared(), scratch());
    let events = site.events();
    // What is allowed is what Iaso asks for, and not a call more.
    let proxy = Haproxy::start(&documented(), Path::new("/var/run/docker.sock"));
    output(Command::new("chgrp").arg("4711").arg(proxy.socket()));
    let (socket, mounted) =
        (format!("{}:/var/run/docker.sock", proxy.socket().display()), configuration(&site, folder.path()));
    let name = run(&site, "iaso", &[&STRICT[..], &["-v", &socket, "-v", &mounted]].concat());
    is_healthy(&site, &name);
    let said = logs(&site, &name);
    assert!(!said.contains("its proxy denies"), "{said}");
    for (field, wanted) in [
        ("Uid:", "65532 65532 65532 65532"),
        ("Gid:", "65532 65532 65532 65532"),
        ("Groups:", "4711"),
        ("CapEff:", "0000000000000000"),
        ("CapPrm:", "0000000000000000"),
    ] {
        assert_eq!(status(&site, &name, field), wanted, "{field} {said}");
    }
    // Nothing of root's is left: what the process opens of itself is its own.
    let process = format!("/proc/{}/fd", site.inspect(&name, ".State.Pid"));
    assert_eq!(output(Command::new("stat").args(["-c", "%u"]).arg(process)), "65532");

    let sick = site.checked_patient("sick", &["--network=none"], &[]);
    until("it is watched", || site.try_docker(&["exec", &name, "/iaso", "explain", &sick]).is_ok().then_some(()));
    site.ask(&sick, "/sick");
    events.come_to(&sick, "restart", 1);
    until("it is told", || logs(&site, &name).contains("\"event\":\"incident_closed\"").then_some(()));
    // Its database is in the volume, and it is not its own patient.
    assert!(site.docker(&["exec", &name, "/iaso", "status"]).contains(&sick));
    events.come_to(&name, "restart", 0);
    site.docker(&["stop", &name]);
    assert_eq!(site.inspect(&name, ".State.ExitCode"), "0", "{}", logs(&site, &name));
    // The proxy lets nothing else through, whoever asks.
    let through = |arguments: &[&str]| {
        let engine = format!("unix://{}", proxy.socket().display());
        Command::new("docker").args(["-H", &engine]).args(arguments).output().unwrap().status.success()
    };
    assert!(through(&["ps"]));
    for denied in [&["rm", "-f", &sick][..], &["create", "--name", &site.name("no"), &built()], &["volume", "ls"]] {
        assert!(!through(denied), "{denied:?}");
    }
}

fn a_given_user_is_respected() {
    let (site, folder) = (Site::shared(), scratch());
    let mounted = configuration(&site, folder.path());
    let group = output(Command::new("stat").args(["-c", "%g", "/var/run/docker.sock"]));
    let (user, socket) = (format!("1234:{group}"), "/var/run/docker.sock:/var/run/docker.sock");
    let flags = ["--network=none", "--cap-drop=ALL", "--user", &user, "-v", socket, "-v", &mounted];
    let name = run(&site, "iaso", &flags);
    is_healthy(&site, &name);
    assert_eq!(status(&site, &name, "Uid:"), "1234 1234 1234 1234");
    assert_eq!(status(&site, &name, "Gid:"), [&*group; 4].join(" "));
    // It keeps its state like any other.
    assert!(!logs(&site, &name).contains("from memory"), "{}", logs(&site, &name));
    assert!(site.docker(&["exec", &name, "/iaso", "status", "--output", "json"]).contains("services"));
    until("it reaches the engine", || logs(&site, &name).contains("engine connected").then_some(()));
}

fn root_that_cannot_be_given_up_does_not_start() {
    let site = Site::shared();
    let name = run(&site, "iaso", &["--network=none", "--cap-drop=ALL"]);
    until("it ends", || (site.inspect(&name, ".State.Status") == "exited").then_some(()));
    let said = logs(&site, &name);
    assert!(said.contains("cannot become user 65532") && said.contains("SETUID and SETGID"), "{said}");
    assert_eq!(site.inspect(&name, ".State.ExitCode"), "77");
    let name = run(&site, "wrong", &["--network=none", "-e", "IASO_RUN_AS=nobody"]);
    until("it ends", || (site.inspect(&name, ".State.Status") == "exited").then_some(()));
    assert!(logs(&site, &name).contains("expected the number of a user"), "{}", logs(&site, &name));
}

/// autoheal's documented example, an application beside it, with its variables and labels; only the image is another.
const COMPOSE: &str = "\
version: '2.4'
services:
  app:
    image: PATIENT
    command: patient
    network_mode: none
    labels:
      autoheal-app: 'true'
      iaso-test.run: RUN

  autoheal:
    image: IASO
    network_mode: none
    restart: always
    environment:
      AUTOHEAL_CONTAINER_LABEL: autoheal-app
      AUTOHEAL_INTERVAL: 5
      AUTOHEAL_START_PERIOD: 0
      AUTOHEAL_DEFAULT_STOP_TIMEOUT: 1
    volumes:
      - /etc/localtime:/etc/localtime:ro
      - SOCKET:/var/run/docker.sock
";

fn it_takes_autoheal_s_place_in_its_users_compose_file() {
    let dockerd = wait(OwnDockerd::start());
    let (site, folder) = (Site::own(&dockerd.socket()), scratch());
    let events = site.events();
    build(&site.engine, &tag());
    let compose = COMPOSE.replace("PATIENT", &site.image("checked")).replace("IASO", &tag()).replace("RUN", &site.run);
    let compose = compose.replace("SOCKET", dockerd.socket().to_str().unwrap());
    fs::write(folder.path().join("docker-compose.yml"), compose).unwrap();
    let project = site.name("compose");
    let mut up = Command::new("docker-compose");
    output(up.args(["-H", &site.engine, "-p", &project, "up", "-d"]).current_dir(folder.path()));
    let (app, healer) = (format!("{project}_app_1"), format!("{project}_autoheal_1"));
    is_healthy(&site, &healer);
    until("it is watched", || {
        site.try_docker(&["exec", &healer, "/iaso", "explain", &format!("{project}-app")]).is_ok().then_some(())
    });
    is_healthy(&site, &app);
    site.ask(&app, "/sick");
    events.come_to(&app, "restart", 1);
    is_healthy(&site, &app);
    assert_eq!(status(&site, &healer, "Uid:"), "65532 65532 65532 65532");
    site.docker(&["rm", "-f", "-v", &healer]);
}

/// A program of Debian's, by the name of its makers' image, on an engine of the test's own.
fn import(engine: &str, name: &str, program: &str, arguments: &[&str]) {
    let packed = pack(Path::new(program)).unwrap();
    let mut import = Command::new("docker");
    import.args(["-H", engine, "import", "--change", &format!("CMD {}", serde_json::to_string(arguments).unwrap())]);
    for change in &packed.changes {
        import.args(["--change", change]);
    }
    let mut child = import.args(["-", name]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&packed.layer).unwrap();
    assert!(child.wait().unwrap().success(), "docker import");
}

/// What is shipped, in a folder of its own. Nothing of it is another but where the engine's socket is.
pub fn examples(dockerd: &OwnDockerd) -> TempDir {
    fn copy(from: &Path, to: &Path, socket: &str) {
        fs::create_dir_all(to).unwrap();
        for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(file.file_name());
            if file.file_type().unwrap().is_dir() {
                copy(&file.path(), &to, socket);
            } else {
                let text = fs::read_to_string(file.path()).unwrap();
                fs::write(to, text.replace("- /var/run/docker.sock:", &format!("- {socket}:"))).unwrap();
            }
        }
    }
    let folder = scratch();
    copy(&shipped("deploy"), folder.path(), dockerd.socket().to_str().unwrap());
    folder
}

/// An engine of the test's own with Iaso's image on it, in whose network ports are published on the loopback.
fn engine_with_iaso() -> (OwnDockerd, Site) {
    let dockerd = wait(OwnDockerd::start());
    let site = Site::own(&dockerd.socket());
    let network = format!("--net={}", dockerd.network().display());
    output(Command::new("nsenter").args([&network, "ip", "link", "set", "lo", "up"]));
    build(&site.engine, &format!("iaso:{}", env!("CARGO_PKG_VERSION")));
    (dockerd, site)
}

fn the_smallest_example_and_the_sidecar_heal_as_they_are() {
    let (dockerd, site) = engine_with_iaso();
    let haproxy = ["-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"];
    import(&site.engine, "haproxy:2.8-alpine", "/usr/sbin/haproxy", &haproxy);
    let folder = examples(&dockerd);
    for example in ["minimal", "sidecar"] {
        let project = site.name(example);
        let compose = |arguments: &[&str]| {
            let mut command = Command::new("docker-compose");
            command.args(["-H", &site.engine, "-f", "compose.yaml", "-p", &project]).args(arguments);
            output(command.current_dir(folder.path().join(example)));
        };
        let events = site.events();
        compose(&["up", "-d"]);
        let healer = format!("{project}_iaso_1");
        is_healthy(&site, &healer);
        let web = site.patient(&format!("web-{example}"), &["--network=none", "--label=iaso.enable=true"], &[]);
        until("it is watched", || {
            assert!(!logs(&site, &healer).contains("denied"), "{}", logs(&site, &healer));
            site.try_docker(&["exec", &healer, "/iaso", "explain", &web]).is_ok().then_some(())
        });
        site.ask(&web, "/exit?code=3");
        events.come_to(&web, "start", 2);
        assert_eq!(status(&site, &healer, "Uid:"), "65532 65532 65532 65532");
        assert_eq!(status(&site, &healer, "CapEff:"), "0000000000000000");
        compose(&["down", "--volumes"]);
    }
}

/// What listens on a port of the loopback in this network says to `GET`.
fn get(network: &Path, port: u16, path: &str) -> Option<Value> {
    let ask = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    let output =
        Command::new("nsenter").arg(format!("--net={}", network.display())).args(["bash", "-c", &ask]).output();
    let answer = String::from_utf8(output.unwrap().stdout).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// All of the large example that Debian has the programs of, which is all but Grafana; its Vault cannot be reached.
fn the_whole_stack_comes_up_as_it_is_and_heals_without_its_vault() {
    let (dockerd, site) = engine_with_iaso();
    let prometheus = ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"];
    import(&site.engine, "prom/prometheus:v2.53.0", "/usr/bin/prometheus", &prometheus);
    let alertmanager = ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"];
    import(&site.engine, "prom/alertmanager:v0.27.0", "/usr/bin/prometheus-alertmanager", &alertmanager);
    let folder = examples(&dockerd);
    let full = folder.path().join("full");
    // As the example's first lines say.
    for file in ["role-id", "secret-id"] {
        output(Command::new("install").args(["-m", "600", "/dev/null", file]).current_dir(&full));
        fs::write(full.join(file), "00000000-0000-0000-0000-000000000000").unwrap();
        output(Command::new("chown").args(["65532", file]).current_dir(&full));
    }
    let (project, events) = (site.name("full"), site.events());
    let compose = |arguments: &[&str]| {
        let mut command = Command::new("docker-compose");
        output(command.args(["-H", &site.engine, "-p", &project]).args(arguments).current_dir(&full));
    };
    compose(&["up", "-d", "iaso", "prometheus", "alertmanager"]);
    let healer = format!("{project}_iaso_1");
    is_healthy(&site, &healer);
    let network = dockerd.network();
    let found = |port: u16, path: &str, pointer: &str, wanted: &str| {
        until(&format!("{path} has {wanted} at {pointer}"), || {
            let found = get(&network, port, path)?.pointer(pointer)?.as_str()?.to_owned();
            found.contains(wanted).then_some(())
        });
    };
    found(9090, "/api/v1/targets", "/data/activeTargets/0/health", "up");
    found(9090, "/api/v1/alertmanagers", "/data/activeAlertmanagers/0/url", "http://alertmanager:9093/");
    let rules = get(&network, 9090, "/api/v1/rules?type=alert").unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap();
    assert!(groups.iter().map(|group| group["rules"].as_array().unwrap().len()).sum::<usize>() > 15, "{rules}");
    found(9797, "/health", "/status", "degraded");
    let health = get(&network, 9797, "/health").unwrap();
    assert_ne!(health["components"]["vault"]["status"], "healthy", "{health}");

    let web = site.patient("web-full", &["--network=none", "--label=iaso.enable=true"], &[]);
    until("it is watched", || site.try_docker(&["exec", &healer, "/iaso", "explain", &web]).is_ok().then_some(()));
    site.ask(&web, "/exit?code=3");
    events.come_to(&web, "start", 2);
    compose(&["down", "--volumes"]);
}
