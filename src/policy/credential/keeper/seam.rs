//! What goes into the keeper and what comes out: closed types, numbers and times, never a value and never a server's words.

use core::time::Duration;

use super::super::Fault;
use crate::id::{CredentialId, Digest};
use crate::time::Mono;

/// The session with Vault, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSpec {
    /// Logins at most in an hour.
    pub logins_per_hour: u32,
}

/// One credential, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialSpec {
    /// What reading it takes, and does.
    pub kind: Kind,
    /// From one read to the next, at least a second; of what has a lease or an end, that decides.
    pub refresh: Duration,
    /// People are warned this long before it ends.
    pub warn_before: Duration,
    /// Minted at most in an hour, where reading mints.
    pub mints_per_hour: u32,
}

/// What reading a credential takes, and does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is read from this machine, or from a server that asks for no session of Vault's.
    Local,
    /// Vault keeps it; reading it changes nothing.
    Stored,
    /// Vault makes a new one at each read.
    Minted,
}

/// A lease of Vault's. Numbered by the daemon, never reused in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey(pub u64);

/// A lease as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub key: LeaseKey,
    /// How long it lasts from when the request for it was sent.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// What Vault says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// How long it lasts from when the request was sent; none: it never ends.
    pub ttl: Option<Duration>,
    /// Whether it can be renewed; a batch token cannot.
    pub renewable: bool,
    /// How many more requests may be made with it; none: any number.
    pub uses_left: Option<u32>,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// What it is compared by.
    pub digest: Digest,
    /// Its version, where the source counts versions.
    pub version: Option<u64>,
    /// Its lease, where it has one.
    pub lease: Option<Lease>,
    /// When it ends without a lease (a certificate), from when the request was sent; by the server's clock if possible.
    pub ends_in: Option<Duration>,
}

/// What was kept on disk and is in use since the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recalled {
    /// The value, with what is left now of its lease (`ttl`) or of its life (`ends_in`).
    pub value: Value,
    /// How long ago it was read.
    pub age: Duration,
    /// What is left now of the life of the token that its lease was got with; none: unknown, or it never ends.
    pub token_ends_in: Option<Duration>,
    /// Whether what it is rendered into still holds it; if not, it is published at once.
    pub in_place: bool,
}

/// What the keeper is told. `began` is when the request was sent, on [`Now`](crate::time::Now)'s `mono`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// Time has passed.
    Tick,
    /// A credential is to be kept fresh; again, when its definition has changed and its source has not.
    Define {
        /// Which.
        credential: CredentialId,
        /// How.
        spec: CredentialSpec,
    },
    /// A credential is no longer wanted: its leases are revoked.
    Forget {
        /// Which.
        credential: CredentialId,
    },
    /// After [`Fact::Define`]: what was kept of it.
    Recalled {
        /// Of which.
        credential: CredentialId,
        /// What.
        recalled: Recalled,
    },
    /// A lease that was kept on disk and that nothing in use needs: it is revoked.
    Leftover(Lease),
    /// A lease of a value before, which something may still use: it is kept until everything uses a newer value.
    StillUsed {
        /// Of which.
        credential: CredentialId,
        /// The lease, of the last run.
        lease: Lease,
        /// When the token that it was asked for with ends; none: never.
        token_ends_in: Option<Duration>,
    },
    /// The last run logged in then, or minted this credential then: it counts towards the hour's.
    Charged {
        /// Which was minted; none: a login.
        credential: Option<CredentialId>,
        /// When.
        at: Mono,
    },
    /// Answers [`Task::Login`].
    LoggedIn {
        /// When the login was sent.
        began: Mono,
        /// The token.
        token: Token,
        /// It is the token that was in use before (a file that has not changed): leases stay with it.
        same: bool,
    },
    /// Answers [`Task::Login`].
    LoginFailed {
        /// Why.
        fault: Fault,
    },
    /// Answers [`Task::RenewToken`].
    TokenRenewed {
        /// When the renewal was sent.
        began: Mono,
        /// The token as it is now.
        token: Token,
    },
    /// Answers [`Task::RenewToken`].
    TokenRenewFailed {
        /// Why.
        fault: Fault,
    },
    /// Answers [`Task::LookUpToken`].
    TokenLookedUp {
        /// What Vault says of it. Its `ttl` is not believed: a standby may serve an old one.
        result: Result<Token, Fault>,
    },
    /// Answers [`Task::Read`].
    Read {
        /// Which.
        credential: CredentialId,
        /// When the read was sent.
        began: Mono,
        /// What was read.
        value: Value,
    },
    /// Answers [`Task::Read`].
    ReadFailed {
        /// Which.
        credential: CredentialId,
        /// When the read was sent.
        began: Mono,
        /// Why.
        fault: Fault,
    },
    /// Answers [`Task::RenewLease`].
    LeaseRenewed {
        /// When the renewal was sent.
        began: Mono,
        /// The lease as it is now.
        lease: Lease,
    },
    /// Answers [`Task::RenewLease`].
    LeaseRenewFailed {
        /// Which.
        lease: LeaseKey,
        /// When the renewal was sent.
        began: Mono,
        /// Why.
        fault: Fault,
    },
    /// Answers [`Task::Revoke`].
    Revoked {
        /// Which.
        lease: LeaseKey,
    },
    /// Answers [`Task::Revoke`].
    RevokeFailed {
        /// Which.
        lease: LeaseKey,
        /// Why.
        fault: Fault,
    },
    /// Answers [`Task::Publish`].
    Published {
        /// Which.
        credential: CredentialId,
        /// The value.
        digest: Digest,
        /// Whether everything that uses the credential uses this value now.
        ok: bool,
    },
    /// A person asks for it to be read now.
    Refresh {
        /// Which.
        credential: CredentialId,
    },
    /// What Iaso logs in with has changed: a login is tried now, a held one too.
    LoginChanged,
    /// Nothing new is begun from now on; what is in use stays in use.
    Stopping,
}

