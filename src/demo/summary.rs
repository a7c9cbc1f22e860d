//! The end of the account: what happened to whom, what Iaso did, how long it took, and what it held back from and why.

use std::io;

use super::cast::{CAST, patients};
use super::narrator::Narrator;
use super::story::{Account, End, Story, span};

/// Columns: name, what happened, what Iaso did; what came of it follows.
const WIDTHS: [usize; 4] = [10, 21, 13, 0];

/// Prints it.
pub(super) fn print(narrator: Narrator, story: &Story<'_>, account: &Account) -> io::Result<()> {
    let promised = if account.faults.is_empty() { "every patient was handled" } else { "not all went as promised" };
    narrator.heading(&format!("After {}: {promised}", span(account.took)))?;
    for (member, illness) in patients() {
        let case = story.cases.get(member.name);
        let restarts = case.map_or(0, |case| case.restarts);
        let did = match restarts {
            0 => "not touched".to_owned(),
            1 => "1 restart".to_owned(),
            n => format!("{n} restarts"),
        };
        let came = match case.and_then(|case| case.end) {
            Some(End::Healed { restarted, healed }) => {
                format!("after {}, healed in {}", span(restarted), span(healed))
            }
            Some(End::Quarantined) => "quarantined".to_owned(),
            Some(End::LeftStopped) => "left stopped".to_owned(),
            None => "not handled".to_owned(),
        };
        narrator.row([member.name, illness.name(), &did, &came], WIDTHS)?;
    }
    let neighbours = CAST.iter().filter(|member| member.illness.is_none());
    let touched =
        neighbours.filter(|member| story.cases.get(member.name).is_some_and(|case| case.restarts > 0)).count();
    match touched {
        0 => narrator.note("The six healthy neighbours were never touched.")?,
        n => narrator.note(&format!("{n} of the six healthy neighbours were restarted, which should not be."))?,
    }
    narrator.note("Healed means verified: healthy after the restart, and still so 3 s later.")?;
    for fault in &account.faults {
        narrator.note(&format!("Not as promised: {fault}."))?;
    }
    for (name, explanation) in &account.explanations {
        narrator.heading(&format!("Why Iaso holds back from {name}, in its own words (`iaso explain {name}`)"))?;
        narrator.quote(explanation)?;
    }
    Ok(())
}
