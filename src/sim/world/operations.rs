//! Changes to containers, one at a time for each, with the engine's timing and events.

use std::time::Duration;

use super::container::millis;
use super::{Due, Exit, Happening, Phase, Power, Ticket, World};
use crate::engine::{Change, Changed, EngineError, EventAction, ExecOutput};
use crate::sim::script::{Cure, OnStop};

/// The grace of a stop that names none.
const DEFAULT_GRACE_MS: i64 = 10_000;
/// From a kill to the end of the process, and of a call that needs no waiting.
const PROMPT_MS: i64 = 5;

/// A change under way or waiting for the one before it.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    /// Who waits for the answer; nobody for a person's doings and the engine's own.
    pub(super) ticket: Option<Ticket>,
    pub(super) grace_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Start,
    Stop,
    Restart,
    /// `rm`, or `rm -f`.
    Remove {
        force: bool,
    },
    /// Stopped to be replaced by the container of this id.
    Replace(super::person::Replacement),
    /// The engine stops it because it stops itself.
    Shutdown,
}

impl World {
    /// Asks for a change as an API client does, now. Its answer comes out of [`World::advance`]; when the engine cannot be
    /// reached or hangs for good, or the container is stuck, it may be an error or never come.
    pub fn begin_change(&mut self, id: u128, change: &Change, grace: Option<Duration>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if self.faults.power != Power::On {
            self.tell(Happening::Answered { ticket, result: Err(unreachable_engine()) });
        } else if self.faults.hangs {
            self.faults.parked.push((ticket, id, change.clone(), grace));
        } else {
            self.take_up(ticket, id, change, grace);
        }
        ticket
    }

    pub(super) fn take_up(&mut self, ticket: Ticket, id: u128, change: &Change, grace: Option<Duration>) {
        if self.faults.denies(self.now) {
            return self.answer(Some(ticket), Err(denied()));
        }
        if !self.containers.contains_key(&id) {
            return self.answer(Some(ticket), Err(EngineError::NotFound));
        }
        let kind = match change {
            Change::Start => Kind::Start,
            Change::Stop => Kind::Stop,
            Change::Restart => Kind::Restart,
            Change::Signal(signal) => {
                let result = self.signal_on_request(id, *signal).map(|()| Changed::Done);
                return self.answer(Some(ticket), result);
            }
            Change::Exec(command) => return self.exec_on_request(ticket, id, command),
        };
        self.begin(id, Operation { kind, ticket: Some(ticket), grace_ms: grace.map(millis) });
    }

    /// Begins an operation, or puts it behind the one under way.
    pub(super) fn begin(&mut self, id: u128, operation: Operation) {
        let Some(c) = self.containers.get_mut(&id) else {
            return self.answer(operation.ticket, Err(EngineError::NotFound));
        };
        if c.running.is_some() {
            c.waiting.push_back(operation);
            return;
        }
        let (phase, kind) = (c.phase, operation.kind.clone());
        let grace = operation.grace_ms.or(c.script.stop_grace.map(millis)).unwrap_or(DEFAULT_GRACE_MS);
        c.running = Some(operation);
        match (kind, phase) {
            (Kind::Start, Phase::Running | Phase::Waiting(_)) => self.conclude(id, Ok(Changed::Already)),
            (Kind::Start, Phase::Paused) => {
                let why = "cannot start a paused container, try unpause instead";
                self.conclude(id, Err(EngineError::Conflict(why.to_owned())));
            }
            (Kind::Stop, Phase::Created | Phase::Exited(_)) => self.conclude(id, Ok(Changed::Already)),
            (Kind::Start | Kind::Restart, Phase::Created | Phase::Exited(_)) => self.start(id),
            (Kind::Remove { force: false }, Phase::Running | Phase::Paused | Phase::Waiting(_)) => {
                let why = "cannot remove a running container";
                self.conclude(id, Err(EngineError::Conflict(why.to_owned())));
            }
            (Kind::Remove { .. }, Phase::Running | Phase::Paused) => {
                self.signal(id, 9);
            }
            (Kind::Remove { .. }, _) => self.destroy(id),
            (kind @ (Kind::Stop | Kind::Restart | Kind::Replace(_) | Kind::Shutdown), Phase::Waiting(code)) => {
                if let Some(c) = self.containers.get_mut(&id) {
                    c.phase = Phase::Exited(code);
                    c.stopped_on_request |= kind != Kind::Shutdown;
                }
                self.emit(id, EventAction::Stop);
                self.stopped(id);
            }
            (Kind::Replace(_) | Kind::Shutdown, Phase::Created | Phase::Exited(_)) => self.stopped(id),
            (kind, Phase::Running | Phase::Paused) => self.ask_to_stop(id, &kind, grace),
        }
    }

