//! The story: everybody is well, the patients fall one after the other, Iaso does what it does, and what came of it is held
//! against what was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::Record;
use iaso_policy::action::{Cause, Trouble};
use iaso_policy::input::Outcome;
use iaso_policy::record::{Ending, Event, Health, Hold};
use iaso_policy::time::Mono;
use jiff::tz::TimeZone;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::cast::{CAST, Illness, Member, noticed, patients};
use super::narrator::Tone;
use super::run::LABEL;
use super::{Demo, Ended, Stage};
use crate::engine::ContainerState;
use crate::journal::{Entry, Listener};
use crate::snapshot::{ServiceStatus, Snapshot};
use crate::telemetry::explain::explain;

/// From one fall to the next, at least.
const BETWEEN_FALLS: Duration = Duration::from_secs(3);
/// Patients that may wait for their healing when the next one falls, the crash loop aside.
const FALLEN_AT_ONCE: usize = 2;
/// How long the services may take to be well at first. A loaded machine takes a while.
const FIRST_HEALTH: Duration = Duration::from_secs(60);
/// How long the whole may take; it needs half a minute on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Passes everything that is decided on to the story.
pub(super) struct Hearing(pub(super) mpsc::UnboundedSender<Entry>);

impl Listener for Hearing {
    fn hear(&mut self, entry: &Entry) {
        // The story may be over before the daemon is.
        let _ = self.0.send(entry.clone());
    }
}

/// What the story knows.
pub(super) struct Story<'a> {
    demo: &'a Demo,
    pub(super) stage: &'a Stage,
    /// When the demo began: live lines count from here.
    began: Mono,
    entries: mpsc::UnboundedReceiver<Entry>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(super) cases: BTreeMap<&'static str, Case>,
    /// It is told: what follows is the reader's own doing.
    over: bool,
}

/// One member's part in the story.
#[derive(Debug, Default)]
pub(super) struct Case {
    /// When it fell, from the beginning of the demo.
    down: Option<Duration>,
    trouble: Option<Trouble>,
    /// When the newest restart was done.
    restarted: Option<Duration>,
    /// Restarts by Iaso, all told.
    pub(super) restarts: u32,
    pub(super) end: Option<End>,
    records: Vec<Record>,
}

/// What became of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Healed.
    Healed {
        /// From its fall to the end of its restart.
        restarted: Duration,
        /// From its fall until it was verified: healthy, and still so a while later.
        healed: Duration,
    },
    /// Given up for now.
    Quarantined,
    /// Left alone.
    LeftStopped,
}

/// What the story tells at its end.
#[derive(Debug)]
pub(super) struct Account {
    /// What went otherwise than promised, in words.
    pub(super) faults: Vec<String>,
    /// Iaso's own explanations for those that it holds back from.
    pub(super) explanations: Vec<(&'static str, String)>,
    /// How long it took.
    pub(super) took: Duration,
}

impl<'a> Story<'a> {
    pub(super) fn new(
        demo: &'a Demo,
        stage: &'a Stage,
        began: Mono,
        entries: mpsc::UnboundedReceiver<Entry>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        Self { demo, stage, began, entries, snapshots, cases: BTreeMap::new(), over: false }
    }

    /// Tells it to its end.
    pub(super) async fn tell(&mut self) -> Result<Account, Ended> {
        self.first_health().await?;
        let mut falls = patients();
        let mut next = falls.next();
        let mut next_fall = Instant::now();
        let deadline = Instant::now() + PATIENCE;
        while next.is_some() || patients().any(|(member, _)| self.case(member.name).end.is_none()) {
            let may_fall = next.is_some() && self.waiting() < FALLEN_AT_ONCE;
            tokio::select! {
                () = self.demo.quit.cancelled() => return Err(Ended::Interrupted),
                Some(entry) = self.entries.recv() => self.hear(&entry)?,
                () = sleep_until(next_fall), if may_fall => {
                    if let Some((member, illness)) = next {
                        self.fall(member, illness).await?;
                    }
                    next = falls.next();
                    next_fall = Instant::now() + BETWEEN_FALLS;
                }
                () = sleep_until(deadline) => break,
            }
        }
        self.conclude().await
    }

