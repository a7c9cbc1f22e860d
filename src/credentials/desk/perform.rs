//! Calls: each task of the keeper becomes one request, and each request one fact.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use iaso_policy::credential::Fault;
use iaso_policy::credential::keeper::{Fact, Lease, LeaseKey, Task, Token, Value as Known};
use iaso_policy::id::CredentialId;
use iaso_policy::time::{Mono, Wall};

use super::holding::{Value, entry};
use super::{Desk, Done};
use crate::config::validated::Source;
use crate::credentials::kept::KeptLease;
use crate::credentials::local::Local;
use crate::credentials::provider::{Failure, Fetched, Provider};
use crate::credentials::vault::{self, Login, Vault};
use crate::system::clock::stopwatch;

/// What a call came to.
pub(super) enum Answer {
    /// The keeper needs nothing but this.
    Session { task: Task, began: Mono, told: Result<Login, Failure> },
    /// A read.
    Read { credential: CredentialId, began: Mono, at: Wall, took: Duration, read: Result<Fetched, Failure> },
    /// A lease's renewal.
    Renewed { lease: LeaseKey, began: Mono, renewed: Result<crate::credentials::provider::Lease, Failure> },
    /// A lease's end.
    Revoked { lease: LeaseKey, revoked: Result<(), Failure> },
}

/// Without an address nothing can be asked.
fn no_vault() -> Failure {
    Failure { fault: Fault::Unreachable, words: "there is no [vault] in the configuration".to_owned() }
}

impl Desk {
    /// A call about the session.
    pub(super) fn ask_session(&mut self, task: Task) {
        let (began, vault) = (self.ports.clock.mono(), self.means.vault.clone());
        let job = async move {
            let told = match vault {
                Some(vault) => session(&vault, task).await,
                None => Err(no_vault()),
            };
            Done::Answered(Answer::Session { task, began, told })
        };
        self.jobs.push(job.boxed());
    }

    /// A read, once.
    pub(super) fn read(&mut self, credential: CredentialId) {
        let Some(holding) = self.holdings.get(&credential) else { return };
        let (spec, now) = (Arc::clone(&holding.spec), self.ports.clock.now());
        let provider = self.provider(&spec.source);
        let job = async move {
            let took = stopwatch();
            let read = match provider {
                Ok(provider) => provider.read(&spec.source).await,
                Err(failure) => Err(failure),
            };
            let plain = spec.files.iter().any(|file| file.template.is_none());
            let read = read.and_then(|fetched| if plain { has_field(fetched, &spec.field) } else { Ok(fetched) });
            Done::Answered(Answer::Read { credential, began: now.mono, at: now.wall, took: took(), read })
        };
        self.jobs.push(job.boxed());
    }

    /// Whom a source is read from.
    fn provider(&self, source: &Source) -> Result<Arc<dyn Provider>, Failure> {
        match source {
            Source::Kv2 { .. } | Source::Kv1 { .. } | Source::Dynamic { .. } | Source::Pki { .. } => {
                self.means.vault.clone().map(|vault| vault as Arc<dyn Provider>).ok_or_else(no_vault)
            }
            Source::Aws(_) => self
                .means
                .aws
                .clone()
                .ok_or_else(|| Failure { fault: Fault::Unreachable, words: "there is no client for AWS".to_owned() }),
            Source::Environment { .. } | Source::File { .. } | Source::Directory { .. } => Ok(Arc::new(Local)),
        }
    }

    pub(super) fn renew_lease(&mut self, lease: LeaseKey, increment: Duration) {
        let Some(record) = self.leases.get(&lease) else { return };
        let (began, id, vault) = (self.ports.clock.mono(), record.lease.id.clone(), self.means.vault.clone());
        let job = async move {
            let renewed = match vault {
                Some(vault) => vault.renew_lease(&id, increment).await,
                None => Err(no_vault()),
            };
            Done::Answered(Answer::Renewed { lease, began, renewed })
        };
        self.jobs.push(job.boxed());
    }

    pub(super) fn revoke_lease(&mut self, lease: LeaseKey) {
        let Some(record) = self.leases.get(&lease) else {
            // It has ended meanwhile.
            return self.jobs.push(async move { Done::Fact(Fact::Revoked { lease }) }.boxed());
        };
        let (id, vault) = (record.lease.id.clone(), self.means.vault.clone());
        let job = async move {
            let revoked = match vault {
                Some(vault) => vault.revoke_lease(&id).await,
                None => Err(no_vault()),
            };
            Done::Answered(Answer::Revoked { lease, revoked })
        };
        self.jobs.push(job.boxed());
    }