    fn ask_to_stop(&mut self, id: u128, kind: &Kind, grace: i64) {
        let Some(c) = self.containers.get_mut(&id) else { return };
        c.stopped_on_request |= *kind != Kind::Shutdown;
        let (life, signal) = (c.life, c.script.stop_signal);
        self.after(grace, Due::GraceOver { id, life });
        self.signal(id, signal);
    }

    /// Sends a signal: the event, then what the program makes of it.
    fn signal(&mut self, id: u128, signal: u8) {
        self.emit(id, EventAction::Kill(signal));
        let Some(c) = self.containers.get_mut(&id) else { return };
        let (life, is_stop) = (c.life, signal == c.script.stop_signal);
        if c.script.cures.contains(&Cure::Signal(signal)) {
            c.cure();
        }
        let on_stop = c.script.on_stop;
        if is_stop && signal != 9 && c.phase == Phase::Paused {
            self.thaw_process(id);
        }
        let exit = match (signal, on_stop) {
            (_, OnStop::Stuck) => None,
            (9, _) => Some((PROMPT_MS, Exit { code: 137, oom: false, killed: true })),
            (_, OnStop::Exits { code, after_ms }) if is_stop => {
                Some((after_ms, Exit { code, oom: false, killed: false }))
            }
            _ => None,
        };
        if let Some((after, exit)) = exit {
            self.after(after, Due::Exit { id, life, exit });
        }
    }

    /// `docker kill -s`: any signal that somebody sends turns the restart policy off for this life.
    pub(super) fn signal_on_request(&mut self, id: u128, signal: u8) -> Result<(), EngineError> {
        let c = self.containers.get_mut(&id).ok_or(EngineError::NotFound)?;
        match c.phase {
            Phase::Created | Phase::Exited(_) => Err(EngineError::Conflict("the container is not running".to_owned())),
            Phase::Waiting(code) => {
                c.stopped_on_request = true;
                c.phase = Phase::Exited(code);
                Ok(())
            }
            Phase::Running | Phase::Paused => {
                c.stopped_on_request = true;
                self.signal(id, signal);
                Ok(())
            }
        }
    }

    /// `docker exec` as a change: what may cure.
    fn exec_on_request(&mut self, ticket: Ticket, id: u128, command: &[String]) {
        let runs = self.exec(id, command).is_ok();
        if let Some(c) = self.containers.get_mut(&id).filter(|c| runs && c.script.cures.contains(&Cure::Exec)) {
            c.cure();
        }
        let result = self.exec(id, command).map(|output| match output.code {
            0 => Changed::Done,
            code => Changed::CommandFailed(code),
        });
        self.answer(Some(ticket), result);
    }

    /// `docker exec`. `true` and `false` end as everywhere and there is no file to run by its path; any other command asks
    /// the container's program, and ends well if that serves.
    ///
    /// # Errors
    /// As a real engine's; a proxy that denies changes denies this too.
    pub fn exec(&self, id: u128, command: &[String]) -> Result<ExecOutput, EngineError> {
        if self.faults.denies(self.now) {
            return Err(denied());
        }
        let container = self.containers.get(&id).ok_or(EngineError::NotFound)?;
        match container.phase {
            Phase::Running => {}
            Phase::Paused => return Err(EngineError::ContainerPaused),
            Phase::Created | Phase::Waiting(_) | Phase::Exited(_) => return Err(EngineError::ContainerStopped),
        }
        let program = command.first().map_or("", String::as_str);
        if program.is_empty() || program.contains('/') {
            let message = format!("{program:?}: no such file or directory");
            return Err(EngineError::CannotExecute { code: 127, message });
        }
        let ends_well = program == "true" || (program != "false" && self.serves(container));
        Ok(ExecOutput { code: i64::from(!ends_well), output: format!("{}\n", command.join(" ")) })
    }

    pub(super) fn grace_over(&mut self, id: u128, life: u32) {
        let Some(c) = self.containers.get(&id) else { return };
        let Some(operation) = c.running.as_ref() else { return };
        if c.life != life || !c.alive() {
            return;
        }
        // An engine that stops does not wait for what cannot be killed.
        let abandoned = c.script.on_stop == OnStop::Stuck && operation.kind == Kind::Shutdown;
        self.signal(id, 9);
        if abandoned {
            self.after(PROMPT_MS, Due::Exit { id, life, exit: Exit { code: 137, oom: false, killed: true } });
        }
    }