    fn case(&mut self, name: &'static str) -> &mut Case {
        self.cases.entry(name).or_default()
    }

    fn since_began(&self, mono: Mono) -> Duration {
        mono.since(self.began)
    }

    /// Patients that have fallen and wait, the crash loop aside: that one is down for most of the story.
    fn waiting(&self) -> usize {
        let waits = |case: &Case| case.down.is_some() && case.end.is_none();
        patients()
            .filter(|(member, illness)| {
                *illness != Illness::CrashLoop && self.cases.get(member.name).is_some_and(waits)
            })
            .count()
    }

    /// Waits until every service is well and every check has passed once.
    async fn first_health(&mut self) -> Result<(), Ended> {
        let well = |service: &ServiceStatus| {
            service.view.health == Health::Healthy && service.view.checks.iter().all(|check| check.proven)
        };
        let all_well = self.snapshots.wait_for(|seen| seen.services.iter().filter(|s| well(s)).count() == CAST.len());
        let waited = tokio::select! {
            () = self.demo.quit.cancelled() => return Err(Ended::Interrupted),
            waited = timeout(FIRST_HEALTH, all_well) => waited.map(|seen| seen.is_ok()),
        };
        match waited {
            Ok(true) => {}
            Ok(false) => return Err(Ended::Stuck("Iaso itself ended".to_owned())),
            Err(_) => {
                let seen = self.snapshots.borrow();
                let is_well = |name: &str| seen.services.iter().any(|service| &*service.name == name && well(service));
                let unwell: Vec<_> = CAST.iter().map(|member| member.name).filter(|name| !is_well(name)).collect();
                let limit = FIRST_HEALTH.as_secs();
                return Err(Ended::Stuck(format!("not healthy {limit} s after the start: {}", unwell.join(", "))));
            }
        }
        let at = self.since_began(self.demo.clock.mono());
        self.demo.narrator.event(at, "", Tone::Good, "all twelve are healthy; now six of them fall ill")?;
        Ok(())
    }

    async fn fall(&mut self, member: &'static Member, illness: Illness) -> Result<(), Ended> {
        let at = self.since_began(self.demo.clock.mono());
        self.demo.narrator.event(at, member.name, Tone::Bad, &illness.fall())?;
        // What came before, on a machine that is slow to answer, is no part of it.
        *self.case(member.name) = Case { down: Some(at), ..Case::default() };
        let fallen = self.stage.fall(member.name, illness).await;
        fallen.map_err(|why| Ended::Stuck(format!("{} could not be made ill: {why}", member.name)))
    }

