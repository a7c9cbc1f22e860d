//! What the service manager is told, by its own protocol.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::daemon::{Daemon, Home, PROGRAM, Settings, message};
use crate::site::Site;
use crate::support::{Need, test};
use crate::until;

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("systemd::", stringify!($name)), &[Need::Engine], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        a_socket_with_a_path_hears_its_whole_life,
        an_abstract_socket_hears_its_whole_life,
        a_manager_that_does_not_listen_holds_nothing_up,
        another_process_s_watchdog_is_not_served,
    ]
}

/// A service manager's ear.
struct Ear {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Ear {
    fn new(address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, heard: Vec::new() }
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
    }

    /// Waits for a message, after the first `after` ones; how many there are with it.
    fn until(&mut self, after: usize, wanted: &str) -> usize {
        until(wanted, || {
            self.listen();
            let place = self.heard.iter().skip(after).position(|message| message.starts_with(wanted))?;
            Some(after + place + 1)
        })
    }

    fn count(&self, wanted: &str) -> usize {
        self.heard.iter().filter(|message| *message == wanted).count()
    }
}

fn started(home: &Home, variables: &[(&str, &str)]) -> Daemon {
    let mut command = Command::new(PROGRAM);
    command.envs(variables.iter().copied());
    home.start_by(command, &[])
}

fn a_socket_with_a_path_hears_its_whole_life() {
    let dir = crate::scratch();
    let path = dir.path().join("notify");
    life(&mut Ear::new(&SocketAddr::from_pathname(&path).unwrap()), path.to_str().unwrap());
}

fn an_abstract_socket_hears_its_whole_life() {
    let name = format!("iaso-test-{}", std::process::id());
    life(&mut Ear::new(&SocketAddr::from_abstract_name(&name).unwrap()), &format!("@{name}"));
}

fn life(ear: &mut Ear, socket: &str) {
    let site = Site::shared();
    let home = Home::new(&site, &Settings::default());
    // Two a second: quicker than the heartbeat's own wake-ups.
    let mut daemon = started(&home, &[("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "1000000")]);
    let ready = ear.until(0, "READY=1");
    // Its heart may beat twice before it is ready, on a machine that gives it little time.
    assert!(ear.heard[..ready - 1].iter().all(|message| message == "WATCHDOG=1"), "{:?}", ear.heard);
    let none = ear.until(ready, "STATUS=no services");
    let name = site.patient("web", &["--network=none"], &[]);
    ear.until(none, "STATUS=1 service: 1 healthy");
    let one = ear.until(0, "WATCHDOG=1");
    ear.until(one, "WATCHDOG=1");

    let before = ear.heard.len();
    daemon.send(Signal::HUP);
    let reloading = ear.until(before, "RELOADING=1\nMONOTONIC_USEC=");
    let again = ear.until(reloading, "READY=1");
    fs::write(home.config(), "wrong").unwrap();
    daemon.send(Signal::HUP);
    let reloading = ear.until(again, "RELOADING=1\nMONOTONIC_USEC=");
    let again = ear.until(reloading, "READY=1");
    ear.until(reloading, "STATUS=1 service: 1 healthy; the last configuration was refused, see the log");
    site.docker(&["rm", "-f", &name]);

    daemon.send(Signal::TERM);
    let stopping = ear.until(again, "STOPPING=1");
    assert_eq!(daemon.ended().code(), Some(0), "{}", daemon.text());
    ear.listen();
    assert_eq!((ear.count("READY=1"), ear.count("STOPPING=1")), (3, 1), "{:?}", ear.heard);
    let after = &ear.heard[stopping..];
    assert!(after.iter().all(|message| message.starts_with("WATCHDOG") || message.starts_with("STATUS")), "{after:?}");
}

fn a_manager_that_does_not_listen_holds_nothing_up() {
    let site = Site::shared();
    let dir = crate::scratch();
    let path = dir.path().join("notify");
    let full = UnixDatagram::bind(&path).unwrap();
    let pusher = UnixDatagram::unbound().unwrap();
    pusher.set_nonblocking(true).unwrap();
    while pusher.send_to(b"STATUS=", &path).is_ok() {}
    let home = Home::new(&site, &Settings::default());
    let daemon = started(&home, &[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")]);
    let name = site.patient("web", &["--network=none"], &[]);
    daemon.until_health(&name, "healthy");
    daemon.send(Signal::HUP);
    daemon.until_line("it is reloaded", |line| message(line) == "the configuration is reloaded");
    assert_eq!(daemon.get("/livez").0, 200);
    // Once it listens, it hears what it must.
    full.set_nonblocking(true).unwrap();
    let mut ear = Ear { socket: full, heard: Vec::new() };
    let ready = ear.until(0, "READY=1");
    let reloading = ear.until(ready, "RELOADING=1");
    ear.until(reloading, "READY=1");
    daemon.stop();
}

fn another_process_s_watchdog_is_not_served() {
    let site = Site::shared();
    let dir = crate::scratch();
    let path = dir.path().join("notify");
    let mut ear = Ear::new(&SocketAddr::from_pathname(&path).unwrap());
    let home = Home::new(&site, &Settings::default());
    let socket = path.to_str().unwrap();
    let variables = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "20000"), ("WATCHDOG_PID", "1")];
    let daemon = started(&home, &variables);
    ear.until(0, "READY=1");
    site.patient("web", &["--network=none"], &[]);
    // In the time that this takes there would have been many.
    ear.until(0, "STATUS=1 service: 1 healthy");
    daemon.stop();
    ear.until(0, "STOPPING=1");
    assert_eq!(ear.count("WATCHDOG=1"), 0);
}
