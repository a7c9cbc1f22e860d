//! Carrying out what a rotation asks for: at the store of versions, and at the service that checks the value.

use std::sync::Arc;

use iaso_policy::credential::Fault;
use iaso_policy::credential::rotation::{Input, Look, Made, Mark, Origin, Outcome, Side, Stored, Tried};

use super::Setup;
use super::call::{self, Called};
use super::journal::Values;
use crate::config::secret::Secret;
use crate::config::validated::{Apply, Call, Credential, Rotation, Source};
use crate::credentials::generate::generate;
use crate::credentials::provider::{Failure, Fields};
use crate::credentials::template::Context;
use crate::credentials::vault::{Marks, Vault};

/// What was seen of a secret.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    version: u64,
    pub(super) fields: Option<Fields>,
    previous: Option<u64>,
}

/// The result of a call: the fact for the policy, and why it is no better, in words without any value.
pub(super) struct Heard {
    pub(super) input: Input,
    pub(super) words: Option<String>,
}

impl Heard {
    fn of(input: Input, words: Option<String>) -> Self {
        Self { input, words }
    }
}

/// One credential at the store and at its service.
#[derive(Clone)]
pub(super) struct Hand {
    pub(super) setup: Arc<Setup>,
    pub(super) vault: Arc<Vault>,
    pub(super) credential: Arc<Credential>,
}

impl Hand {
    fn place(&self) -> (&str, &str) {
        match &self.credential.source {
            Source::Kv2 { mount, path } => (mount, path),
            // Only the other is taken on.
            _ => ("", ""),
        }
    }

    fn rotation(&self) -> Option<&Rotation> {
        self.credential.rotation.as_ref()
    }

    /// Sees what is newest. The marks first: a version that is stored meanwhile is one whose marks were not seen.
    pub(super) async fn look(&self) -> (Heard, Option<Seen>) {
        let (mount, path) = self.place();
        let unseen = |failure: Failure| (Heard::of(Input::Looked(Look::Unknown), Some(failure.words)), None);
        let (newest, marks) = match self.vault.kv2_metadata(mount, path).await {
            Ok(metadata) => (Some(metadata.current_version), Marks::of(&metadata.custom)),
            Err(failure) if failure.fault == Fault::NotFound => (Some(0), Marks::default()),
            // Whoever may not read marks does without.
            Err(failure) if failure.fault == Fault::Denied => (None, Marks::default()),
            Err(failure) => return unseen(failure),
        };
        let previous = marks.previous();
        match self.vault.kv2_read(mount, path, None).await {
            Ok(fetched) => {
                let version = fetched.version.unwrap_or(0);
                let digest = self.setup.sealer.digest(&fetched.fields);
                let mark = match newest {
                    Some(newest) if newest != version => Mark::Behind,
                    _ => marks.mark(version),
                };
                let look = Look::Found { version, digest, mark };
                let seen = Seen { version, fields: Some(fetched.fields), previous };
                (Heard::of(Input::Looked(look), None), Some(seen))
            }
            Err(failure) if matches!(failure.fault, Fault::NotFound | Fault::Deleted) => match newest {
                Some(version) => {
                    let look = Input::Looked(Look::Nothing { version });
                    (Heard::of(look, None), Some(Seen { version, fields: None, previous }))
                }
                None => unseen(failure),
            },
            Err(failure) => unseen(failure),
        }
    }

    /// Gets the new value.
    pub(super) async fn make(
        &self,
        origin: Origin,
        seen: Option<Seen>,
        given: Option<Secret>,
    ) -> (Heard, Option<Fields>) {
        let no = |made, words: &str| (Heard::of(Input::Made(made), Some(words.to_owned())), None);
        let Some(seen) = seen else { return no(Made::Impossible, "nothing was seen of it") };
        let value = match (origin, self.rotation()) {
            (Origin::Rollback, _) => return self.version_before(&seen).await,
            (Origin::Set, _) => given,
            (Origin::Scheduled | Origin::Ordered, Some(rotation)) => Some(generate(&rotation.generator)),
            (Origin::Scheduled | Origin::Ordered, None) => None,
        };
        let Some(value) = value else { return no(Made::Impossible, "there is nothing that it could be made from") };
        // The other fields stay as they are.
        let mut fields = seen.fields.unwrap_or_default();
        fields.insert(self.credential.field.clone(), value);
        self.made(fields)
    }

    fn made(&self, fields: Fields) -> (Heard, Option<Fields>) {
        let digest = self.setup.sealer.digest(&fields);
        (Heard::of(Input::Made(Made::Value(digest)), None), Some(fields))
    }

    async fn version_before(&self, seen: &Seen) -> (Heard, Option<Fields>) {
        let (mount, path) = self.place();
        let before = seen.previous.filter(|previous| *previous < seen.version).or_else(|| seen.version.checked_sub(1));
        let Some(before) = before.filter(|before| *before > 0) else {
            return (Heard::of(Input::Made(Made::Impossible), Some("there is no version before".to_owned())), None);
        };
        match self.vault.kv2_read(mount, path, Some(before)).await {
            Ok(fetched) => self.made(fetched.fields),
            Err(failure) => {
                let lasting = matches!(failure.fault, Fault::NotFound | Fault::Deleted | Fault::Malformed);
                let made = if lasting { Made::Impossible } else { Made::NotDone };
                (Heard::of(Input::Made(made), Some(failure.words)), None)
            }
        }
    }

