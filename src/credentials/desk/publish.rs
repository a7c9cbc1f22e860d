//! Putting a value to use: its files, then the containers that use it, and the way back where they do not get well with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use iaso_policy::credential::keeper::{Fact, Lease};
use iaso_policy::id::{CredentialId, Digest, RolloutId};
use iaso_policy::spec::Step;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::files::{context, newest, render_all};
use super::holding::Value;
use super::left::{Standing, left_words};
use super::{Desk, Done};
use crate::config::validated::{Credential, OnChange};
use crate::credentials::template;
use crate::rollouts::{FromCredentials, RollOut, RolledOut};
use crate::snapshot::Snapshot;
use crate::system::clock::stopwatch;

/// How long a service that is told nothing has to read its file again before what it used until then is given back.
const REREAD: Duration = Duration::from_secs(300);
/// What is said of a value that an earlier run found to be no good.
const REJECTED: &str = "a service did not become healthy with the newest value; it is not tried again until there is another, \
                        or a refresh is ordered";

/// A value on its way.
pub(super) struct Publishing {
    pub(super) value: Value,
    pub(super) rollout: RolloutId,
    /// How those who use it stood when its way began.
    users: Vec<Standing>,
}

/// What came of it.
pub(super) struct Published {
    credential: CredentialId,
    value: Value,
    rollout: RolloutId,
    rendered: Rendered,
    took: Duration,
    ended: Ending,
}

/// How the way of a value ended.
enum Ending {
    /// Everything uses it.
    InUse,
    /// Everything uses it but those that run and are left alone; this is the first of them.
    Left { service: Arc<str> },
    /// It could not be rendered whole, or not be rolled out, and is tried again.
    NotYet(String),
    /// A newer one took its place.
    Replaced,
    /// This service did not become healthy with it. Everything is as it was before, as far as the words tell.
    Rejected { service: Arc<str>, undone: String },
}

/// What rendering came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Rendered {
    /// Files whose bytes are others now.
    pub(super) changed: Vec<PathBuf>,
    /// Files that could not be rendered, in words.
    pub(super) failed: Vec<String>,
}

/// Everything that the way of a value needs; it runs beside the desk.
struct Way {
    credential: CredentialId,
    spec: Arc<Credential>,
    new: Value,
    /// What is in use, to go back to.
    old: Option<Value>,
    rollout: RolloutId,
    /// Services went on without the value that was rolled out before.
    left: bool,
    told: Told,
}

