//! Each rule by itself, in virtual time.

mod caps;
mod degrading;
mod kept;
mod leases;
mod reads;
mod session;

use alloc::vec;

use super::*;
use crate::id::Digest;
use crate::time::{Boot, Wall};

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

const ID: CredentialId = CredentialId(1);
const HOUR: u64 = 3600;

/// A keeper, its time, and what it asked for.
struct Rig {
    keeper: Keeper,
    now: Mono,
    tasks: Vec<Task>,
    notes: Vec<Event>,
}

impl Rig {
    fn new(logins_per_hour: u32) -> Self {
        let now = Mono(1_000_000);
        Self { keeper: Keeper::new(SessionSpec { logins_per_hour }, 7, now), now, tasks: vec![], notes: vec![] }
    }

    /// One with a token that never ends, and one credential that is not read yet.
    fn with(kind: Kind) -> Self {
        let mut rig = Self::new(10);
        rig.define(ID, kind);
        rig.log_in(None, false);
        rig
    }

    fn define(&mut self, credential: CredentialId, kind: Kind) {
        let spec = CredentialSpec { kind, refresh: secs(300), warn_before: secs(600), mints_per_hour: 5 };
        self.fact(Fact::Define { credential, spec });
    }

    fn fact(&mut self, fact: Fact) {
        let now = Now { mono: self.now, wall: Wall(0), boot: Boot(1) };
        let mut out = vec![];
        self.keeper.step(now, fact, &mut out);
        for task in out {
            match task {
                Task::Note { event, .. } => self.notes.push(event),
                task => self.tasks.push(task),
            }
        }
        let next = self.keeper.next_deadline();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is not ahead of {:?}", self.now);
    }

    /// Ticks at each deadline until something is to be done, for so long at most. True: there is.
    fn until_task(&mut self, within: Duration) -> bool {
        let end = self.now + within;
        while self.tasks.is_empty() {
            match self.keeper.next_deadline() {
                Some(next) if next <= end => self.now = next,
                _ => {
                    self.now = end;
                    self.fact(Fact::Tick);
                    return !self.tasks.is_empty();
                }
            }
            self.fact(Fact::Tick);
        }
        true
    }

    /// The one thing that is to be done within a time.
    fn task(&mut self, within: Duration) -> Task {
        assert!(self.until_task(within), "nothing to do within {within:?}");
        self.tasks.remove(0)
    }

    fn quiet(&mut self, within: Duration) {
        assert!(!self.until_task(within), "{:?} after {:?}", self.tasks, self.now);
    }

    fn log_in(&mut self, ttl: Option<u64>, renewable: bool) {
        assert_eq!(self.task(secs(600)), Task::Login);
        let token = Token { ttl: ttl.map(secs), renewable, uses_left: None };
        self.fact(Fact::LoggedIn { began: self.now, token, same: false });
    }

    fn read(&mut self, digest: u128, lease: Option<Lease>) {
        let value = Value { digest: Digest(digest), version: None, lease, ends_in: None };
        self.fact(Fact::Read { credential: ID, began: self.now, value });
    }

    fn read_failed(&mut self, fault: Fault) {
        self.fact(Fact::ReadFailed { credential: ID, began: self.now, fault });
    }

    fn published(&mut self, digest: u128) {
        assert_eq!(self.task(Duration::ZERO), Task::Publish { credential: ID, digest: Digest(digest) });
        self.fact(Fact::Published { credential: ID, digest: Digest(digest), ok: true });
    }

    fn view(&self) -> CredentialView {
        self.keeper.credentials(self.now).next().unwrap()
    }

    fn told(&mut self, event: Event) -> usize {
        let count = self.notes.iter().filter(|&&e| e == event).count();
        self.notes.retain(|&e| e != event);
        count
    }
}

const READ: Task = Task::Read { credential: ID };

const fn lease(key: u64, ttl: u64, renewable: bool) -> Lease {
    Lease { key: LeaseKey(key), ttl: secs(ttl), renewable }
}

const fn token(ttl: u64, renewable: bool) -> Token {
    Token { ttl: Some(secs(ttl)), renewable, uses_left: None }
}

fn seen(rig: &Rig, of: Mono, whole: u64) -> f64 {
    rig.now.since(of).as_secs_f64() / secs(whole).as_secs_f64()
}

/// Reads give the same value; what is published is in use.
fn steady(rig: &mut Rig, task: Task) -> bool {
    match task {
        READ => rig.read(1, None),
        Task::Publish { digest, .. } => rig.fact(Fact::Published { credential: ID, digest, ok: true }),
        _ => return false,
    }
    true
}

/// The first thing to do that is not about the credential itself.
fn until_other(rig: &mut Rig, within: Duration) -> Option<Task> {
    let end = rig.now + within;
    while rig.until_task(end.since(rig.now)) {
        let task = rig.tasks.remove(0);
        if !steady(rig, task) {
            return Some(task);
        }
    }
    None
}
