//! How fast the policy takes in a healthy fleet's news: inputs a second on one core with 100 and with 10,000 services, and
//! allocations per input. Ratios are within one process, rounds interleaved, the spread shown.
//!
//! `cargo bench --bench policy`
#![allow(clippy::print_stdout, reason = "a benchmark reports on its output")]

use std::hint::black_box;
use std::time::Duration;

use iaso::system::clock::stopwatch;
use iaso_policy::id::{CheckId, HostId, Identity, Instance, ServiceId};
use iaso_policy::input::{CheckResult, Container, EngineHealth, HostLink, RestartPolicy, Sight, State};
use iaso_policy::memory::Restored;
use iaso_policy::spec::{CheckSpec, FleetSpec, OnFailure, ServiceSpec, Threshold};
use iaso_policy::time::{Boot, Mono, Now, Wall};
use iaso_policy::{Action, Input, Policy};

const SMALL: u32 = 100;
const LARGE: u32 = 10_000;
const PER_HOST: u32 = 100;

/// A policy in the steady state, and where in its fleet's round of news it is.
struct Fleet {
    policy: Policy,
    services: u32,
    now: i64,
    turn: u32,
    out: Vec<Action>,
}

impl Fleet {
    fn new(services: u32) -> Self {
        let now = at(0);
        let policy = Policy::restore(FleetSpec::default(), 1, Restored::nothing(), now);
        let mut fleet = Self { policy, services, now: 0, turn: 0, out: Vec::with_capacity(64) };
        for number in 0..services {
            let (service, host) = (ServiceId(number), host_of(number));
            let identity =
                Identity::container("local", &format!("c{number}")).unwrap_or_else(|error| panic!("{error}"));
            let mut spec = ServiceSpec::new(identity, host);
            spec.checks.push(CheckSpec {
                fingerprint: u64::from(number) + 1,
                on_failure: OnFailure::Heal,
                failure: Threshold::in_a_row(3),
                success_threshold: 1,
                interval: Duration::from_secs(30),
            });
            let container = Container {
                instance: instance_of(number),
                restart: RestartPolicy::No,
                exempt: None,
                one_off: false,
                healthcheck: None,
                stop_grace: None,
                stop_signal: 15,
            };
            fleet.step(Input::Define { service, spec: Box::new(spec) });
            fleet.step(Input::Host { host, link: HostLink::Up { engine_started: false } });
            fleet.step(Input::Described { service, container });
        }
        // Two rounds of news bring everything to rest.
        fleet.run(services * 20);
        fleet
    }

    fn step(&mut self, input: Input) {
        self.out.clear();
        self.policy.step(at(self.now), input, &mut self.out);
        black_box(&self.out);
    }

    /// Of ten inputs seven are checks that pass, two are looks that find nothing new, one is a tick.
    fn run(&mut self, inputs: u32) {
        for _ in 0..inputs {
            let number = self.turn / 10 % self.services;
            let service = ServiceId(number);
            // The same pace for each service, however many there are.
            self.now += i64::from(self.turn.is_multiple_of(self.services));
            let instance = instance_of(number);
            let input = match self.turn % 10 {
                0 => Input::Tick,
                1 | 2 => {
                    let state = State::Running(EngineHealth::None);
                    Input::Seen { service, sight: Sight { instance, began: Mono(self.now), since: Mono(0), state } }
                }
                _ => {
                    self.now += i64::from(number == 0);
                    let result = CheckResult::Passed;
                    Input::Checked { service, check: CheckId(0), instance, began: Mono(self.now), result }
                }
            };
            self.step(input);
            self.turn = self.turn.wrapping_add(1);
        }
    }

    /// Nanoseconds per input.
    fn measure(&mut self, inputs: u32) -> f64 {
        let elapsed = stopwatch();
        self.run(inputs);
        elapsed().as_secs_f64() * 1e9 / f64::from(inputs)
    }
}

fn at(now: i64) -> Now {
    Now { mono: Mono(now), wall: Wall(1_700_000_000_000 + now), boot: Boot(1) }
}

fn host_of(service: u32) -> HostId {
    HostId(u16::try_from(service / PER_HOST).unwrap_or(u16::MAX))
}

fn instance_of(service: u32) -> Instance {
    Instance { container: u128::from(service) + 1, started: 1 }
}

fn main() {
    // `cargo test --benches` only asks whether it runs.
    let (rounds, inputs) = if std::env::args().any(|arg| arg == "--bench") { (15, 1_000_000) } else { (2, 10_000) };
    let (mut small, mut large) = (Fleet::new(SMALL), Fleet::new(LARGE));
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_small.push(small.measure(inputs));
        of_large.push(large.measure(inputs));
    }
    let allocations = |fleet: &mut Fleet| allocation_counter::measure(|| fleet.run(inputs)).count_total;
    let allocations = [allocations(&mut small), allocations(&mut large)];

    println!("services   min ns   median ns   max ns   inputs/s (median)   allocations per input");
    let mut medians = Vec::new();
    for (services, times, allocations) in [(SMALL, of_small, allocations[0]), (LARGE, of_large, allocations[1])] {
        let mut times = times;
        times.sort_by(f64::total_cmp);
        let (min, median, max) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        #[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
        let each = allocations as f64 / f64::from(inputs);
        println!("{services:>8} {min:>8.1} {median:>11.1} {max:>8.1} {:>19.0} {each:>23.6}", 1e9 / median);
        medians.push(median);
    }
    println!("ratio of the medians: {:.2} (at most 1.3 is wanted)", medians[1] / medians[0]);
}