    pub(super) fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Session { task, began, told } => self.session_told(task, began, told),
            Answer::Read { credential, began, at, took, read } => self.was_read(credential, began, at, took, read),
            Answer::Renewed { lease, began, renewed } => self.was_renewed(lease, began, renewed),
            Answer::Revoked { lease, revoked } => match revoked {
                Ok(()) => {
                    self.step(Fact::Revoked { lease });
                    self.forget_lease(lease);
                }
                Err(failure) => {
                    self.words_about(lease, failure.words);
                    self.step(Fact::RevokeFailed { lease, fault: failure.fault });
                }
            },
        }
    }

    pub(super) fn session_told(&mut self, task: Task, began: Mono, told: Result<Login, Failure>) {
        let told = match told {
            Ok(Login { token, same }) => {
                self.session_words = None;
                Ok((facts(&token), same))
            }
            Err(failure) => {
                self.session_words = Some(failure.words);
                Err(failure.fault)
            }
        };
        let fact = match (task, told) {
            (Task::RenewToken { .. }, Ok((token, _))) => Fact::TokenRenewed { began, token },
            (Task::RenewToken { .. }, Err(fault)) => Fact::TokenRenewFailed { fault },
            (Task::LookUpToken, told) => Fact::TokenLookedUp { result: told.map(|(token, _)| token) },
            (_, Ok((token, same))) => Fact::LoggedIn { began, token, same },
            (_, Err(fault)) => Fact::LoginFailed { fault },
        };
        self.step(fact);
    }

    fn was_read(
        &mut self,
        credential: CredentialId,
        began: Mono,
        at: Wall,
        took: Duration,
        read: Result<Fetched, Failure>,
    ) {
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        holding.count("refresh", read.is_ok(), took);
        let fetched = match read {
            Ok(fetched) => fetched,
            Err(failure) => {
                holding.words = Some(failure.words);
                self.step(Fact::ReadFailed { credential, began, fault: failure.fault });
                return;
            }
        };
        holding.words = None;
        let is_rotated = self.rotations.in_use(&holding.spec.name).is_some();
        let crossed = is_rotated || holding.rotated.is_some_and(|rotated| began <= rotated);
        if let Some(current) = holding.current.as_mut().filter(|_| crossed) {
            // The rotation says what is in use: a read that crossed one of its steps may bring either. What was on its way
            // before, or some were left with, stays the newest.
            current.entry.fetched = at;
            let newest = holding.fresh.as_ref().unwrap_or(current);
            let value = Known { digest: newest.digest, version: newest.entry.version, lease: None, ends_in: None };
            return self.step(Fact::Read { credential, began, value });
        }
        let digest = self.means.sealer.digest(&fetched.fields);
        let mut value = Value { digest, entry: entry(fetched.fields, fetched.version, fetched.not_after, at) };
        let ends_in = fetched.not_after.map(|seconds| {
            Duration::from_millis(u64::try_from(seconds.saturating_mul(1000).saturating_sub(at.0)).unwrap_or(0))
        });
        let mut known = Known { digest, version: fetched.version, lease: None, ends_in };
        match fetched.lease {
            // Nothing to renew or to give back: the server only says how long it lasts.
            Some(lease) if lease.id.is_empty() => known.ends_in = Some(lease.ttl),
            Some(lease) => {
                let ends = wall_after(at, lease.ttl);
                let token_ends = self.token_ends();
                let kept = KeptLease { id: lease.id, ends, renewable: lease.renewable, token_ends };
                value.entry.lease = Some(kept.clone());
                known.lease = Some(self.track(credential, kept, lease.ttl));
            }
            None => {}
        }
        let holding = self.holdings.get_mut(&credential).expect("it was there just now");
        let confirmed = match &mut holding.current {
            Some(current) if current.digest == digest => {
                current.entry.fetched = at;
                current.entry.version = value.entry.version;
                true
            }
            _ => {
                holding.fresh = Some(value);
                false
            }
        };
        self.tell_read(credential, Fact::Read { credential, began, value: known });
        if confirmed {
            self.check_place(credential);
            self.keep_again(credential);
        }
    }

    fn was_renewed(
        &mut self,
        lease: LeaseKey,
        began: Mono,
        renewed: Result<crate::credentials::provider::Lease, Failure>,
    ) {
        let began_at = self.ports.clock.wall_at(began);
        match renewed {
            Ok(renewed) => {
                if let Some(record) = self.leases.get_mut(&lease) {
                    record.lease.ends = wall_after(began_at, renewed.ttl);
                    record.lease.renewable = renewed.renewable;
                }
                self.keep_lease(lease);
                let lease = Lease { key: lease, ttl: renewed.ttl, renewable: renewed.renewable };
                self.step(Fact::LeaseRenewed { began, lease });
            }
            Err(failure) => {
                self.words_about(lease, failure.words);
                self.step(Fact::LeaseRenewFailed { lease, began, fault: failure.fault });
            }
        }
    }

    /// When the token in use ends; none: never.
    fn token_ends(&self) -> Option<Wall> {
        let session = self.keeper.session(self.ports.clock.mono());
        session.token_ends.map(|at| self.ports.clock.wall_at(at))
    }

    fn words_about(&mut self, lease: LeaseKey, words: String) {
        let credential = self.leases.get(&lease).map(|record| record.credential);
        if let Some(holding) = credential.and_then(|id| self.holdings.get_mut(&id)) {
            holding.words = Some(words);
        }
    }
}

async fn session(vault: &Vault, task: Task) -> Result<Login, Failure> {
    let token = match task {
        Task::RenewToken { increment } => vault.renew_self(increment).await,
        Task::LookUpToken => vault.lookup_self().await,
        _ => return vault.login().await,
    };
    token.map(|token| Login { token, same: true })
}

fn facts(token: &vault::Token) -> Token {
    Token {
        ttl: token.ttl,
        renewable: token.renewable,
        uses_left: token.uses.map(|uses| u32::try_from(uses).unwrap_or(u32::MAX)),
    }
}

/// A secret without the field that is asked for is as good as none; which fields it has is no secret to the operator.
fn has_field(fetched: Fetched, field: &str) -> Result<Fetched, Failure> {
    if fetched.lease.is_some() || fetched.not_after.is_some() || fetched.fields.contains_key(field) {
        return Ok(fetched);
    }
    let names: Vec<&str> = fetched.fields.keys().map(String::as_str).take(20).collect();
    let words = match names[..] {
        [] => "it has no fields".to_owned(),
        _ => format!("it has no field {field:?}, but {}", names.join(", ")),
    };
    Err(Failure { fault: Fault::Malformed, words })
}

fn wall_after(at: Wall, span: Duration) -> Wall {
    Wall(at.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}
