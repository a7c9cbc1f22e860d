//! The small world that the keeper is judged in: a Vault that breaks as it is told, Iaso's edge and disk, and the services.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use iaso_policy::credential::Fault;
use iaso_policy::credential::keeper::{
    CredentialSpec, Fact, Keeper, Kind, Lease, LeaseKey, Recalled, SessionSpec, Task, Token, Value,
};
use iaso_policy::id::{CredentialId, Digest};
use iaso_policy::time::{Boot, Mono, Now, Wall};

use crate::rig::secs;

pub(super) const SECOND: i64 = 1000;
pub(super) const HOUR: i64 = 3600 * SECOND;
/// So long after it is asked the keeper gives an answer up.
const PATIENCE: i64 = 300 * SECOND;

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap()
}

fn span(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis.max(0)).unwrap())
}

/// How Vault, or the way to it, is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mode {
    Well,
    /// It answers with this, and does nothing.
    Answers(Fault),
    /// It does what it is asked, and the answer breaks off.
    Breaks,
    /// It does what it is asked, and no answer ever comes.
    Silent,
    /// It does what it is asked, and answers when Iaso has given up.
    Slow,
}

/// A credential as Vault has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secret {
    pub(super) kind: Kind,
    pub(super) refresh: u64,
    pub(super) mints_per_hour: u32,
    /// How long what is minted lasts, in seconds.
    pub(super) ttl: u64,
    /// How long renewals may make it last; none: it cannot be renewed.
    pub(super) max: Option<u64>,
    /// What is minted ends by itself, without a lease.
    pub(super) certificate: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) logins_per_hour: u32,
    pub(super) token_ttl: Option<u64>,
    /// None: it cannot be renewed.
    pub(super) token_max: Option<u64>,
    pub(super) uses: Option<u32>,
    pub(super) latency: i64,
}

/// A token of the small Vault's.
#[derive(Debug, Clone, Copy)]
struct Issued {
    born: i64,
    ends: i64,
    last: i64,
    /// When it ends by what Iaso was told.
    told: i64,
    uses: Option<u32>,
}

/// A lease of the small Vault's.
#[derive(Debug, Clone, Copy)]
struct Lent {
    token: usize,
    ends: i64,
    last: i64,
    /// When it ends by what Iaso was told; none: it was told nothing.
    told: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) enum Move {
    Pass(i64),
    Mode(Mode),
    Write(usize),
    Missing(usize, bool),
    Denied(usize, bool),
    RevokeTokens,
    Publishing(bool),
    WallJumps(i64),
    Refresh(usize),
    Forget(usize),
    LoginChanged,
    Crash,
}

/// A value that was read, or is in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got {
    digest: Digest,
    lease: Option<LeaseKey>,
    ends: Option<i64>,
    read: i64,
}

pub(super) struct World {
    setup: Setup,
    secrets: Vec<Secret>,
    pub(super) keeper: Keeper,
    pub(super) now: i64,
    wall: i64,
    // Vault.
    pub(super) mode: Mode,
    missing: BTreeSet<usize>,
    denied: BTreeSet<usize>,
    tokens: Vec<Issued>,
    leases: BTreeMap<LeaseKey, Lent>,
    values: Vec<u128>,
    made: u64,
    // Iaso's edge, its disk, and the services.
    token: usize,
    /// Which token was renewed when.
    renewed: BTreeMap<i64, usize>,
    answers: BTreeMap<(i64, u64), Fact>,
    sent: u64,
    got: BTreeMap<(usize, Digest), Got>,
    newest: BTreeMap<usize, Got>,
    pub(super) in_use: BTreeMap<usize, Got>,
    attempted: BTreeMap<usize, Digest>,
    forgotten: BTreeSet<usize>,
    publishing: bool,
    crashes: u64,
    // For the judges.
    /// When a person, or a start, asked for something out of turn.
    pub(super) orders: Vec<i64>,
    pub(super) logins: Vec<i64>,
    pub(super) mints: Vec<(usize, i64)>,
    pub(super) requests: Vec<(i64, Request)>,
    busy: BTreeMap<Request, i64>,
    pub(super) log: Vec<(i64, Task)>,
    pub(super) lapsed: Vec<(i64, usize)>,
    pub(super) wrong: Vec<String>,
}

/// What a request is for; of one kind only one is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Request {
    Session,
    Read(usize),
    Lease(LeaseKey),
}

