//! What people and their tools do to containers behind Iaso's back.

use super::operations::{Kind, Operation};
use super::{Due, Phase, World};
use crate::engine::{EngineError, EventAction};
use crate::sim::script::OnStop;

/// Something a person does to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `docker start`.
    Start,
    /// `docker stop`.
    Stop,
    /// `docker restart`.
    Restart,
    /// `docker kill -s N`.
    Kill(u8),
    /// `docker pause`.
    Pause,
    /// `docker unpause`.
    Unpause,
    /// `docker rm -f`.
    Remove,
    /// `docker rename`.
    Rename(String),
    /// It is recreated from the same definition.
    Deploy(Deployment),
}

/// A tool that recreates containers, each in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    /// Compose 1: stop, rename away, create, start, destroy.
    Compose1,
    /// Compose 2: create under another name, stop, destroy, rename, start.
    Compose2,
    /// watchtower: stop, destroy, create, start.
    Watchtower,
}

/// A replacement under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replacement {
    by: Deployment,
    /// The new container, where it exists already.
    new: Option<u128>,
}

impl World {
    /// A person acts on the container of this name, now. What takes time goes on by itself.
    ///
    /// # Errors
    /// What the engine tells at once: it is down or hangs ([`EngineError::Unreachable`]), there is no such container, or
    /// its state forbids it.
    pub fn person(&mut self, name: &str, act: &Act) -> Result<(), EngineError> {
        if !self.heeds_people() {
            return Err(super::operations::unreachable_engine());
        }
        let id = self.find(name).ok_or(EngineError::NotFound)?;
        match act {
            Act::Start => self.ordered(id, Kind::Start, false),
            Act::Stop => self.ordered(id, Kind::Stop, true),
            Act::Restart => self.ordered(id, Kind::Restart, false),
            Act::Remove => self.ordered(id, Kind::Remove { force: true }, true),
            Act::Kill(signal) => {
                self.signal_on_request(id, *signal)?;
                if let Some(c) = self.containers.get_mut(&id) {
                    let heeded = *signal == c.script.stop_signal && matches!(c.script.on_stop, OnStop::Exits { .. });
                    c.stopped_by_person |= *signal == 9 || heeded;
                }
            }
            Act::Pause => self.pause(id)?,
            Act::Unpause => {
                if self.containers.get(&id).is_none_or(|c| c.phase != Phase::Paused) {
                    return Err(EngineError::Conflict("the container is not paused".to_owned()));
                }
                self.thaw_process(id);
            }
            Act::Rename(to) => self.rename(id, to)?,
            Act::Deploy(by) => self.deploy(id, *by),
        }
        Ok(())
    }

    fn ordered(&mut self, id: u128, kind: Kind, down: bool) {
        if let Some(c) = self.containers.get_mut(&id) {
            c.stopped_by_person = down;
        }
        self.begin(id, Operation { kind, ticket: None, grace_ms: None });
    }

    fn pause(&mut self, id: u128) -> Result<(), EngineError> {
        let now = self.now;
        let c = self.containers.get_mut(&id).ok_or(EngineError::NotFound)?;
        if c.phase != Phase::Running {
            return Err(EngineError::Conflict("the container is not running".to_owned()));
        }
        c.set_phase(Phase::Paused, now);
        self.emit(id, EventAction::Pause);
        Ok(())
    }

    fn rename(&mut self, id: u128, to: &str) -> Result<(), EngineError> {
        if self.find(to).is_some() {
            return Err(EngineError::Conflict(format!("the name {to} is in use")));
        }
        if let Some(c) = self.containers.get_mut(&id) {
            to.clone_into(&mut c.name);
            to.clone_into(&mut c.script.name);
        }
        self.emit(id, EventAction::Rename);
        Ok(())
    }

    fn deploy(&mut self, id: u128, by: Deployment) {
        let new = if by == Deployment::Compose2 { self.create_successor(id, true) } else { None };
        let kind = Kind::Replace(Replacement { by, new });
        self.begin(id, Operation { kind, ticket: None, grace_ms: None });
    }

    /// The old one is stopped: what the tool does next.
    pub(super) fn replace(&mut self, id: u128, replacement: Replacement) {
        let Some(old) = self.containers.get(&id) else { return };
        let (name, start_ms) = (old.script.name.clone(), old.script.start_ms);
        let new = match (replacement.by, replacement.new) {
            (Deployment::Compose1, _) => {
                let away = temporary(id, &name);
                if let Some(c) = self.containers.get_mut(&id) {
                    c.name = away;
                }
                self.emit(id, EventAction::Rename);
                let new = self.create_successor(id, false);
                self.after(start_ms + 1, Due::Remove { id });
                new
            }
            (_, Some(new)) => {
                self.destroy(id);
                if let Some(c) = self.containers.get_mut(&new) {
                    c.name = name;
                }
                self.emit(new, EventAction::Rename);
                Some(new)
            }
            (_, None) => {
                let script = old.script.clone();
                self.destroy(id);
                Some(self.create(script).short())
            }
        };
        if let Some(new) = new {
            self.begin(new, Operation { kind: Kind::Start, ticket: None, grace_ms: None });
        }
    }

    fn create_successor(&mut self, id: u128, temporarily_named: bool) -> Option<u128> {
        let script = self.containers.get(&id)?.script.clone();
        let name = script.name.clone();
        let display = if temporarily_named { temporary(id, &name) } else { name };
        Some(self.create_named(script, display).short())
    }

    /// Removes what a deployment has replaced.
    pub(super) fn remove_replaced(&mut self, id: u128) {
        if self.containers.contains_key(&id) {
            self.destroy(id);
        }
    }
}

/// The name Compose gives a container that steps aside.
fn temporary(id: u128, name: &str) -> String {
    format!("{:012x}_{name}", id >> 80)
}
