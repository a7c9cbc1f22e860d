//! Hours of a fleet's life in virtual time, with Iaso killed at any point.

use iaso::sim::runner::{self, Report};

/// What is counted, and how.
type Count = (&'static str, fn(&Report) -> u64);

/// Seeds to run: `IASO_SEEDS=a..b`, else the first 300.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("IASO_SEEDS").ok();
    let Some(asked) = asked else { return 0..300 };
    let (from, to) = asked.split_once("..").expect("IASO_SEEDS is FROM..TO");
    from.parse().expect("FROM is a number")..to.parse().expect("TO is a number")
}

#[test]
fn fleets_are_healed_within_the_laws_whatever_happens() {
    let seeds: Vec<u64> = seeds().collect();
    let (one, other) = seeds.split_at(seeds.len() / 2);
    let run = |seeds: &[u64]| seeds.iter().copied().map(runner::run).collect::<Vec<Report>>();
    let reports = std::thread::scope(|scope| {
        let one = scope.spawn(|| run(one));
        let other = run(other);
        [one.join().unwrap(), other].concat()
    });
    let bad: Vec<&Report> = reports.iter().filter(|report| !report.problems.is_empty()).collect();
    for Report { seed, problems, .. } in &bad {
        println!("again: IASO_SEEDS={seed}..{} cargo test --test properties fleets\n{problems:#?}", seed + 1);
    }
    assert!(bad.is_empty(), "{} of {} seeds are bad", bad.len(), reports.len());
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let counts: [Count; 17] = [
        ("inputs", |r| r.inputs),
        ("operations", |r| r.operations),
        ("for credentials", |r| r.for_credentials),
        ("undone", |r| r.undone),
        ("healed", |r| r.healed),
        ("storms", |r| r.storms),
        ("common causes", |r| r.common_causes),
        ("kills", |r| r.kills),
        ("more hosts", |r| r.more_hosts),
        ("lost hosts", |r| r.lost_hosts),
        ("lost events", |r| r.lost_events),
        ("behind", |r| r.behind),
        ("met", |r| r.met),
        ("planned", |r| r.planned),
        ("maintained", |r| r.maintained),
        ("joined", |r| r.joined),
        ("alerts", |r| r.alerts),
    ];
    let told: Vec<String> = counts.iter().map(|(what, count)| format!("{} {what}", sum(*count))).collect();
    println!("{} seeds: {}", reports.len(), told.join(", "));
    if reports.len() >= 100 {
        let at_least = |what: &str, least: u64| {
            let (_, count) = counts.iter().find(|(name, _)| *name == what).unwrap();
            assert!(sum(*count) >= least, "the scenarios have lost their bite: {} {what}", sum(*count));
        };
        at_least("healed", 100);
        at_least("kills", 20);
        at_least("storms", 12);
        at_least("common causes", 2);
        at_least("for credentials", 100);
        at_least("undone", 10);
        at_least("more hosts", 40);
        at_least("lost hosts", 40);
        at_least("lost events", 200);
        at_least("behind", 200);
        at_least("met", 40);
        at_least("planned", 40);
        at_least("maintained", 40);
        at_least("joined", 50);
        at_least("alerts", 50);
    }
}

#[test]
fn the_same_seed_gives_the_same_report() {
    assert_eq!(runner::run(7), runner::run(7));
}
