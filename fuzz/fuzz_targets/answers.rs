//! An engine may say anything: no answer to an inspection makes Iaso panic, what is no id is no container, and of foreign text
//! nothing but names reaches the policy. The input is one answer.

#![no_main]

use iaso::config;
use iaso::engine::answers;
use iaso::supervisor::Ear;
use libfuzzer_sys::fuzz_target;

mod inputs;

fuzz_target!(|json: &[u8]| {
    let Ok(Some(container)) = answers::container(json) else { return };
    let id = container.id.as_str();
    assert!(id.len() == 64 && id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    assert!((1..=64).contains(&container.stop_signal), "{container:?}");
    assert!(container.started >= 0 && container.finished >= 0, "{container:?}");
    // Twice: as a container that is new, and as one that is known.
    let mut ear = Ear::new(config::decode("iaso.toml", inputs::CONFIG, &|_| None).expect("a configuration"));
    inputs::judge(&ear.list(vec![container.clone()]));
    inputs::judge(&ear.list(vec![container]));
    inputs::judge(&ear.list(Vec::new()));
});