/// What is to be done. Each but [`Task::Note`] is answered by exactly one fact, whatever comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Log in, and use the new token from then on. The one before is not revoked: leases depend on it.
    Login,
    /// Ask Vault what it knows of the token.
    LookUpToken,
    /// Renew the token.
    RenewToken {
        /// How long it is to last from then on.
        increment: Duration,
    },
    /// Read a credential, once.
    Read {
        /// Which.
        credential: CredentialId,
    },
    /// Renew a lease.
    RenewLease {
        /// Which.
        lease: LeaseKey,
        /// How long it is to last from then on.
        increment: Duration,
    },
    /// Revoke a lease.
    Revoke {
        /// Which.
        lease: LeaseKey,
    },
    /// Use this value from now on: render it, and tell what uses it. It takes the place of an earlier one of the same
    /// credential that is not answered yet; that one needs no answer any more. To publish what is published changes nothing.
    Publish {
        /// Which.
        credential: CredentialId,
        /// The value.
        digest: Digest,
    },
    /// Something for the records.
    Note {
        /// About which; none: about the session.
        credential: Option<CredentialId>,
        /// What.
        event: Event,
    },
}

/// What the records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Vault answers again.
    VaultUp {
        /// For how long it did not.
        after: Duration,
    },
    /// Vault does not answer, or not as it should. What is in use stays in use.
    VaultDown {
        /// How.
        fault: Fault,
    },
    /// There is a new token.
    LoggedIn,
    /// A login failed; told again when the reason is another one.
    LoginFailed {
        /// Why.
        fault: Fault,
    },
    /// The token ended, or Vault does not know it any more.
    TokenLost,
    /// The token cannot be renewed as it should: there is a login instead.
    TokenNotRenewed {
        /// Why; none: its longest life is near.
        fault: Option<Fault>,
    },
    /// The token may be used too few times to be of use: its role allows too few.
    TokenUsesTooFew,
    /// A wrapped secret was opened by somebody else, or was made where it should not be. No login until it is another one.
    Tampered,
    /// Logins in this hour are used up.
    LoginsHeld {
        /// Until then.
        until: Mono,
    },
    /// Mints of this credential in this hour are used up.
    MintsHeld {
        /// Until then.
        until: Mono,
    },
    /// It was read.
    Read {
        /// Whether its value is another one than before.
        changed: bool,
    },
    /// It was not read.
    ReadFailed {
        /// Why.
        fault: Fault,
    },
    /// The token is well and may not read it: a policy of Vault's says so. Told once until it is read.
    NotAllowed,
    /// It is not there, or its newest version is deleted: the last value stays in use. Told once until it is read.
    Missing {
        /// Its newest version is deleted.
        deleted: bool,
    },
    /// It has not been read for more than twice as long as it should. Told once until it is read.
    Stale {
        /// How old it is.
        age: Duration,
    },
    /// It ends soon. Told once for each value.
    Expiring {
        /// When.
        ends: Mono,
    },
    /// It has ended, and there is no newer one. Told once for each value.
    Expired,
    /// Its lease was renewed.
    LeaseRenewed,
    /// Its lease could not be renewed; it is kept, and tried again or replaced before its end. Told once for each lease.
    LeaseNotRenewed {
        /// Why.
        fault: Fault,
    },
    /// Its lease ended before there was another.
    LeaseLost,
    /// A lease that nothing needs could not be revoked. Told once for each lease.
    LeaseNotRevoked {
        /// Why.
        fault: Fault,
    },
    /// What was read could not be put to use; it is tried again.
    PublishFailed,
    /// What was read is in use.
    Published,
}

/// How the session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionView {
    /// There is a token, and Vault answers; or nothing needs Vault.
    pub up: bool,
    /// What is wrong; none: nothing, or nothing is known yet.
    pub fault: Option<Fault>,
    /// Since when it is up, or down.
    pub since: Mono,
    /// When the token ends; none: there is none, or one that never ends.
    pub token_ends: Option<Mono>,
    /// Logins are held until then: the hour's are used up, or what Iaso logs in with was tampered with.
    pub held_until: Option<Mono>,
}

/// How a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialView {
    /// Which.
    pub credential: CredentialId,
    /// A read of it was answered, well or not; or it was given up for now because Vault does not answer.
    pub tried: bool,
    /// The value in use; none: there never was one.
    pub digest: Option<Digest>,
    /// Its version.
    pub version: Option<u64>,
    /// When it was last read, or its lease renewed.
    pub read: Option<Mono>,
    /// When its value was last another one.
    pub changed: Option<Mono>,
    /// When it ends; its lease and the token that this depends on count.
    pub ends: Option<Mono>,
    /// It comes from the last run, and the source has not confirmed it yet.
    pub kept: bool,
    /// A newer value was read and is not in use yet.
    pub publishing: bool,
    /// It was not read for more than twice as long as it should, or it has ended.
    pub stale: bool,
    /// Why the last read brought nothing; none: it did, or there was none.
    pub fault: Option<Fault>,
    /// Mints are held until then: the hour's are used up.
    pub held_until: Option<Mono>,
    /// Reads that brought something, and that did not.
    pub reads: (u64, u64),
}
