//! How the worlds must be in the end.

use super::*;

impl Runner<'_> {
    /// What is not healthy though it can be healed, and no reason says why it is left alone.
    pub(super) fn unwell(&self) -> Vec<String> {
        let mut unwell = Vec::new();
        let Some(iaso) = &self.iaso else { return unwell };
        for host in 0..self.worlds.len() {
            for (service, known) in
                iaso.fleet.known(id_of(host)).values().filter_map(|known| Some((known.service?, known)))
            {
                let held = iaso.fleet.service(service).and_then(|watched| watched.container.as_ref());
                let Some(view) = iaso.policy.view(service).filter(|_| held == Some(&known.detail.id)) else { continue };
                let world = &self.worlds[host];
                let id = known.detail.id.short();
                let truth = world.truth(id);
                let known_truth = truth
                    .is_none_or(|truth| truth.running == matches!(view.state, Some(State::Running(_) | State::Paused)));
                let left_alone = [
                    Hold::OperatorStopped,
                    Hold::UnknownStop,
                    Hold::Completed,
                    Hold::Paused,
                    Hold::ContainerPaused,
                    Hold::NeverSucceeded,
                    Hold::Mode,
                    Hold::Orchestrated,
                ];
                let fine = matches!(view.health, Health::Healthy | Health::Degraded | Health::Stopped)
                    || view.hold.is_some_and(|hold| left_alone.contains(&hold.reason));
                if !known_truth || (is_healable(world, id) && view.state.is_some() && !fine) {
                    let name = &known.detail.name;
                    unwell.push(format!("in the end {name} is not well: {truth:?} {view:?}"));
                }
            }
        }
        unwell
    }
}

/// It gets well if it is started often enough, and so does all that it needs.
fn is_healable(world: &World, id: u128) -> bool {
    let Some(script) = world.script(id) else { return false };
    let ends = |ailment: &Ailment| {
        let (Ailment::Exits { lives, .. }
        | Ailment::OutOfMemory { lives, .. }
        | Ailment::Sick { lives, .. }
        | Ailment::WontStart { lives }) = ailment;
        matches!(lives, Lives::First(n) if *n <= 3)
    };
    script.ailments.iter().all(ends) && script.on_stop != OnStop::Stuck && is_let_serve(world, id)
}

/// All that it needs is as its labels say.
fn is_let_serve(world: &World, id: u128) -> bool {
    let labelled = |key: &str| world.script(id).and_then(|script| script.labels.get(key));
    let needed = ["com.docker.compose.depends_on", "iaso.depends_on"].into_iter().filter_map(labelled);
    needed.flat_map(|text| text.split(',')).all(|entry| {
        let name = entry.split(':').next().unwrap_or_default();
        let truth = world.find(name).and_then(|id| world.truth(id));
        truth.is_some_and(|truth| match entry.contains("completed") {
            true => truth.exited == Some(0),
            false => truth.serves,
        })
    })
}
