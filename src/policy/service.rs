//! One service: what is known of it, and how it stands.
//!
//! ```text
//!            trouble, nothing holds                 the engine answered
//!   Idle ───────────────────────────▶ Operating ───────────────────────▶ Verifying
//!    ▲                                    │ refused, failed, moot            │ healthy and stable: healed
//!    └────────────────────────────────────┴──────────────────────────────────┘ broken again, or too late: failed
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Cause, Trouble};
use crate::alert::Announced;
use crate::budget::Ledger;
use crate::check::Check;
use crate::id::{AttemptId, IncidentId, Instance, ServiceId};
use crate::input::{Container, EngineHealth, RestartPolicy, Sight, State};
use crate::maintenance::Ordered;
use crate::outage::Incident;
use crate::record::{Event, Health, Hold, Record};
use crate::spec::{AfterGap, Lifecycle, OnFailure, ServiceSpec, Step};
use crate::time::Mono;
use crate::turn::Turn;
use crate::view::{HoldView, Phase, QuarantineView};
use crate::weather::Sky;

/// Restarts by the engine's own policy are counted over this span; three or more within it are a loop.
pub(crate) const LOOP_WINDOW: Duration = Duration::from_secs(600);
pub(crate) const LOOP: u32 = 3;

/// After an exit under a restart policy in force, how long the engine has to begin its own restart.
pub(crate) const ENGINE_FIRST: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) spec: Box<ServiceSpec>,

    // What is known.
    pub(crate) container: Option<Container>,
    pub(crate) sight: Option<Sight>,
    /// When the newest transition of `sight` began: older observations are dropped.
    pub(crate) latest: Mono,
    /// When the newest observation began, news or not.
    pub(crate) seen_at: Mono,
    /// Somebody else's stop signal was seen on this life, and when.
    pub(crate) stop_signal: Option<(Instance, Mono)>,
    /// The life that Iaso itself last asked the engine to end, and when that call ended.
    pub(crate) own_stop: Option<(Instance, Mono)>,
    /// Why the container is down, while it is.
    pub(crate) down: Option<Down>,
    /// The life that a person stopped, and when.
    pub(crate) stopped: Option<(Instance, Mono)>,
    /// The life that is known to have ended by no person's hand, and its exit code.
    pub(crate) exited: Option<(Instance, i32)>,
    /// After an exit under a restart policy in force, a look found it exited still: the engine has given up.
    pub(crate) engine_gave_up: bool,
    /// What it needs anew after each start has started after it.
    pub(crate) outlived: bool,
    /// Whose ladder asks for that, where one does.
    pub(crate) follows: Option<ServiceId>,
    /// The life that a recovery began and that was verified.
    pub(crate) healed_life: Option<Instance>,
    /// A deployment may be under way until then.
    pub(crate) change_until: Option<Mono>,
    pub(crate) engine_restarts: VecDeque<Mono>,
    pub(crate) seen_running: bool,
    pub(crate) checks: Vec<Check>,
    /// Fingerprints of the checks that have passed once, those included that are not declared now; in order.
    pub(crate) proven: Vec<u64>,
    pub(crate) paused: bool,
    /// When a calendar's window ends, while one is open.
    pub(crate) window: Option<Mono>,
    /// A person's newest word on its maintenance.
    pub(crate) ordered: Option<Ordered>,

    // How it stands.
    pub(crate) health: Health,
    pub(crate) health_since: Mono,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) incident: Option<Incident>,
    /// The newest outage of something that it needs that one of its own was part of.
    pub(crate) part_of: Option<IncidentId>,
    /// Announcements that nobody has taken yet, and of each outage that goes on the newest.
    pub(crate) alerts: Vec<Announced>,
    /// Some of those were decided by a run before this one, and are to be told again.
    pub(crate) untold: bool,
    /// When something may have to be told.
    pub(crate) tell_at: Option<Mono>,
    pub(crate) phase: Doing,
    pub(crate) hold: Option<HoldView>,
    /// Healthy observations since the last unhealthy one.
    pub(crate) stable: Option<Stable>,
    pub(crate) charges: Ledger,
    pub(crate) streak: u32,
    pub(crate) last_ended: Option<Mono>,
    pub(crate) backoff_until: Option<Mono>,
    pub(crate) quarantine: Option<QuarantineView>,
    /// The engine or a proxy denied a step; not tried again before then.
    pub(crate) denied_until: Option<Mono>,
    /// A law refused a step; not tried again before then.
    pub(crate) refused_until: Option<Mono>,
    /// A credential's change broke it: until then it is for whoever asked for that to decide whether to undo it.
    pub(crate) kept_until: Option<Mono>,
    pub(crate) cadence: Cadence,
    /// When a look is due by itself.
    pub(crate) look_at: Option<Mono>,
    /// When it wants to be reviewed by itself.
    pub(crate) wanted: Option<Mono>,
    /// Its place in the policy's timers: not later than `wanted`.
    pub(crate) timer: Option<Mono>,
    pub(crate) queued: bool,
    /// What its host was last told of it; not that it failed.
    pub(crate) sky: Option<Sky>,
    /// It is no longer declared, and ends with the operation under way.
    pub(crate) leaving: bool,
    /// It is one of those that may stand otherwise.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) touched: bool,
}

