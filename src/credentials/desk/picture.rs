//! What is published of it all, without a value.

use std::sync::Arc;

use iaso_policy::credential::keeper::CredentialView;
use iaso_policy::id::CredentialId;
use iaso_policy::time::{Mono, Now};

use super::Desk;
use super::holding::Holding;
use super::left::left_words;
use crate::credentials::mounts;
use crate::snapshot::{ComponentStatus, CredentialStatus, CredentialsPicture, VaultStatus};

impl Desk {
    /// How everything stands.
    pub(super) fn picture(&mut self, now: Now) -> CredentialsPicture {
        let views: Vec<CredentialView> = self.keeper.credentials(now.mono).collect();
        let tried = views.iter().all(|view| view.tried);
        let vault = self.means.vault.is_some().then(|| {
            let session = self.keeper.session(now.mono);
            let message = session.fault.map(|fault| {
                let held = if session.held_until.is_some() { "; logins are held" } else { "" };
                format!("{}{held}", self.session_words.as_deref().unwrap_or(fault.name()))
            });
            let since = self.at(session.since, now);
            VaultStatus {
                link: ComponentStatus { up: session.up, since, message },
                token_ends: session.token_ends.map(|at| self.ports.clock.wall_at(at).0),
            }
        });
        let credentials = views.iter().filter_map(|view| self.status(view, now)).map(Arc::new).collect();
        CredentialsPicture { vault, credentials, tried }
    }

    fn at(&self, mono: Mono, now: Now) -> Now {
        Now { mono, wall: self.ports.clock.wall_at(mono), boot: now.boot }
    }

    fn status(&mut self, view: &CredentialView, now: Now) -> Option<CredentialStatus> {
        let rotation = {
            let holding = self.holdings.get(&view.credential)?;
            self.rotations.status(&holding.spec.name)
        };
        let wall = |at: Mono| self.ports.clock.wall_at(at).0;
        let (fetched, expires) = (view.read.map(wall), view.ends.map(wall));
        let holding = self.holdings.get_mut(&view.credential)?;
        let message = trouble(holding, view);
        let well = message.is_none();
        if holding.well.0 != well {
            holding.well = (well, now);
        }
        let value = holding.current.as_ref();
        Some(CredentialStatus {
            name: Arc::clone(&holding.spec.name),
            kind: holding.spec.source.kind(),
            component: ComponentStatus { up: well, since: holding.well.1, message },
            version: value.and_then(|value| value.entry.version),
            fetched: fetched.or(value.map(|value| value.entry.fetched.0)),
            changed: value.map(|value| value.entry.changed.0),
            expires,
            kept: view.kept,
            services: holding.spec.services.clone(),
            files: holding.spec.files.iter().map(|file| file.path.display().to_string()).collect(),
            advice: holding.advice.clone(),
            rotation,
            reads: view.reads,
            operations: holding.counts.clone(),
        })
    }

    /// Looks at how the containers that use a credential see its files.
    pub(super) fn advise(&mut self, id: CredentialId) {
        let snapshot = Arc::clone(&self.ports.snapshots.borrow());
        let Some(holding) = self.holdings.get_mut(&id) else { return };
        let mut advice = Vec::new();
        let using = snapshot.services.iter().filter(|service| holding.spec.services.contains(&service.name));
        for container in using.filter_map(|service| service.container.as_ref()) {
            for file in &holding.spec.files {
                let mounts = container.mounts.iter().map(|mount| (&*mount.0, &*mount.1));
                advice.extend(mounts::seen(&file.path, mounts).warning(&file.path, &container.name));
            }
        }
        holding.advice = advice;
    }
}

/// What is wrong with a credential; none when nothing is.
fn trouble(holding: &Holding, view: &CredentialView) -> Option<String> {
    let words =
        || holding.words.clone().unwrap_or_else(|| view.fault.map_or("no value", |fault| fault.name()).to_owned());
    if let Some(unpublished) = &holding.unpublished {
        return Some(unpublished.clone());
    }
    if let Some(left) = &holding.left {
        return Some(left_words(&left.service));
    }
    match (view.digest.is_some(), view.stale) {
        (false, _) if view.fault.is_some() => Some(words()),
        (false, _) => Some("not read yet".to_owned()),
        (true, true) => Some(format!("old: {}", words())),
        (true, false) => holding.unkept.clone(),
    }
}
