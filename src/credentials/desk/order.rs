//! What people ask of credentials, and what rotations ask of the desk.

use std::sync::Arc;

use futures_util::FutureExt;
use iaso_policy::credential::keeper::Fact;
use iaso_policy::id::{CredentialId, RolloutId};

use super::files::{self, render_all};
use super::holding::{Value, entry};
use super::left::Standing;
use super::publish::{self, Rendered};
use super::{Desk, Done, Wanted};
use crate::config::validated::OnChange;
use crate::credentials::provider::Fields;
use crate::credentials::rotation;
use crate::orders::{CredentialOrder, CredentialReply, CredentialRequest};
use crate::rollouts::{FromCredentials, RolledOut};

impl Desk {
    /// Takes a person's order.
    pub(super) fn order(&mut self, request: CredentialRequest) {
        if request.reply.is_closed() {
            // Who asked was told that it took too long: nothing may happen behind their back.
            return;
        }
        let CredentialRequest { credential: name, order, by, request_id, reply } = request;
        let answer = match (self.id_of(&name), order) {
            (None, _) => CredentialReply::NoSuchCredential,
            (Some(id), CredentialOrder::Refresh) => {
                tracing::info!(credential = %name, %by, request_id, "a refresh was ordered");
                if let Some(holding) = self.holdings.get_mut(&id) {
                    holding.forgive();
                }
                self.record(None);
                self.step(Fact::Refresh { credential: id });
                CredentialReply::Taken("it is read again now".to_owned())
            }
            (Some(id), order) => {
                tracing::info!(credential = %name, %by, request_id, "a credential's order was taken");
                self.try_again(id, &order);
                self.rotations.order(&name, order)
            }
        };
        let _asker_gone = reply.send(answer);
        self.changed();
    }

    /// Who sets the value that the source has, and that was no good here, wants it tried again: no rotation comes of it.
    fn try_again(&mut self, id: CredentialId, order: &CredentialOrder) {
        let (Some(holding), CredentialOrder::Set(wanted)) = (self.holdings.get_mut(&id), order) else { return };
        let field = holding.spec.field.clone();
        let is_wanted = |fresh: &&Value| fresh.entry.fields.get(&field) == Some(wanted);
        let digest = holding.fresh.as_ref().filter(is_wanted).map(|fresh| fresh.digest);
        if digest.is_some() && digest == holding.rejected {
            holding.forgive();
            self.record(None);
            self.step(Fact::Refresh { credential: id });
        }
    }