/// An unbroken run of healthy observations.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Stable {
    pub(crate) passes: u32,
    /// When the first and the newest of them began.
    pub(crate) first: Mono,
    pub(crate) last: Mono,
}

/// What is being done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Doing {
    Nothing,
    Operating(Attempt),
    Verifying {
        attempt: Attempt,
        since: Mono,
        until: Mono,
    },
    /// The last run of Iaso left it open: by `until` a look must have told whether it was carried out.
    Resolving {
        attempt: Attempt,
        until: Mono,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) step: Step,
    pub(crate) cause: Cause,
    pub(crate) instance: Instance,
    /// The service was healthy before: whatever is wrong with it afterwards is news.
    pub(crate) was_well: bool,
    /// Should it fail, somebody is to decide whether it is undone.
    pub(crate) undoable: bool,
    pub(crate) begun: Mono,
    /// The edge bounds the call; should it never answer, the attempt ends here.
    pub(crate) backstop: Mono,
}

impl Attempt {
    /// It puts a credential back as it was.
    pub(crate) const fn is_undo(&self) -> bool {
        matches!(self.cause, Cause::Credential { undo: true, .. })
    }

    /// Its step begins another life of the container.
    pub(crate) const fn begins_a_life(&self) -> bool {
        matches!(self.step, Step::Start | Step::Restart)
    }
}

/// Why a container is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Down {
    /// By Iaso's own operation.
    Own,
    /// A person stopped it.
    Operator,
    /// It died by itself.
    Crash,
    /// It has done its work.
    Completed,
    /// Nobody saw why.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Cadence {
    Usual,
    Failing,
    Verifying,
}

/// What the facts amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) health: Health,
    /// What is wrong and asks for healing.
    pub(crate) trouble: Option<Trouble>,
    /// Why nothing needs to be done although it is not healthy.
    pub(crate) calm: Option<(Hold, Option<Mono>)>,
}

impl Diagnosis {
    const fn of(health: Health) -> Self {
        Self { health, trouble: None, calm: None }
    }

    const fn sick(trouble: Trouble) -> Self {
        Self { health: Health::Unhealthy, trouble: Some(trouble), calm: None }
    }

    const fn calm(health: Health, why: Hold, until: Option<Mono>) -> Self {
        Self { health, trouble: None, calm: Some((why, until)) }
    }
}