    pub(super) async fn store(&self, values: &Values, side: Side, cas: u64) -> Heard {
        let (mount, path) = self.place();
        let Some(fields) = fields_of(values, side) else {
            return Heard::of(Input::Stored(Stored::Refused), Some("the value is not known".to_owned()));
        };
        // Without marks others know less; that is no reason not to rotate.
        if side == Side::New
            && let Err(failure) = self.mark_base(mount, path, cas).await
            && failure.fault.is_outage()
        {
            return Heard::of(Input::Stored(Stored::NotDone), Some(failure.words));
        }
        match self.vault.kv2_write(mount, path, fields, cas).await {
            Ok(version) if version == cas + 1 => Heard::of(Input::Stored(Stored::Landed), None),
            Ok(_) => Heard::of(Input::Stored(Stored::Ambiguous), None),
            Err(failure) => Heard::of(Input::Stored(stored(failure.fault)), Some(failure.words)),
        }
    }

    /// Says, where no mark does yet, that the version which the next one is based on is in use. Whoever sees the next before it
    /// has a mark of its own then sees that it waits for one.
    async fn mark_base(&self, mount: &str, path: &str, base: u64) -> Result<(), Failure> {
        if base == 0 {
            return Ok(());
        }
        let metadata = self.vault.kv2_metadata(mount, path).await?;
        if metadata.current_version != base || Marks::of(&metadata.custom).say_what_is_in_use() {
            return Ok(());
        }
        self.vault.kv2_annotate(mount, path, &Marks::changes(base, None, None)).await
    }

    /// Marks which version is in use, which was before, and which is not published yet; `None` leaves the one before.
    pub(super) async fn mark(
        &self,
        current: u64,
        previous: Option<u64>,
        pending: Option<u64>,
    ) -> (Outcome, Option<String>) {
        let (mount, path) = self.place();
        let changes = Marks::changes(current, previous, pending);
        match self.vault.kv2_annotate(mount, path, &changes).await {
            Ok(()) => (Outcome::Done, None),
            Err(failure) if failure.fault.is_outage() => (Outcome::NotDone, Some(failure.words)),
            Err(failure) => (Outcome::Refused, Some(failure.words)),
        }
    }

    pub(super) async fn apply(&self, values: &Values, side: Side) -> Heard {
        let called = match self.rotation().map(|rotation| &rotation.apply) {
            Some(Apply::Call(call)) => self.call(call, "apply", values, side).await,
            _ => None,
        };
        let (outcome, words) = called.map_or((Outcome::NotDone, None), |called| (called.outcome, Some(called.words)));
        Heard::of(Input::Applied(outcome), words)
    }

    pub(super) async fn try_value(&self, values: &Values, side: Side) -> Heard {
        let called = match self.rotation().and_then(|rotation| rotation.verify.as_ref()) {
            Some(call) => self.call(call, "verify", values, side).await,
            None => None,
        };
        let tried = called.as_ref().map_or(Tried::Unknown, Called::tried);
        Heard::of(Input::Tried(tried), called.map(|called| called.words))
    }

    pub(super) async fn retire(&self, values: &Values) -> Heard {
        let called = match self.rotation().and_then(|rotation| rotation.retire.as_ref()) {
            Some(call) => self.call(call, "retire", values, Side::New).await,
            None => None,
        };
        let (outcome, words) = called.map_or((Outcome::Done, None), |called| (called.outcome, Some(called.words)));
        Heard::of(Input::Retired(outcome), words)
    }

    /// None when the value is not known, which is only so for the old side of what had none.
    async fn call(&self, call: &Call, which: &str, values: &Values, side: Side) -> Option<Called> {
        let other = if side == Side::New { Side::Old } else { Side::New };
        let field = &self.credential.field;
        let context = Context {
            credential: &self.credential.name,
            field,
            fields: fields_of(values, side)?,
            version: None,
            old: fields_of(values, other).and_then(|fields| fields.get(field)),
        };
        let place = format!("credentials.{}.rotation.{which}", self.credential.name);
        Some(call::make(call, &place, &context, &*self.setup.services, &self.setup.resolver).await)
    }
}

pub(super) const fn fields_of(values: &Values, side: Side) -> Option<&Fields> {
    match side {
        Side::New => values.new.as_ref(),
        Side::Old => values.old.as_ref(),
    }
}

/// What a write's failure says of the write. A denial may be that of a token which has ended: the session sees to it.
const fn stored(fault: Fault) -> Stored {
    match fault {
        Fault::Conflict => Stored::Conflict,
        Fault::Unreachable
        | Fault::Sealed
        | Fault::Standby
        | Fault::RateLimited { .. }
        | Fault::Denied
        | Fault::Unrecorded => Stored::NotDone,
        Fault::Ambiguous | Fault::Failing | Fault::Malformed | Fault::Tampered => Stored::Ambiguous,
        Fault::Refused | Fault::NotFound | Fault::Deleted => Stored::Refused,
    }
}
