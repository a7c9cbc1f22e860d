//! Law 13: any text is a configuration or mistakes with their places, and never a panic; and what a reference was filled in
//! with is shown by none of them.

#![no_main]

use iaso::config;
use libfuzzer_sys::fuzz_target;

/// Stands for every variable; a text that holds it already proves nothing.
const SECRET: &str = "hunter2-filled-in";

fuzz_target!(|text: &str| {
    let lines = text.split('\n').count();
    let variable = |name: &str| (!name.contains("DOCKER") && !name.contains("DIR")).then(|| SECRET.to_owned());
    let Err(mistakes) = config::decode("iaso.toml", text, &variable) else { return };
    assert!(!mistakes.0.is_empty());
    for mistake in &mistakes.0 {
        let said = format!("{mistake} {mistake:?} {}", mistake.block(true));
        assert!(text.contains(SECRET) || !said.contains(SECRET), "{said}");
        let place = mistake.place.as_ref().map(|place| (place.line, place.column));
        assert!(place.is_none_or(|(line, column)| (1..=lines).contains(&line) && column > 0), "{said}");
    }
});