impl Service {
    pub(crate) fn new(id: ServiceId, spec: Box<ServiceSpec>, now: Mono) -> Self {
        Self {
            id,
            container: None,
            sight: None,
            latest: Mono(i64::MIN),
            seen_at: Mono(i64::MIN),
            stop_signal: None,
            own_stop: None,
            down: None,
            stopped: None,
            exited: None,
            engine_gave_up: false,
            outlived: false,
            follows: None,
            healed_life: None,
            change_until: None,
            engine_restarts: VecDeque::new(),
            seen_running: false,
            checks: spec.checks.iter().map(|check| Check::new(*check, false)).collect(),
            proven: Vec::new(),
            paused: false,
            window: None,
            ordered: None,
            health: Health::Unknown,
            health_since: now,
            trouble: None,
            incident: None,
            part_of: None,
            alerts: Vec::new(),
            untold: false,
            tell_at: None,
            phase: Doing::Nothing,
            hold: None,
            stable: None,
            charges: Ledger::default(),
            streak: 0,
            last_ended: None,
            backoff_until: None,
            quarantine: None,
            denied_until: None,
            refused_until: None,
            kept_until: None,
            cadence: Cadence::Usual,
            look_at: None,
            wanted: None,
            timer: None,
            queued: false,
            sky: None,
            leaving: false,
            touched: false,
            spec,
        }
    }

    pub(crate) fn record(&self, turn: &mut Turn<'_>, event: Event) {
        let incident = self.incident.map(|incident| incident.id);
        turn.out.push(Action::Record(Record { now: turn.now, service: self.id, incident, event }));
    }

    /// What the facts amount to at this moment.
    pub(crate) fn diagnose(&self, turn: &Turn<'_>) -> Diagnosis {
        if !turn.host(self.spec.host).up {
            let calm = self.incident.map(|_| (Hold::HostDown, None));
            return Diagnosis { health: Health::Unknown, trouble: None, calm };
        }
        let Some(sight) = &self.sight else { return Diagnosis::of(Health::Unknown) };
        match sight.state {
            State::Gone => self.while_it_changes(turn, Diagnosis::of(Health::Unknown)),
            State::Created | State::Removing => self.while_it_changes(turn, Diagnosis::of(Health::Stopped)),
            State::Paused => Diagnosis::calm(Health::Paused, Hold::ContainerPaused, None),
            State::Restarting => Diagnosis::sick(Trouble::EngineRestarting),
            State::Exited { code, .. } if self.down == Some(Down::Operator) => {
                self.while_it_changes(turn, self.diagnose_exit(code))
            }
            State::Exited { code, .. } => self.diagnose_exit(code),
            State::Running(engine) => self.diagnose_running(engine, sight, turn.now.mono),
        }
    }

    /// What a deployment does is no stop of a person's.
    fn while_it_changes(&self, turn: &Turn<'_>, otherwise: Diagnosis) -> Diagnosis {
        match self.change_until.filter(|until| *until > turn.now.mono) {
            Some(until) => Diagnosis::calm(otherwise.health, Hold::PlannedChange, Some(until)),
            None => otherwise,
        }
    }

    fn diagnose_exit(&self, code: i32) -> Diagnosis {
        match self.down {
            Some(Down::Operator) => Diagnosis::calm(Health::Stopped, Hold::OperatorStopped, None),
            Some(Down::Completed) => Diagnosis::calm(Health::Stopped, Hold::Completed, None),
            Some(Down::Crash) if self.engine_goes_first(code) => Diagnosis::sick(Trouble::EngineRestarting),
            Some(Down::Crash | Down::Own) => Diagnosis::sick(Trouble::Exited { code }),
            Some(Down::Unknown) | None => {
                if self.spec.after_gap == AfterGap::Start && self.seen_running {
                    Diagnosis::sick(Trouble::StoppedInGap)
                } else {
                    Diagnosis::calm(Health::Stopped, Hold::UnknownStop, None)
                }
            }
        }
    }