    /// Does for a rotation what only the desk can.
    pub(super) fn wanted(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Told(entry) => self.pass_on(entry),
            Wanted::Publish { credential, version, fields } => self.publish_for_rotation(&credential, version, fields),
            Wanted::RollOut { credential, published } => self.roll_out_for_rotation(credential, published.wall.0),
            Wanted::Undo { credential } => self.undo_for_rotation(credential),
            Wanted::Settle { credential } => {
                let rollout = self.id_of(&credential).and_then(|id| self.holdings.get_mut(&id)?.rollout.take());
                if let Some(rollout) = rollout {
                    let supervisor = self.ports.supervisor.clone();
                    self.jobs.push(
                        async move {
                            let _stopping = supervisor.send(FromCredentials::Settle { rollout }).await;
                            Done::Nothing
                        }
                        .boxed(),
                    );
                }
            }
        }
        self.changed();
    }

    fn publish_for_rotation(&mut self, name: &Arc<str>, version: u64, fields: Fields) {
        let Some(id) = self.id_of(name) else { return };
        let digest = self.means.sealer.digest(&fields);
        let value = Value { digest, entry: entry(fields, Some(version), None, self.ports.clock.now().wall) };
        let Some(holding) = self.holdings.get_mut(&id) else { return };
        holding.for_rotation = Some(value);
        self.render_for_rotation(id);
    }

    /// Renders a rotation's value, where one waits and no other is on its way.
    pub(super) fn render_for_rotation(&mut self, id: CredentialId) {
        let Some(holding) = self.holdings.get_mut(&id).filter(|holding| holding.publishing.is_none()) else { return };
        let Some(value) = holding.for_rotation.take() else { return };
        let spec = Arc::clone(&holding.spec);
        let job = async move {
            let rendered = render_all(&spec, &value).await;
            Done::Rendered { credential: id, value, rendered }
        };
        self.jobs.push(job.boxed());
    }

    /// The files of a rotation's value were rendered.
    pub(super) fn rendered_for_rotation(&mut self, id: CredentialId, value: Value, rendered: &Rendered) {
        self.tell_rendered(id, &value, rendered);
        let now = self.ports.clock.mono();
        let Some(holding) = self.holdings.get_mut(&id) else { return };
        let name = Arc::clone(&holding.spec.name);
        let fact = if rendered.failed.is_empty() {
            // What was read before, or is being read, is older than this, and must not follow it.
            holding.fresh = None;
            holding.rotated = Some(now);
            let forgiven = holding.rejected == Some(value.digest) && holding.forgive();
            if forgiven {
                // It failed before; the rotation tells everybody of it anew, and says how that goes.
                holding.unpublished = None;
            }
            self.put_in_use(id, value);
            if forgiven {
                self.record(None);
            }
            Ok(())
        } else {
            Err(rendered.failed.join("; "))
        };
        self.rotations.fact(&name, rotation::Fact::Published(fact));
    }

    fn roll_out_for_rotation(&mut self, name: Arc<str>, published: i64) {
        let rollout = RolloutId(self.next_number());
        let Some(id) = self.id_of(&name) else { return };
        let users = self.users(id);
        let digest = self.holdings[&id].current.as_ref().map(|current| current.digest);
        if let Some(service) = digest.and_then(|digest| self.is_still_left(id, digest)) {
            // What the earlier rollout has set aside stays so.
            let fact = rotation::Fact::RolledOut(RolledOut::Left { service });
            return self.jobs.push(async move { Done::ForRotation { name, users, fact } }.boxed());
        }
        let Some(holding) = self.holdings.get_mut(&id) else { return };
        let is_told = holding.spec.on_change != OnChange::None && !holding.spec.services.is_empty();
        holding.rollout = is_told.then_some(rollout);
        let spec = Arc::clone(&holding.spec);
        let told = self.told();
        let job = async move {
            let rolled = publish::roll_out(&spec, rollout, Some(published), true, &told).await;
            let fact = rotation::Fact::RolledOut(rolled.unwrap_or(RolledOut::Done));
            Done::ForRotation { name, users, fact }
        };
        self.jobs.push(job.boxed());
    }

    fn undo_for_rotation(&mut self, name: Arc<str>) {
        let again = RolloutId(self.next_number());
        let Some(id) = self.id_of(&name) else { return };
        let users = self.users(id);
        let digest = self.holdings[&id].current.as_ref().map(|current| current.digest);
        if let Some(service) = digest.and_then(|digest| self.is_still_left(id, digest)) {
            let fact = rotation::Fact::Undone(RolledOut::Left { service });
            return self.jobs.push(async move { Done::ForRotation { name, users, fact } }.boxed());
        }
        let Some(holding) = self.holdings.get_mut(&id) else { return };
        let (spec, rollout) = (Arc::clone(&holding.spec), holding.rollout.take());
        let told = self.told();
        let job = async move {
            let undone = match rollout {
                Some(rollout) => Some(publish::undo(rollout, &told).await),
                None => None,
            };
            let rolled = match undone {
                // It was rolled out, in part or whole, by a run of Iaso that is over, and its reservation with it; or nothing
                // had to be set aside for it, since everybody had it.
                None | Some(RolledOut::Refused { .. }) => {
                    publish::roll_out(&spec, again, files::newest(&spec), false, &told).await.unwrap_or(RolledOut::Done)
                }
                Some(undone) => undone,
            };
            Done::ForRotation { name, users, fact: rotation::Fact::Undone(rolled) }
        };
        self.jobs.push(job.boxed());
    }

    /// How a rotation's rollout, or its undoing, ended.
    pub(super) fn for_rotation(&mut self, name: &str, users: &[Standing], fact: rotation::Fact) {
        if let (Some(id), rotation::Fact::RolledOut(ended) | rotation::Fact::Undone(ended)) = (self.id_of(name), &fact)
        {
            let current = self.holdings.get_mut(&id).and_then(|holding| {
                holding.left = None;
                holding.current.clone()
            });
            if let (RolledOut::Left { service }, Some(current)) = (ended, current) {
                self.leave(id, current, Arc::clone(service), users);
            }
        }
        self.rotations.fact(name, fact);
        self.changed();
    }

    /// What the keeper wanted while another value was on its way, or a rotation under way, is done once that is over.
    pub(super) fn after_rotations(&mut self) {
        let waiting: Vec<_> = self.holdings.iter().filter_map(|(id, holding)| Some((*id, holding.put_off?))).collect();
        for (id, digest) in waiting {
            let Some(holding) = self.holdings.get_mut(&id) else { continue };
            if holding.publishing.is_some() || self.rotations.in_use(&holding.spec.name).is_some() {
                continue;
            }
            holding.put_off = None;
            self.begin_publishing(id, digest);
        }
    }
}
