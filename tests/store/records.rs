//! Records to write, and what a store must remember of them.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso::policy::action::{Cause, Charge, Trouble};
use iaso::policy::alert::AlertKey;
use iaso::policy::id::{AttemptId, CheckId, CredentialKey, Identity, IncidentId, Instance, RolloutId, ServiceId};
use iaso::policy::input::Outcome;
use iaso::policy::memory::Memory;
use iaso::policy::record::{AlertKind, Ending, Event, Health, Hold, Release, Verdict};
use iaso::policy::spec::Step;
use iaso::policy::time::{Boot, Mono, Wall};
use iaso::policy::{Now, Record};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A record and whom it is about.
pub type Entry = (Identity, Record);

/// What every store must give back.
pub fn fold(entries: &[Entry]) -> Vec<Memory> {
    let mut services: BTreeMap<Identity, Memory> = BTreeMap::new();
    for (identity, record) in entries.iter().filter(|(_, record)| record.event.is_durable()) {
        services.entry(identity.clone()).or_insert_with(|| Memory::new(identity.clone())).apply(record);
    }
    services.into_values().collect()
}

/// The moment of the newest durable record.
pub fn last(entries: &[Entry]) -> Option<Now> {
    entries.iter().rev().find(|(_, record)| record.event.is_durable()).map(|(_, record)| record.now)
}

pub fn web() -> Identity {
    Identity::compose("local", "shop", "web", 1).unwrap()
}

pub fn at(millis: i64) -> Now {
    Now { mono: Mono(millis), wall: Wall(1_900_000_000_000 + millis), boot: Boot(u64::MAX - 1) }
}

pub fn record(millis: i64, event: Event) -> Record {
    Record { now: at(millis), service: ServiceId(0), incident: Some(IncidentId(0xfeed_0000_0000_0001)), event }
}

/// The `n`th charge of a service.
pub fn charge(n: i64) -> Record {
    record(
        n,
        Event::Begun {
            attempt: AttemptId(n.unsigned_abs()),
            step: Step::Restart,
            cause: Cause::Recovery,
            trouble: Some(Trouble::EngineUnhealthy),
            instance: Instance { container: u128::MAX, started: n },
            charge: Charge::Stored,
            ordinal: 1,
        },
    )
}

/// A record that is not durable.
pub fn hold(n: i64) -> Record {
    record(n, Event::Held { reason: Hold::Budget, until: Some(Mono(n)), step: Some(Step::Signal(1)), behind: None })
}

/// Any sequence of records about a few services, with ids that meet and clocks that jump.
pub fn sequences() -> impl Strategy<Value = Vec<Entry>> {
    proptest::collection::vec((identity(), any_record()), 1..60)
}

fn identity() -> impl Strategy<Value = Identity> {
    select(vec![
        web(),
        Identity::compose("local", "shop", "db", 2).unwrap(),
        Identity::container("nas", "dns").unwrap(),
    ])
}

fn any_record() -> impl Strategy<Value = Record> {
    (now(), option::weighted(0.9, incident()), any_event()).prop_map(|(now, incident, event)| Record {
        now,
        service: ServiceId(0),
        incident,
        event,
    })
}

fn now() -> impl Strategy<Value = Now> {
    (0..200_000_000_i64, prop_oneof![9 => 0..200_000_000_i64, 1 => any::<i64>()], select(vec![1, u64::MAX]))
        .prop_map(|(mono, wall, boot)| Now { mono: Mono(mono), wall: Wall(wall), boot: Boot(boot) })
}

fn incident() -> impl Strategy<Value = IncidentId> {
    select(vec![IncidentId(1), IncidentId(2), IncidentId(u64::MAX)])
}

fn attempt() -> impl Strategy<Value = AttemptId> {
    select(vec![AttemptId(1), AttemptId(u64::MAX)])
}

fn instance() -> impl Strategy<Value = Instance> {
    (any::<u128>(), any::<i64>()).prop_map(|(container, started)| Instance { container, started })
}

fn step() -> impl Strategy<Value = Step> {
    select(vec![Step::Start, Step::Restart, Step::Signal(64), Step::Exec(u16::MAX), Step::Stop])
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        any::<i32>().prop_map(|code| Trouble::Exited { code }),
        any::<u16>().prop_map(|check| Trouble::Check(CheckId(check))),
        select(vec![Trouble::StoppedInGap, Trouble::EngineRestarting, Trouble::EngineUnhealthy]),
    ]
}