impl World {
    pub(super) fn new(setup: Setup, secrets: Vec<Secret>) -> Self {
        let mut world = Self {
            keeper: Keeper::new(SessionSpec { logins_per_hour: setup.logins_per_hour }, 1, Mono(0)),
            setup,
            now: 0,
            wall: 1_700_000_000_000,
            mode: Mode::Well,
            missing: BTreeSet::new(),
            denied: BTreeSet::new(),
            tokens: vec![],
            leases: BTreeMap::new(),
            values: vec![1; secrets.len()],
            secrets,
            made: 0,
            token: 0,
            renewed: BTreeMap::new(),
            answers: BTreeMap::new(),
            sent: 0,
            got: BTreeMap::new(),
            newest: BTreeMap::new(),
            in_use: BTreeMap::new(),
            attempted: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            publishing: true,
            crashes: 0,
            orders: vec![],
            logins: vec![],
            mints: vec![],
            requests: vec![],
            busy: BTreeMap::new(),
            log: vec![],
            lapsed: vec![],
            wrong: vec![],
        };
        world.start();
        world
    }

    /// Iaso starts, and recalls what is on its disk.
    fn start(&mut self) {
        self.crashes += 1;
        let spec = SessionSpec { logins_per_hour: self.setup.logins_per_hour };
        self.keeper = Keeper::new(spec, self.crashes, Mono(self.now));
        self.answers.clear();
        self.busy.clear();
        self.attempted.clear();
        self.newest = self.in_use.clone();
        for at in self.logins.clone() {
            self.fact(Fact::Charged { credential: None, at: Mono(at) });
        }
        let mut needed = BTreeSet::new();
        for i in 0..self.secrets.len() {
            if self.forgotten.contains(&i) {
                continue;
            }
            self.define(i);
            for (_, at) in self.mints.clone().into_iter().filter(|&(who, _)| who == i) {
                self.fact(Fact::Charged { credential: Some(id(i)), at: Mono(at) });
            }
            if let Some(used) = self.in_use.get(&i).copied() {
                needed.extend(used.lease);
                let recalled = self.recalled(i, used);
                self.fact(Fact::Recalled { credential: id(i), recalled });
            }
        }
        for (key, lent) in self.leases.clone() {
            if !needed.contains(&key)
                && let Some(left) = lent.told.map(|end| end - self.now).filter(|&left| left > 0)
            {
                self.fact(Fact::Leftover(Lease { key, ttl: span(left), renewable: false }));
            }
        }
        self.fact(Fact::Tick);
    }

    fn define(&mut self, i: usize) {
        let secret = self.secrets[i];
        let spec = CredentialSpec {
            kind: secret.kind,
            refresh: secs(secret.refresh),
            warn_before: secs(60),
            mints_per_hour: secret.mints_per_hour,
        };
        self.fact(Fact::Define { credential: id(i), spec });
    }

    fn recalled(&self, i: usize, used: Got) -> Recalled {
        let lent = used.lease.and_then(|key| Some((key, self.leases.get(&key)?)));
        let lease = lent.map(|(key, lent)| Lease {
            key,
            ttl: span(lent.told.unwrap_or(self.now) - self.now),
            renewable: self.secrets[i].max.is_some(),
        });
        let token = lent.map(|(_, lent)| self.tokens[lent.token].ends).filter(|&ends| ends < i64::MAX);
        Recalled {
            value: Value {
                digest: used.digest,
                version: None,
                lease,
                ends_in: used.ends.map(|end| span(end - self.now)),
            },
            age: span(self.now - used.read),
            token_ends_in: token.map(|end| span(end - self.now)),
            in_place: true,
        }
    }

    fn fact(&mut self, fact: Fact) {
        let now = Now { mono: Mono(self.now), wall: Wall(self.wall), boot: Boot(1) };
        let mut out = vec![];
        self.keeper.step(now, fact, &mut out);
        if self.keeper.next_deadline().is_some_and(|next| next.0 <= self.now) {
            self.wrong.push(format!("12: a deadline that is not ahead, after {fact:?}"));
        }
        // At a start not everything that is on disk has been handed in.
        let known =
            !matches!(fact, Fact::Charged { .. } | Fact::Define { .. } | Fact::Recalled { .. } | Fact::Leftover(_));
        let tracked: BTreeSet<_> = self.keeper.leases().collect();
        for task in out {
            self.log.push((self.now, task));
            self.carry_out(task);
        }
        for (key, lent) in &self.leases {
            let token = self.tokens[lent.token];
            let alive = [lent.ends, token.ends, token.told]
                .into_iter()
                .chain([lent.told.unwrap_or(i64::MIN)])
                .all(|end| end > self.now);
            if alive && known && !tracked.contains(key) {
                self.wrong.push(format!("11: {key:?} is forgotten after {fact:?}"));
            }
        }
    }