/// The way to those who use a credential: the supervisor, and what it sees of them.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) supervisor: mpsc::Sender<FromCredentials>,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Desk {
    /// The keeper wants this value to be used.
    pub(super) fn begin_publishing(&mut self, credential: CredentialId, digest: Digest) {
        let rollout = RolloutId(self.next_number());
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        let name = Arc::clone(&holding.spec.name);
        let under_way = holding.publishing.as_ref();
        if under_way.is_some_and(|publishing| publishing.value.digest == digest) {
            return;
        }
        if under_way.is_some() || self.rotations.in_use(&name).is_some() {
            // One value is on its way at a time, and while it is rotated the rotation says which.
            holding.put_off = Some(digest);
            return;
        }
        let Some(new) = holding.value(digest).cloned() else {
            // A newer one has taken its place.
            self.step_later(Fact::Published { credential, digest, ok: false });
            return self.step_later(Fact::Refresh { credential });
        };
        if holding.rejected == Some(digest) {
            // Of an earlier run there are no words.
            holding.unpublished.get_or_insert_with(|| REJECTED.to_owned());
            return self.step_later(Fact::Published { credential, digest, ok: false });
        }
        if self.is_still_left(credential, digest).is_some() {
            return self.step_later(Fact::Published { credential, digest, ok: false });
        }
        let users = self.users(credential);
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        if self.ports.observe {
            let files: Vec<String> = holding.spec.files.iter().map(|file| file.path.display().to_string()).collect();
            if !files.is_empty() {
                let words = format!("it would be put into {}", files.join(", "));
                self.tell(name, ("would_render", tracing::Level::INFO, words));
            }
            return self.step_later(Fact::Published { credential, digest, ok: true });
        }
        holding.publishing = Some(Publishing { value: new.clone(), rollout, users });
        // The others may use the left one; tried again, it is not what there is to go back to.
        let left = holding.left.as_ref().filter(|left| left.value.digest != digest);
        let way = Way {
            credential,
            spec: Arc::clone(&holding.spec),
            left: holding.left.is_some(),
            new,
            old: left.map(|left| &left.value).or(holding.current.as_ref()).cloned(),
            rollout,
            told: self.told(),
        };
        self.jobs.push(async move { Done::Published(way.go().await) }.boxed());
    }

    pub(super) fn told(&self) -> Told {
        Told { supervisor: self.ports.supervisor.clone(), snapshots: self.ports.snapshots.clone() }
    }

    /// A fact that follows from the step that is under way.
    fn step_later(&mut self, fact: Fact) {
        self.jobs.push(async move { Done::Fact(fact) }.boxed());
    }

    /// Sees to it that its files hold what is in use, once in a run: another template or mode may be configured now.
    pub(super) fn check_place(&mut self, credential: CredentialId) {
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        let idle = holding.publishing.is_none() && self.rotations.in_use(&holding.spec.name).is_none();
        let Some(current) = holding.current.as_ref().filter(|_| idle && !holding.checked && !self.ports.observe) else {
            return;
        };
        let digest = current.digest;
        holding.checked = true;
        self.begin_publishing(credential, digest);
    }

    pub(super) fn published(&mut self, published: Published) {
        let Published { credential, value, rollout, rendered, took, ended } = published;
        let digest = value.digest;
        self.tell_rendered(credential, &value, &rendered);
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        holding.count("render", rendered.failed.is_empty(), took);
        let Some(way) = holding.publishing.take_if(|publishing| publishing.rollout == rollout) else { return };
        let name = Arc::clone(&holding.spec.name);
        match ended {
            Ending::InUse => {
                holding.unpublished = None;
                holding.left = None;
                holding.checked = true;
                let forgiven = holding.forgive();
                self.put_in_use(credential, value);
                if forgiven {
                    self.record(None);
                }
                self.step(Fact::Published { credential, digest, ok: true });
                self.release(credential);
            }
            Ending::Left { service } => {
                let why = left_words(&service);
                self.leave(credential, value, service, &way.users);
                self.not_yet(credential, digest, why);
            }
            Ending::NotYet(why) => self.not_yet(credential, digest, why),
            Ending::Replaced => self.step(Fact::Published { credential, digest, ok: false }),
            Ending::Rejected { service, undone } => {
                let words = format!("{service} did not become healthy with the new value; {undone}");
                holding.rejected = Some(digest);
                holding.judged = true;
                holding.unpublished = Some(words.clone());
                self.tell(name, ("rejected", tracing::Level::ERROR, words));
                self.record(None);
                self.step(Fact::Published { credential, digest, ok: false });
            }
        }
        self.render_for_rotation(credential);
    }

    /// It is not what everything uses, and is tried again.
    fn not_yet(&mut self, credential: CredentialId, digest: Digest, why: String) {
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        if holding.unpublished.as_ref() != Some(&why) {
            holding.unpublished = Some(why.clone());
            let name = Arc::clone(&holding.spec.name);
            self.tell(name, ("not_in_use", tracing::Level::WARN, why));
        }
        self.step(Fact::Published { credential, digest, ok: false });
    }

    /// Leases of values before, which an earlier run left, are needed no more.
    pub(super) fn release(&mut self, credential: CredentialId) {
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        let left = holding.left.as_ref().map(|left| &left.value);
        let held = [holding.current.as_ref(), holding.fresh.as_ref(), left].into_iter().flatten();
        let held: Vec<_> = held.filter_map(|value| Some(value.entry.lease.as_ref()?.id.clone())).collect();
        let is_held =
            |lease: &mut Lease| self.leases.get(&lease.key).is_some_and(|known| held.contains(&known.lease.id));
        let needless: Vec<_> = holding.left_over.extract_if(.., |lease| !is_held(lease)).collect();
        for lease in needless {
            self.step(Fact::Leftover(lease));
        }
    }

    /// A value is what everything uses from now on.
    pub(super) fn put_in_use(&mut self, credential: CredentialId, mut value: Value) {
        let wall = self.ports.clock.now().wall;
        let Some(holding) = self.holdings.get_mut(&credential) else { return };
        if holding.current.as_ref().is_some_and(|current| current.digest == value.digest) {
            return;
        }
        let _in_use_now = holding.fresh.take_if(|fresh| fresh.digest == value.digest);
        value.entry.changed = wall;
        let is_rotated = self.rotations.in_use(&holding.spec.name).is_some();
        holding.before = holding.current.replace(value).filter(|_| is_rotated);
        self.keep_current(credential);
        self.advise(credential);
    }

    /// Tells which files were given a value, which may be one that is put back, or gone from them again by now.
    pub(super) fn tell_rendered(&mut self, credential: CredentialId, value: &Value, rendered: &Rendered) {
        let Some(holding) = self.holdings.get(&credential) else { return };
        let name = Arc::clone(&holding.spec.name);
        let which = match value.entry.version {
            Some(version) => format!("version {version}"),
            None if holding.current.as_ref().is_some_and(|current| current.digest == value.digest) => {
                "the value in use".to_owned()
            }
            None => "the new value".to_owned(),
        };
        for path in &rendered.changed {
            let words = format!("{} was given {which}", path.display());
            self.tell(Arc::clone(&name), ("rendered", tracing::Level::INFO, words));
        }
    }
}

