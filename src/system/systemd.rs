//! What the service manager is told, by systemd's protocol: one datagram to `$NOTIFY_SOCKET`, where it is set.
//!
//! Telling it never waits. What its socket has no room for goes with the next message, or with the heartbeat's next wake-up.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;

/// Messages that may wait for room; the oldest make place.
const WAITING: usize = 32;

/// The service manager that started this process, if one wants to hear of it. Clones tell the same one.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    line: Option<Arc<Line>>,
}

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
    unsent: Mutex<VecDeque<String>>,
}

impl Manager {
    /// Nobody wants to hear of it.
    pub fn none() -> Self {
        Self::default()
    }

    /// The one that `$NOTIFY_SOCKET` leads to: a path, or `@` and a name in Linux's abstract namespace. One that cannot be told
    /// anything costs a warning.
    pub fn of_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Self::none() };
        match Line::to(&name) {
            Ok(line) => Self { line: Some(Arc::new(line)) },
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "the service manager cannot be told anything");
                Self::none()
            }
        }
    }

    /// The configuration is loaded, also anew, and the supervisor runs.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The configuration is being read again; [`Manager::ready`] follows, whatever comes of it.
    pub fn reloading(&self) {
        // Newer managers want to know when, older ones pass it over; a clock that cannot be read is no reason to say nothing.
        let when = NotifyState::monotonic_usec_now().ok();
        self.tell(&[Some(NotifyState::Reloading), when].into_iter().flatten().collect::<Vec<_>>());
    }

    /// It ends in order.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// How things stand, in one line.
    pub fn status(&self, line: &str) {
        self.tell(&[NotifyState::Status(line)]);
    }

    /// The supervisor steps.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// How often [`Manager::alive`] is to be told: twice in the time after which the manager would end this process. None: the
    /// manager does not watch it.
    pub fn alive_every(&self) -> Option<Duration> {
        self.line.as_ref()?;
        sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|every| !every.is_zero())
    }

    /// Sends what had to wait.
    pub fn send_waiting(&self) {
        if let Some(line) = &self.line {
            line.send(None);
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Some(line) = &self.line {
            line.send(Some(states.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")));
        }
    }
}

impl Line {
    fn to(name: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address: address(name)?, unsent: Mutex::default() })
    }

    /// Sends what waits, in order, and then this.
    fn send(&self, message: Option<String>) {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = message {
            // Only the newest of what merely tells how things stand is worth sending.
            for kind in ["STATUS=", "WATCHDOG="] {
                unsent.retain(|waiting| !(waiting.starts_with(kind) && message.starts_with(kind)));
            }
            unsent.push_back(message);
            if unsent.len() > WAITING {
                unsent.pop_front();
            }
        }
        while let Some(next) = unsent.front() {
            match self.socket.send_to_addr(next.as_bytes(), &self.address) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "the service manager could not be told");
                    unsent.pop_front();
                }
                Ok(_) => {
                    unsent.pop_front();
                }
            }
        }
    }
}

/// The crate knows paths only.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.as_encoded_bytes().strip_prefix(b"@") {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    if name.as_encoded_bytes().starts_with(b"/") {
        return SocketAddr::from_pathname(name);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a path, or @ and a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager's socket, and Iaso's line to it.
    fn connected(dir: &std::path::Path) -> (UnixDatagram, Manager) {
        let path = dir.join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        (manager, Manager { line: Some(Arc::new(Line::to(path.as_os_str()).unwrap())) })
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        messages
    }

    #[test]
    fn each_state_is_one_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, manager) = connected(dir.path());
        manager.ready();
        manager.status("1 service: 1 healthy");
        manager.reloading();
        manager.alive();
        manager.stopping();
        let heard = heard(&socket);
        let (when, others): (Vec<&String>, Vec<&String>) = heard.iter().partition(|m| m.starts_with("RELOADING"));
        assert_eq!(others, ["READY=1", "STATUS=1 service: 1 healthy", "WATCHDOG=1", "STOPPING=1"]);
        let usec: u64 = when[0].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        assert!(usec > 0);
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for_and_hears_the_newest_later() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, manager) = connected(dir.path());
        // More than any socket's queue holds.
        for number in 0..5_000 {
            manager.status(&number.to_string());
            manager.alive();
        }
        manager.reloading();
        manager.ready();
        let mut all = heard(&socket);
        assert!(all.len() < 5_000, "the queue has no end: this proves nothing");
        while all.last().is_none_or(|last| last != "READY=1") {
            manager.send_waiting();
            let more = heard(&socket);
            assert!(!more.is_empty(), "nothing more comes after {:?}", all.last());
            all.extend(more);
        }
        assert!(all.contains(&"STATUS=4999".to_owned()), "the newest status is missing");
        assert!(all[all.len() - 2].starts_with("RELOADING=1"), "{:?}", &all[all.len() - 3..]);
    }

    #[test]
    fn a_manager_that_has_gone_harms_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, manager) = connected(dir.path());
        drop(socket);
        manager.ready();
        std::fs::remove_file(dir.path().join("notify")).unwrap();
        manager.ready();
        manager.send_waiting();
        assert!(Line::to(OsStr::new("vsock:2:1234")).is_err());
        Manager::none().ready();
        assert_eq!(Manager::none().alive_every(), None);
    }
}