    /// Lets time pass, with its answers and deadlines.
    pub(super) fn pass(&mut self, span: i64) {
        let end = self.now + span;
        while self.wrong.is_empty() {
            let answer = self.answers.keys().next().copied();
            let tick = self.keeper.next_deadline().map(|at| (at.0, u64::MAX));
            let Some(next) = answer.into_iter().chain(tick).min().filter(|next| next.0 <= end) else { break };
            self.until(next.0);
            let fact = self.answers.remove(&next).unwrap_or(Fact::Tick);
            self.hear(&fact);
            self.fact(fact);
        }
        self.until(end);
        self.fact(Fact::Tick);
    }

    fn until(&mut self, at: i64) {
        for (&i, used) in &self.in_use {
            let lease = used
                .lease
                .and_then(|key| self.leases.get(&key))
                .map(|lent| lent.ends.min(self.tokens[lent.token].ends));
            let ends = used.ends.into_iter().chain(lease).min();
            if ends.is_some_and(|ends| self.now < ends && ends <= at) {
                self.lapsed.push((at, i));
            }
        }
        self.wall += at - self.now;
        self.now = at;
    }

    /// What the edge does with an answer before it tells it.
    fn hear(&mut self, fact: &Fact) {
        match *fact {
            Fact::LoggedIn { began, .. } => {
                self.token = self.tokens.iter().position(|token| token.born == began.0).unwrap();
                self.busy.remove(&Request::Session);
            }
            Fact::TokenRenewed { began, token } => {
                // One that comes after the token ended for Iaso is told too late.
                if self.renewed.remove(&began.0) == Some(self.token) && self.tokens[self.token].told > self.now {
                    self.tokens[self.token].told = began.0 + millis(token.ttl.unwrap());
                }
                self.busy.remove(&Request::Session);
            }
            Fact::LoginFailed { .. } | Fact::TokenRenewFailed { .. } | Fact::TokenLookedUp { .. } => {
                self.busy.remove(&Request::Session);
            }
            Fact::Read { credential, began, value } => {
                let i = credential.0 as usize;
                self.busy.remove(&Request::Read(i));
                if let Some(lease) = value.lease {
                    let lent = self.leases.get_mut(&lease.key).unwrap();
                    lent.told = Some(began.0 + millis(lease.ttl));
                }
                let got = Got {
                    digest: value.digest,
                    lease: value.lease.map(|lease| lease.key),
                    ends: value.ends_in.map(|left| began.0 + millis(left)),
                    read: began.0,
                };
                self.got.insert((i, got.digest), got);
                if self.newest.get(&i).is_none_or(|newest| newest.read <= got.read) {
                    self.newest.insert(i, got);
                }
            }
            Fact::ReadFailed { credential, .. } => {
                self.busy.remove(&Request::Read(credential.0 as usize));
            }
            Fact::LeaseRenewed { began, lease } => {
                self.busy.remove(&Request::Lease(lease.key));
                let lent = self.leases.get_mut(&lease.key).unwrap();
                lent.told = Some(began.0 + millis(lease.ttl));
            }
            Fact::LeaseRenewFailed { lease, .. } | Fact::RevokeFailed { lease, .. } => {
                self.busy.remove(&Request::Lease(lease));
            }
            Fact::Revoked { lease } => {
                self.busy.remove(&Request::Lease(lease));
                // Gone from Iaso's disk.
                self.leases.remove(&lease);
            }
            Fact::Published { credential, digest, ok } => {
                let i = credential.0 as usize;
                if ok && self.attempted.get(&i) == Some(&digest) {
                    self.in_use.insert(i, self.got[&(i, digest)]);
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, fact: Fact) {
        let fault = Fault::Ambiguous;
        let broken = match fact {
            Fact::LoggedIn { .. } => Fact::LoginFailed { fault },
            Fact::TokenRenewed { .. } => Fact::TokenRenewFailed { fault },
            Fact::TokenLookedUp { .. } => Fact::TokenLookedUp { result: Err(fault) },
            Fact::Read { credential, began, .. } => Fact::ReadFailed { credential, began, fault },
            Fact::LeaseRenewed { began, lease } => Fact::LeaseRenewFailed { lease: lease.key, began, fault },
            Fact::Revoked { lease } => Fact::RevokeFailed { lease, fault },
            other => other,
        };
        self.sent += 1;
        let (after, fact) = match self.mode {
            Mode::Silent => return,
            Mode::Breaks => (self.setup.latency, broken),
            Mode::Slow => (PATIENCE + 30 * SECOND, fact),
            Mode::Well | Mode::Answers(_) => (self.setup.latency, fact),
        };
        self.answers.insert((self.now + after, self.sent), fact);
    }

    /// One request, and what Vault thinks of its token.
    fn ask(&mut self, request: Request, with_token: bool) -> Result<(), Fault> {
        self.requests.push((self.now, request));
        if self.busy.insert(request, self.now).is_some_and(|since| self.now - since < PATIENCE) {
            self.wrong.push(format!("two at once: {request:?}"));
        }
        if let Mode::Answers(fault) = self.mode {
            return Err(fault);
        }
        if !with_token {
            return Ok(());
        }
        let now = self.now;
        let token = self.tokens.get_mut(self.token).filter(|token| token.ends > now).ok_or(Fault::Denied)?;
        if let Some(left) = &mut token.uses {
            *left = left.saturating_sub(1);
            if *left == 0 {
                token.ends = now;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, task: Task) {
        match task {
            Task::Note { .. } => {}
            Task::Login => self.log_in(),
            Task::LookUpToken => {
                // A standby's: its ttl is wrong.
                let token = Token { ttl: Some(secs(1)), renewable: true, uses_left: None };
                let result = self.ask(Request::Session, true).map(|()| token);
                self.answer(Fact::TokenLookedUp { result });
            }
            Task::RenewToken { increment } => self.renew_token(increment),
            Task::Read { credential } => self.read(credential.0 as usize),
            Task::RenewLease { lease, increment } => self.renew_lease(lease, increment),
            Task::Revoke { lease } => self.revoke(lease),
            Task::Publish { credential, digest } => self.publish(credential.0 as usize, digest),
        }
    }

    fn log_in(&mut self) {
        let (now, setup) = (self.now, self.setup);
        let asked = self.ask(Request::Session, false);
        if !asked.is_err_and(made_nothing) {
            self.logins.push(now);
        }
        let fact = match asked {
            Err(fault) => Fact::LoginFailed { fault },
            Ok(()) => {
                let last = setup.token_max.map_or(i64::MAX, |max| now + millis(secs(max)));
                let ends = setup.token_ttl.map_or(i64::MAX, |ttl| now + millis(secs(ttl))).min(last);
                self.tokens.push(Issued { born: now, ends, last, told: ends, uses: setup.uses });
                let ttl = (ends < i64::MAX).then(|| span(ends - now));
                let token = Token { ttl, renewable: setup.token_max.is_some(), uses_left: setup.uses };
                Fact::LoggedIn { began: Mono(now), token, same: false }
            }
        };
        self.answer(fact);
    }

    fn renew_token(&mut self, increment: Duration) {
        let now = self.now;
        let fact = match self.ask(Request::Session, true) {
            Err(fault) => Fact::TokenRenewFailed { fault },
            Ok(()) => {
                let token = &mut self.tokens[self.token];
                if now + millis(increment) < token.ends {
                    self.wrong.push("a renewal that shortens the token".to_owned());
                }
                token.ends = (now + millis(increment)).min(token.last);
                self.renewed.insert(now, self.token);
                let token = Token { ttl: Some(span(token.ends - now)), renewable: true, uses_left: None };
                Fact::TokenRenewed { began: Mono(now), token }
            }
        };
        self.answer(fact);
    }

    fn read(&mut self, i: usize) {
        let (now, secret, credential, began) = (self.now, self.secrets[i], id(i), Mono(self.now));
        let asked = if secret.kind == Kind::Local { Ok(()) } else { self.ask(Request::Read(i), true) };
        let fault = match asked {
            Err(fault) => Some(fault),
            Ok(()) if secret.kind == Kind::Local => None,
            Ok(()) if self.denied.contains(&i) => Some(Fault::Denied),
            Ok(()) if self.missing.contains(&i) => Some(Fault::NotFound),
            Ok(()) => None,
        };
        if let Some(fault) = fault {
            if secret.kind == Kind::Minted && matches!(fault, Fault::Ambiguous | Fault::Failing) {
                self.mints.push((i, now));
            }
            return self.answer(Fact::ReadFailed { credential, began, fault });
        }
        let mut value = Value { digest: Digest(self.values[i]), version: None, lease: None, ends_in: None };
        if secret.kind == Kind::Minted {
            self.mints.push((i, now));
            self.made += 1;
            value.digest = Digest(1_000_000 + u128::from(self.made));
            if secret.certificate {
                value.ends_in = Some(secs(secret.ttl));
            } else {
                let key = LeaseKey(self.made);
                let last = now + millis(secs(secret.max.unwrap_or(secret.ttl)));
                let ends = (now + millis(secs(secret.ttl))).min(last);
                self.leases.insert(key, Lent { token: self.token, ends, last, told: None });
                value.lease = Some(Lease { key, ttl: span(ends - now), renewable: secret.max.is_some() });
            }
        }
        if secret.kind == Kind::Local {
            self.sent += 1;
            self.answers.insert((now + 1, self.sent), Fact::Read { credential, began, value });
        } else {
            self.answer(Fact::Read { credential, began, value });
        }
    }

    fn renew_lease(&mut self, lease: LeaseKey, increment: Duration) {
        let (now, began) = (self.now, Mono(self.now));
        let asked = self.ask(Request::Lease(lease), true);
        let lent = self.leases.get_mut(&lease).unwrap();
        if lent.told.is_none_or(|end| end <= now) {
            self.wrong.push(format!("11: {lease:?} is renewed past its end"));
        }
        let fact = match asked {
            Err(fault) => Fact::LeaseRenewFailed { lease, began, fault },
            Ok(()) if lent.ends <= now || self.tokens[lent.token].ends <= now => {
                Fact::LeaseRenewFailed { lease, began, fault: Fault::Refused }
            }
            Ok(()) => {
                lent.ends = (now + millis(increment)).min(lent.last);
                Fact::LeaseRenewed { began, lease: Lease { key: lease, ttl: span(lent.ends - now), renewable: true } }
            }
        };
        self.answer(fact);
    }

    fn revoke(&mut self, lease: LeaseKey) {
        for (i, used) in &self.in_use {
            if used.lease == Some(lease) && !self.forgotten.contains(i) {
                self.wrong.push(format!("11: {lease:?} is revoked while it is in use"));
            }
        }
        let fact = match self.ask(Request::Lease(lease), true) {
            Err(fault) => Fact::RevokeFailed { lease, fault },
            Ok(()) => {
                if let Some(lent) = self.leases.get_mut(&lease) {
                    lent.ends = self.now;
                }
                Fact::Revoked { lease }
            }
        };
        self.answer(fact);
    }

    fn publish(&mut self, i: usize, digest: Digest) {
        if self.newest.get(&i).is_none_or(|newest| newest.digest != digest) {
            self.wrong.push(format!("9: {digest:?} is published, and it is not what was read last"));
        }
        let before = self.attempted.insert(i, digest);
        if self.in_use.get(&i).is_some_and(|used| used.digest == digest) && before.is_none_or(|before| before == digest)
        {
            self.wrong.push(format!("9: {digest:?} is published again"));
        }
        self.sent += 1;
        let fact = Fact::Published { credential: id(i), digest, ok: self.publishing };
        self.answers.insert((self.now + self.setup.latency, self.sent), fact);
    }

    pub(super) fn make(&mut self, step: &Move) {
        let among = self.secrets.len();
        if matches!(step, Move::Refresh(_) | Move::LoginChanged | Move::Crash) {
            self.orders.push(self.now);
        }
        match *step {
            Move::Pass(span) => self.pass(span),
            Move::Mode(mode) => self.mode = mode,
            Move::Write(i) => self.values[i % among] += 1,
            Move::Missing(i, yes) => toggle(&mut self.missing, i % among, yes),
            Move::Denied(i, yes) => toggle(&mut self.denied, i % among, yes),
            Move::RevokeTokens => {
                for token in &mut self.tokens {
                    token.ends = token.ends.min(self.now);
                }
            }
            Move::Publishing(ok) => self.publishing = ok,
            Move::WallJumps(by) => self.wall += by,
            Move::Refresh(i) => self.fact(Fact::Refresh { credential: id(i % among) }),
            // Few are.
            Move::Forget(i) => {
                if i < among {
                    self.forgotten.insert(i);
                    self.fact(Fact::Forget { credential: id(i) });
                }
            }
            Move::LoginChanged => self.fact(Fact::LoginChanged),
            Move::Crash => self.start(),
        }
    }

    /// The most of these in any hour.
    pub(super) fn most_in_an_hour(times: &[i64]) -> usize {
        times.iter().map(|&at| times.iter().filter(|&&then| then <= at && at - then < HOUR).count()).max().unwrap_or(0)
    }
}

fn id(i: usize) -> CredentialId {
    CredentialId(u32::try_from(i).unwrap())
}

fn toggle(set: &mut BTreeSet<usize>, i: usize, yes: bool) {
    if yes {
        set.insert(i);
    } else {
        set.remove(&i);
    }
}

fn made_nothing(fault: Fault) -> bool {
    matches!(fault, Fault::Unreachable | Fault::Sealed | Fault::Standby | Fault::RateLimited { .. })
}