impl Way {
    async fn go(self) -> Published {
        let took = stopwatch();
        let rendered = render_all(&self.spec, &self.new).await;
        let took = took();
        let ended = if !rendered.failed.is_empty() {
            Ending::NotYet(rendered.failed.join("; "))
        } else if !rendered.changed.is_empty() || self.is_news().await {
            // Or it was rendered before: by a run that ended then, beside a file that could not be, or when some were left out.
            self.roll_out(!rendered.changed.is_empty()).await
        } else {
            Ending::InUse
        };
        let Self { credential, rollout, new: value, .. } = self;
        Published { credential, value, rollout, rendered, took, ended }
    }

    /// Tells whoever uses it; where one does not get well with it, everything goes back.
    async fn roll_out(&self, is_rendered_now: bool) -> Ending {
        let spec = &self.spec;
        // Who has it since it was written is known by the clock alone, which may have been set back. So what was written just now
        // nobody has, except where a host is waited for: who starts meanwhile has it.
        let is_waited_for = !are_known(&spec.services, &self.told.snapshots.borrow());
        let written = newest(spec).filter(|_| is_waited_for || !is_rendered_now);
        let Some(rolled) = roll_out(spec, self.rollout, written, self.old.is_some(), &self.told).await else {
            if self.old.as_ref().is_some_and(|old| old.entry.lease.is_some()) {
                // Who reads its file by itself has this long before what it uses is given back.
                sleep(REREAD).await;
            }
            return Ending::InUse;
        };
        match rolled {
            RolledOut::Done => {
                self.settle().await;
                Ending::InUse
            }
            RolledOut::Left { service } => {
                self.settle().await;
                Ending::Left { service }
            }
            RolledOut::Replaced => Ending::Replaced,
            RolledOut::Refused { why } => {
                Ending::NotYet(format!("who uses it cannot be told, and its files hold it: {why}"))
            }
            RolledOut::Failed { service } => match &self.old {
                Some(old) => Ending::Rejected { service, undone: self.go_back(old).await },
                None => Ending::Rejected { service, undone: "there is none to go back to".to_owned() },
            },
        }
    }

