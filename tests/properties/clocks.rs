//! A wall clock that jumps by a day: waits, windows and lengths count on the clock that never does.

use std::time::Duration;

use iaso_policy::id::ServiceId;
use iaso_policy::input::RestartPolicy;
use iaso_policy::record::{Event, Hold};
use iaso_policy::spec::Budget;

use crate::rig::{Rig, secs, spec};

const WEB: ServiceId = ServiceId(0);
const DAY: i64 = 86_400_000;

/// How long each outage lasted that is over.
fn lasted(rig: &Rig) -> Vec<Duration> {
    let of = |event| if let Event::IncidentClosed { lasted, .. } = event { Some(lasted) } else { None };
    rig.events().filter_map(of).collect()
}

#[test]
fn a_wall_clock_that_jumps_by_a_day_either_way_changes_no_wait_no_window_and_no_length() {
    for (jump, kills) in [(DAY, false), (-DAY, false), (DAY, true), (-DAY, true)] {
        let case = format!("by {jump}, kills: {kills}");
        let mut twice = spec("web");
        twice.recovery.restarts = Budget { max: 2, window: secs(600) };
        let mut rig = Rig::with(twice.clone(), RestartPolicy::No);
        let jumps = |rig: &mut Rig| {
            rig.wall_jumps(jump);
            if kills {
                rig.killed(true, secs(1));
                rig.resumes(twice.clone());
            } else {
                rig.pass(secs(1));
            }
        };
        let first = rig.now.mono;
        rig.dies(WEB, 1);
        rig.pass(secs(5));
        jumps(&mut rig);
        if kills {
            // The next Iaso looks whether it was carried out.
            rig.starts(WEB, crate::rig::RUNNING);
        } else {
            rig.carry_out();
        }
        while lasted(&rig).is_empty() {
            rig.pass(secs(1));
        }
        assert!(lasted(&rig)[0] < secs(60), "{case}: {:?}", lasted(&rig));

        rig.dies(WEB, 1);
        jumps(&mut rig);
        let waits = rig.view(WEB).hold.unwrap();
        assert_eq!((waits.reason, rig.operations.len()), (Hold::Backoff, 1), "{case}");
        let until = waits.until.unwrap();
        assert!(until.since(rig.now.mono) < secs(20), "{case}");
        rig.pass(until.since(rig.now.mono) + secs(1));
        assert_eq!(rig.operations.len(), 2, "{case}");
        rig.carry_out();
        rig.pass(secs(60));

        rig.dies(WEB, 1);
        jumps(&mut rig);
        let spent = rig.view(WEB).hold.unwrap();
        assert_eq!((spent.reason, spent.until), (Hold::Budget, Some(first + secs(600))), "{case}");
        rig.pass((first + secs(600)).since(rig.now.mono) - secs(1));
        jumps(&mut rig);
        rig.pass(secs(1));
        assert_eq!(rig.operations.len(), 3, "{case}");
        rig.carry_out();
        rig.pass(secs(20));
        assert!(lasted(&rig)[2] < secs(600), "{case}: {:?}", lasted(&rig));
    }
}