fn span() -> impl Strategy<Value = Duration> {
    (0..1_000_000_u64, 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
}

fn any_alert() -> impl Strategy<Value = Event> {
    let now = Now { mono: Mono(5), wall: Wall(-7), boot: Boot(u64::MAX) };
    let key = (select(vec![1, u64::MAX]), select(AlertKind::ALL.to_vec()), 1..3_u32)
        .prop_map(|(incident, kind, ordinal)| AlertKey { incident: IncidentId(incident), kind, ordinal });
    let announced =
        (key.clone(), any::<bool>(), option::of(select(Hold::ALL.to_vec())), option::of(select(Ending::ALL.to_vec())))
            .prop_map(move |(key, of_host, reason, ending)| Event::Announced {
                key,
                opened: now,
                of_host,
                reason,
                ending,
            });
    prop_oneof![2 => announced, 1 => key.prop_map(|key| Event::Delivered { key })]
}

fn any_event() -> impl Strategy<Value = Event> {
    let credential = (select(vec![0, u64::MAX]), any::<bool>()).prop_map(|(key, undo)| Cause::Credential {
        credential: CredentialKey(key),
        rollout: RolloutId(u64::MAX),
        undo,
    });
    let cause = prop_oneof![2 => Just(Cause::Recovery), 1 => Just(Cause::Operator), 1 => credential];
    let begun = (attempt(), step(), option::of(trouble()), instance(), cause, 0..3_u8).prop_map(
        |(attempt, step, trouble, instance, cause, charge)| Event::Begun {
            attempt,
            step,
            cause,
            trouble,
            instance,
            charge: [Charge::Free, Charge::Stored, Charge::Memory][usize::from(charge)],
            ordinal: 3,
        },
    );
    let finished = (attempt(), select(vec![Outcome::Done, Outcome::TimedOut, Outcome::Uncharged]))
        .prop_map(|(attempt, outcome)| Event::Finished { attempt, outcome });
    let ended = (attempt(), step(), select(Verdict::ALL.to_vec()), span())
        .prop_map(|(attempt, step, verdict, took)| Event::Ended { attempt, step, verdict, took });
    let quarantined =
        (any::<u32>(), option::of(span())).prop_map(|(trials, retry_after)| Event::Quarantined { trials, retry_after });
    prop_oneof![
        3 => begun,
        1 => finished,
        3 => ended,
        2 => trouble().prop_map(|trouble| Event::IncidentOpened { trouble }),
        1 => (select(Ending::ALL.to_vec()), span()).prop_map(|(ending, lasted)| Event::IncidentClosed { ending, lasted }),
        1 => quarantined,
        1 => select(Release::ALL.to_vec()).prop_map(|by| Event::Released { by }),
        1 => instance().prop_map(|instance| Event::OperatorStopped { instance }),
        1 => (instance(), any::<i32>()).prop_map(|(instance, code)| Event::Exited { instance, code }),
        1 => select(vec![1, 2, u64::MAX]).prop_map(|fingerprint| Event::Proven { check: CheckId(0), fingerprint }),
        2 => instance().prop_map(|instance| Event::ChargedForGap { instance }),
        1 => instance().prop_map(|instance| Event::LifeHealed { instance }),
        2 => select(vec![Event::Settled, Event::OperatorStopEnded, Event::SeenRunning, Event::Paused, Event::Resumed]),
        1 => (0_u64..9000, any::<bool>()).prop_map(|(s, everything)| Event::MaintenanceBegan { lasting: Duration::from_secs(s), everything }),
        1 => any::<bool>().prop_map(|everything| Event::MaintenanceEnded { everything }),
        1 => option::of(0_u64..9000).prop_map(|s| Event::Acknowledged { lasting: s.map(Duration::from_secs) }),
        1 => select(vec![1, u64::MAX]).prop_map(|root| Event::Joined { root: IncidentId(root) }),
        3 => any_alert(),
        1 => Just(Event::Health { from: Health::Healthy, to: Health::Unhealthy, trouble: None }),
    ]
}