    fn diagnose_running(&self, engine: EngineHealth, sight: &Sight, now: Mono) -> Diagnosis {
        if engine == EngineHealth::Unhealthy {
            return Diagnosis::sick(Trouble::EngineUnhealthy);
        }
        // Another healer, whose labels alone it carries, would not know.
        if self.outlived && self.spec.heal_exits {
            return Diagnosis::sick(Trouble::Outlived);
        }
        let forgiven_until = sight.since + self.spec.start_period;
        let mut uncertain = None;
        let mut degraded = false;
        let mut undecided = engine == EngineHealth::Starting;
        for (number, check) in self.checks.iter().enumerate() {
            match (check.verdict(), check.spec.on_failure) {
                (Some(true), _) => degraded |= check.is_late(),
                (Some(false), OnFailure::Alert) => degraded = true,
                (Some(false), OnFailure::Heal) => {
                    if !check.proven {
                        uncertain = Some((Hold::NeverSucceeded, None));
                    } else if now < forgiven_until && !check.passed_in_this_life() {
                        return Diagnosis::calm(Health::Starting, Hold::StartPeriod, Some(forgiven_until));
                    } else {
                        return Diagnosis::sick(Trouble::Check(check_id(number)));
                    }
                }
                (None, OnFailure::Heal) => undecided = true,
                (None, OnFailure::Alert) => {}
            }
        }
        match (uncertain, degraded, undecided) {
            (Some((why, until)), _, _) => Diagnosis::calm(Health::Degraded, why, until),
            (None, _, true) => Diagnosis::of(Health::Starting),
            (None, true, false) => Diagnosis::of(Health::Degraded),
            (None, false, false) => Diagnosis::of(Health::Healthy),
        }
    }

    /// Law 17: the engine's own restart policy is in force for this exit, and the engine has not been seen to give up.
    fn engine_goes_first(&self, code: i32) -> bool {
        let in_force = match self.container.map(|container| container.restart) {
            Some(RestartPolicy::Always) => true,
            Some(RestartPolicy::OnFailure(_)) => code != 0,
            Some(RestartPolicy::No) | None => false,
        };
        in_force && !self.engine_gave_up
    }

    /// Whether an exit with this code is its natural end.
    pub(crate) fn completes(&self, code: i32) -> bool {
        let one_off = self.container.is_some_and(|container| container.one_off);
        let restarted_anyway = self.container.is_some_and(|container| container.restart == RestartPolicy::Always);
        match self.spec.lifecycle {
            Lifecycle::Running => false,
            Lifecycle::Completed => true,
            Lifecycle::Auto => one_off || (code == 0 && !restarted_anyway),
        }
    }

    /// A healthy enough state to count towards "healed".
    pub(crate) const fn is_well(health: Health) -> bool {
        matches!(health, Health::Healthy | Health::Degraded)
    }

    pub(crate) fn instance(&self) -> Option<Instance> {
        self.sight.filter(|sight| sight.state != State::Gone).map(|sight| sight.instance)
    }

    pub(crate) fn attempt(&self) -> Option<Attempt> {
        match self.phase {
            Doing::Nothing => None,
            Doing::Operating(attempt) | Doing::Verifying { attempt, .. } | Doing::Resolving { attempt, .. } => {
                Some(attempt)
            }
        }
    }

    /// The engine may be at work on it.
    pub(crate) const fn is_under_way(&self) -> bool {
        matches!(self.phase, Doing::Operating(_) | Doing::Resolving { .. })
    }

    pub(crate) fn view_phase(&self) -> Phase {
        match self.phase {
            Doing::Nothing => Phase::Idle,
            Doing::Operating(attempt) | Doing::Resolving { attempt, .. } => {
                Phase::Operating { attempt: attempt.id, step: attempt.step, since: attempt.begun }
            }
            Doing::Verifying { attempt, since, until } => Phase::Verifying {
                attempt: attempt.id,
                step: attempt.step,
                since,
                healthy_since: self.stable.map(|stable| stable.first),
                until,
            },
        }
    }
}

pub(crate) fn check_id(number: usize) -> crate::id::CheckId {
    crate::id::CheckId(u16::try_from(number).unwrap_or(u16::MAX))
}
