//! What a service is called, where several ask for one name.

use std::sync::Arc;

use iaso_policy::id::ServiceId;

use super::{Fleet, Watched};
use crate::config::watch;

impl Fleet {
    /// The service of this name.
    pub(crate) fn named(&self, name: &str) -> Option<ServiceId> {
        let is_called_so = |known: &Watched| known.declared && *known.subject.name == *name;
        self.by_name.get(name).copied().filter(|id| self.service(*id).is_some_and(is_called_so))
    }

    /// The service's name, or, where another has it (several containers match one selector), one that its identity makes.
    /// A name of the file's is never a label's to take, whichever container comes first.
    pub(super) fn free_name(&self, watched: &watch::Watched) -> Arc<str> {
        let of_file = self.config.services.get(&watched.service.name) == Some(&watched.service);
        let taken = |name: &str| {
            let by_another = |id: ServiceId| self.services[id.0 as usize].subject.identity != watched.identity;
            !of_file && watch::is_of_file(&self.config, name) || self.named(name).is_some_and(by_another)
        };
        if !taken(&watched.name) {
            return Arc::from(watched.name.as_str());
        }
        let own = format!("{}-{}", watched.name, watched.identity.short_name());
        let name = Arc::from(if taken(&own) { watched.identity.as_str() } else { &own });
        let known = self.by_identity.get(&watched.identity).map(|id| &self.services[id.0 as usize].subject.name);
        if !of_file && known != Some(&name) {
            let (wanted, container) = (&watched.name, watched.identity.as_str());
            tracing::warn!(container, "another service is named `{wanted}` already: this one goes by `{name}`");
        }
        name
    }
}
