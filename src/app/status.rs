//! The line that the service manager shows of a daemon that runs.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use iaso_policy::record::Health;
use tokio::sync::watch;

use crate::snapshot::Snapshot;
use crate::system::systemd::Manager;

/// Told at most this often.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the manager whenever the line changes, until there are no more pictures.
pub(super) async fn tell(mut snapshots: watch::Receiver<Arc<Snapshot>>, manager: Manager) {
    let mut told = String::new();
    while snapshots.changed().await.is_ok() {
        let now = line(&snapshots.borrow_and_update());
        if now != told {
            manager.status(&now);
            told = now;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Such as `12 services: 11 healthy, 1 unhealthy; 1 quarantined; nas is not reached`.
fn line(snapshot: &Snapshot) -> String {
    let count =
        |is: &dyn Fn(&crate::snapshot::ServiceStatus) -> bool| snapshot.services.iter().filter(|s| is(s)).count();
    let by_health = Health::ALL.iter().map(|health| (count(&|service| service.view.health == *health), health.name()));
    let by_health: Vec<String> =
        by_health.filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    let mut line = match snapshot.services.len() {
        0 => "no services".to_owned(),
        1 => format!("1 service: {}", by_health.join(", ")),
        n => format!("{n} services: {}", by_health.join(", ")),
    };
    // Writing to a string cannot fail.
    for (count, word) in
        [(count(&|service| service.view.quarantine.is_some()), "quarantined"), (snapshot.waiting.len(), "waited for")]
    {
        if count > 0 {
            let _ = write!(line, "; {count} {word}");
        }
    }
    for host in snapshot.hosts.iter().filter(|host| !host.link.up) {
        let _ = write!(line, "; {} is not reached", host.name);
    }
    for (component, trouble) in [
        (&snapshot.store, "the store is down"),
        (&snapshot.configuration, "the last configuration was refused, see the log"),
    ] {
        if !component.up {
            let _ = write!(line, "; {trouble}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{down, service, snapshot};

    #[test]
    fn the_line_tells_what_a_person_would_ask_first() {
        let mut seen = snapshot();
        assert_eq!(line(&seen), "no services");
        seen.services = vec![service("web").into()];
        assert_eq!(line(&seen), "1 service: 1 healthy");
        let mut sick = service("db");
        sick.view.health = Health::Unhealthy;
        sick.view.quarantine =
            Some(iaso_policy::view::QuarantineView { since: seen.at.mono, trials: 0, retry_at: None });
        seen.services.push(sick.into());
        seen.waiting = vec!["later".into()];
        seen.hosts[0].link = down("refused");
        seen.configuration = down("1 mistake");
        assert_eq!(
            line(&seen),
            "2 services: 1 healthy, 1 unhealthy; 1 quarantined; 1 waited for; local is not reached; \
             the last configuration was refused, see the log"
        );
    }
}