    /// A process has ended: whether an operation had asked for that, which goes on then.
    pub(super) fn stop_went_through(&mut self, id: u128) -> bool {
        let Some(operation) = self.containers.get(&id).and_then(|c| c.running.as_ref()) else { return false };
        match operation.kind {
            // It has died while an operation for its start was concluding; that end is its own.
            Kind::Start => return false,
            Kind::Remove { .. } => self.destroy(id),
            Kind::Stop | Kind::Restart | Kind::Replace(_) | Kind::Shutdown => {
                self.emit(id, EventAction::Stop);
                self.stopped(id);
            }
        }
        true
    }

    /// It is stopped, for the operation under way to go on.
    fn stopped(&mut self, id: u128) {
        let Some(c) = self.containers.get(&id) else { return };
        let Some(kind) = c.running.as_ref().map(|operation| operation.kind.clone()) else { return };
        let auto_remove = c.script.auto_remove;
        let by_person = c.running.as_ref().is_some_and(|operation| operation.ticket.is_none());
        match kind {
            Kind::Restart => self.start(id),
            Kind::Replace(replacement) => self.replace(id, replacement),
            Kind::Shutdown => {
                self.conclude(id, Ok(Changed::Done));
                self.shut_down_when_all_stopped();
            }
            _ => {
                if let Some(c) = self.containers.get_mut(&id).filter(|_| by_person) {
                    c.stopped_by_person = true;
                }
                self.conclude(id, Ok(Changed::Done));
                if auto_remove {
                    self.destroy(id);
                }
            }
        }
    }

    fn start(&mut self, id: u128) {
        let Some((life, start_ms)) = self.containers.get(&id).map(|c| (c.life, c.script.start_ms)) else { return };
        self.after(start_ms, Due::Started { id, life });
    }

    pub(super) fn started(&mut self, id: u128, life: u32) {
        let Some(c) = self.containers.get_mut(&id) else { return };
        // Asked for by an operation that the engine's end has cut off.
        if c.life != life || c.alive() {
            return;
        }
        let Some(kind) = c.running.as_ref().map(|operation| operation.kind.clone()) else { return };
        if !matches!(kind, Kind::Start | Kind::Restart) {
            return;
        }
        c.life += 1;
        let fails = c.wont_start();
        c.life -= u32::from(!fails);
        if fails {
            c.phase = Phase::Exited(128);
            let message = "the simulated runtime cannot start it".to_owned();
            return self.conclude(id, Err(EngineError::Failed { status: 500, message }));
        }
        self.forget_policy_restarts(id);
        self.bring_to_life(id);
        if kind == Kind::Restart {
            self.emit(id, EventAction::Restart);
        }
        self.conclude(id, Ok(Changed::Done));
    }

    /// Ends the operation under way and begins the next one that waits.
    pub(super) fn conclude(&mut self, id: u128, result: Result<Changed, EngineError>) {
        let Some(c) = self.containers.get_mut(&id) else { return };
        let Some(operation) = c.running.take() else { return };
        let next = c.waiting.pop_front();
        self.answer(operation.ticket, result);
        if let Some(next) = next {
            self.begin(id, next);
        }
    }

    /// Removes a container; whatever waited for it is told so.
    pub(super) fn destroy(&mut self, id: u128) {
        self.emit(id, EventAction::Destroy);
        let Some(gone) = self.containers.remove(&id) else { return };
        if let Some(operation) = gone.running {
            self.answer(operation.ticket, Ok(Changed::Done));
        }
        for operation in gone.waiting {
            self.answer(operation.ticket, Err(EngineError::NotFound));
        }
    }

    /// Ends every operation as the engine goes away.
    pub(super) fn abandon_operations(&mut self) {
        let abandoned: Vec<Operation> = self
            .containers
            .values_mut()
            .flat_map(|c| c.running.take().into_iter().chain(c.waiting.drain(..)))
            .collect();
        for ticket in abandoned.into_iter().filter_map(|operation| operation.ticket) {
            self.tell(Happening::Answered { ticket, result: Err(unreachable_engine()) });
        }
    }

    fn answer(&mut self, ticket: Option<Ticket>, result: Result<Changed, EngineError>) {
        let Some(ticket) = ticket else { return };
        let after = PROMPT_MS + self.faults.answer_delay(self.now);
        self.after(after, Due::Answer { ticket, result });
    }
}

fn denied() -> EngineError {
    EngineError::NotPermitted("the simulated proxy denies changes".to_owned())
}

pub(super) fn unreachable_engine() -> EngineError {
    EngineError::Unreachable("the simulated engine is down".to_owned())
}