    /// Whether any file reads otherwise with it than with what is in use.
    async fn is_news(&self) -> bool {
        let old = match &self.old {
            // Some have not even the one before, however alike the two read.
            _ if self.left => return true,
            Some(old) if old.digest == self.new.digest => return false,
            Some(old) => old.clone(),
            // Nothing is known of before: whoever has not started since the file was written may not have it.
            None => return self.spec.on_change == OnChange::Restart,
        };
        let (spec, new) = (Arc::clone(&self.spec), self.new.clone());
        let differs = move || {
            let text = |index, value: &Value| {
                let contents = template::contents(&spec.files[index], index, &context(&spec, value));
                contents.map(|text| text.expose().to_owned()).ok()
            };
            (0..spec.files.len()).any(|index| text(index, &old) != text(index, &new))
        };
        tokio::task::spawn_blocking(differs).await.unwrap_or(true)
    }

    async fn go_back(&self, old: &Value) -> String {
        let rendered = render_all(&self.spec, old).await;
        if !rendered.failed.is_empty() {
            self.settle().await;
            return format!("the one before it could not be put back: {}", rendered.failed.join("; "));
        }
        match undo(self.rollout, &self.told).await {
            RolledOut::Done => "the one before it is in use again".to_owned(),
            RolledOut::Left { service } => {
                format!(
                    "the one before it is back, and {service}, which runs and is to be left alone, may have the new one"
                )
            }
            RolledOut::Failed { service } => {
                format!("the one before it is back, and {service} is not healthy with it either")
            }
            RolledOut::Refused { why } => {
                format!("the one before it is back, and who uses it could not be told: {why}")
            }
            RolledOut::Replaced => "the one before it is back".to_owned(),
        }
    }

    async fn settle(&self) {
        // Nobody listens any more only when Iaso stops.
        let _stopping = self.told.supervisor.send(FromCredentials::Settle { rollout: self.rollout }).await;
    }
}

/// Tells the services that use a credential of its change, which was `written` at that time; none where nobody is to be told.
pub(super) async fn roll_out(
    spec: &Credential,
    rollout: RolloutId,
    written: Option<i64>,
    undoable: bool,
    told: &Told,
) -> Option<RolledOut> {
    let step = match spec.on_change {
        OnChange::None => return None,
        OnChange::Signal(signal) => Step::Signal(signal),
        OnChange::Restart => Step::Restart,
    };
    let services = &spec.services;
    if services.is_empty() {
        return None;
    }
    // A host that was not seen in this run would be passed over, and its containers go on with what is retired.
    let mut snapshots = told.snapshots.clone();
    drop(snapshots.wait_for(|snapshot| are_known(services, snapshot)).await);
    let (ended, result) = oneshot::channel();
    let request = RollOut {
        rollout,
        credential: Arc::clone(&spec.name),
        key: spec.key(),
        services: services.clone(),
        written,
        step,
        max_per_hour: spec.max_per_hour,
        splay: spec.splay,
        undoable,
        ended,
    };
    let sent = told.supervisor.send(FromCredentials::RollOut(request)).await;
    Some(if sent.is_ok() { result.await.unwrap_or(RolledOut::Replaced) } else { RolledOut::Replaced })
}

/// Whether the containers of these services are known: each was seen, or is known not to be there.
fn are_known(services: &[Arc<str>], snapshot: &Snapshot) -> bool {
    let reached = !snapshot.hosts.is_empty() && snapshot.hosts.iter().all(|host| host.link.up);
    services.iter().all(|name| {
        let seen = snapshot.services.iter().any(|known| known.name == *name);
        seen || (reached && snapshot.waiting.contains(name))
    })
}

/// Tells those that learned of a change that it was put back.
pub(super) async fn undo(rollout: RolloutId, told: &Told) -> RolledOut {
    let (ended, result) = oneshot::channel();
    let sent = told.supervisor.send(FromCredentials::Undo { rollout, ended }).await;
    if sent.is_ok() { result.await.unwrap_or(RolledOut::Replaced) } else { RolledOut::Replaced }
}