    /// Takes in what Iaso has decided, and tells what matters of it.
    fn hear(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(member) = CAST.iter().find(|member| *member.name == *entry.subject.name) else { return Ok(()) };
        let at = self.since_began(entry.record.now.mono);
        let (narrator, over) = (self.demo.narrator, self.over);
        let case = self.case(member.name);
        case.records.push(entry.record);
        let line = |tone, text: &str| narrator.event(at, member.name, tone, text);
        match entry.record.event {
            Event::IncidentOpened { .. } if case.down.is_none() => case.down = Some(at),
            Event::Begun { cause: Cause::Recovery, trouble, .. } => {
                case.restarts += 1;
                case.trouble = trouble;
                if member.illness.is_none() && !over {
                    line(Tone::Bad, "restarted, although nothing was to befall it")?;
                }
            }
            Event::Finished { outcome: Outcome::Done, .. } => case.restarted = Some(at),
            Event::Ended { verdict, .. } if verdict.failed() => {
                let why = case.trouble.map(noticed).unwrap_or_default();
                line(Tone::Plain, &format!("{why} → restarted → down again (attempt {})", case.restarts))?;
            }
            Event::IncidentClosed { ending: Ending::Healed, .. } => {
                let down = case.down.take().unwrap_or(at);
                let healed = at.saturating_sub(down);
                let restarted = case.restarted.unwrap_or(at).saturating_sub(down);
                case.end = case.end.or(Some(End::Healed { restarted, healed }));
                let why = case.trouble.map(noticed).unwrap_or_default();
                line(Tone::Good, &format!("{why} → restarted → healed in {}", span(healed)))?;
            }
            Event::Quarantined { .. } => {
                case.end = case.end.or(Some(End::Quarantined));
                line(Tone::Held, &format!("quarantined: {} restarts did not help", case.restarts))?;
            }
            Event::OperatorStopped { .. } => {
                case.end = case.end.or(Some(End::LeftStopped));
                line(Tone::Held, "left alone: somebody stopped it on purpose")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Runs on until somebody asks to end.
    pub(super) async fn go_on(&mut self) -> io::Result<()> {
        self.over = true;
        loop {
            tokio::select! {
                () = self.demo.quit.cancelled() => return Ok(()),
                Some(entry) = self.entries.recv() => self.hear(&entry)?,
            }
        }
    }

    /// Looks at what is really there, and asks Iaso why it does nothing more.
    async fn conclude(&mut self) -> Result<Account, Ended> {
        let took = self.since_began(self.demo.clock.mono());
        let shown = |seen: &Arc<Snapshot>| {
            patients().all(|(member, illness)| match illness {
                Illness::CrashLoop => holds(seen, member.name, Hold::Quarantine),
                Illness::Stopped => holds(seen, member.name, Hold::OperatorStopped),
                _ => true,
            })
        };
        // Where that never shows, the faults tell.
        drop(timeout(Duration::from_secs(5), self.snapshots.wait_for(shown)).await);
        while let Ok(entry) = self.entries.try_recv() {
            self.hear(&entry)?;
        }
        let running = self.running().await.map_err(Ended::Stuck)?;
        let faults = CAST.iter().filter_map(|member| self.fault(member, running.contains(member.name))).collect();
        let explanations = patients()
            .filter(|(_, illness)| matches!(illness, Illness::CrashLoop | Illness::Stopped))
            .filter_map(|(member, _)| Some((member.name, self.explanation(member.name)?)))
            .collect();
        Ok(Account { faults, explanations, took })
    }

    fn explanation(&self, name: &str) -> Option<String> {
        let snapshot = self.snapshots.borrow();
        let service = snapshot.services.iter().find(|service| &*service.name == name)?;
        let records = self.cases.get(name).map(|case| case.records.as_slice()).unwrap_or_default();
        Some(explain(&snapshot, service, records, self.demo.clock.now(), &TimeZone::system()).to_string())
    }

    /// The members whose containers really run.
    async fn running(&self) -> Result<BTreeSet<String>, String> {
        let engine = self.stage.engine();
        // A restart of the quarantined one may not have come to its end yet, on a slow engine.
        sleep(Duration::from_millis(300)).await;
        let all = timeout(Duration::from_secs(30), engine.list()).await;
        let all = all.map_err(|_| "the engine does not answer any more")?.map_err(|error| error.to_string())?;
        let mine = all.into_iter().filter(|detail| detail.labels.get(LABEL) == Some(&self.demo.run.to_string()));
        let running = mine.filter(|detail| matches!(detail.state, ContainerState::Running(_)));
        Ok(running.filter_map(|mut detail| detail.labels.remove("iaso.name")).collect())
    }

    /// What of a member went otherwise than promised.
    fn fault(&mut self, member: &'static Member, running: bool) -> Option<String> {
        let case = self.case(member.name);
        let (restarts, end) = (case.restarts, case.end);
        let fine = match member.illness {
            None => restarts == 0 && running,
            Some(Illness::Stopped) => restarts == 0 && !running && end == Some(End::LeftStopped),
            Some(Illness::CrashLoop) => restarts <= 5 && !running && end == Some(End::Quarantined),
            Some(_) => running && matches!(end, Some(End::Healed { .. })),
        };
        if fine {
            return None;
        }
        let state = if running { "runs" } else { "does not run" };
        Some(format!("{} {state} after {restarts} restarts, and what became of it is {end:?}", member.name))
    }
}

fn holds(snapshot: &Snapshot, name: &str, reason: Hold) -> bool {
    let service = snapshot.services.iter().find(|service| &*service.name == name);
    service.and_then(|service| service.view.hold).is_some_and(|hold| hold.reason == reason)
}

/// `0.4 s`.
pub(super) fn span(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}
