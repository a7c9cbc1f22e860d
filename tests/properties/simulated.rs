//! Hours of a fleet's life in virtual time, with Iaso killed at any point.

use iaso::sim::runner::{self, Report};

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
    println!(
        "{} seeds: {} inputs, {} operations ({} for credentials), {} undone, {} healed, {} storms, {} kills",
        reports.len(),
        sum(|r| r.inputs),
        sum(|r| r.operations),
        sum(|r| r.for_credentials),
        sum(|r| r.undone),
        sum(|r| r.healed),
        sum(|r| r.storms),
        sum(|r| r.kills)
    );
    if reports.len() >= 100 {
        assert!(sum(|r| r.healed) > 100 && sum(|r| r.kills) > 20, "the scenarios have lost their bite");
        assert!(sum(|r| r.storms) > 20, "and the outages of what all share");
        assert!(sum(|r| r.for_credentials) > 100 && sum(|r| r.undone) > 10, "and that of changed credentials");
    }
}

#[test]
fn the_same_seed_gives_the_same_report() {
    assert_eq!(runner::run(7), runner::run(7));
}
