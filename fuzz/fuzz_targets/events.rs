//! An engine may tell of anything in any order: no events make Iaso panic, what is no id is no container, and of foreign text
//! nothing but names reaches the policy. Each line of the input is an event, or the answer to an inspection, which then is what
//! the next event's container looks like right afterwards.

#![no_main]

use iaso::config;
use iaso::engine::answers;
use iaso::supervisor::Ear;
use libfuzzer_sys::fuzz_target;

mod inputs;

fuzz_target!(|lines: &[u8]| {
    let mut ear = Ear::new(config::decode("iaso.toml", inputs::CONFIG, &|_| None).expect("a configuration"));
    let mut seen = None;
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        if let Ok(Some(event)) = answers::event(line) {
            let id = event.container.as_str();
            assert!(id.len() == 64 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{id}");
            inputs::judge(&ear.event(&event, seen.take()));
        } else if let Ok(Some(container)) = answers::container(line) {
            inputs::judge(&ear.list(vec![container.clone()]));
            seen = Some(container);
        }
    }
});
