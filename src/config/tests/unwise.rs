//! Warnings.

use super::*;
use crate::config::examine;
use crate::config::mistake::Level;

/// The warnings of a file with this mode.
fn warnings(source: &str, mode: u32) -> Vec<Mistake> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), source).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    let Examined { outcome, warnings, .. } = examine(Some(file.path()), &env([("TOKEN", "hunter2")]));
    outcome.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(warnings.iter().all(|warning| warning.level == Level::Warning));
    warnings
}

fn with_headers(headers: &str) -> String {
    let check = format!("{{ type = \"http\", url = \"http://{{address}}\", headers = {{ {headers} }} }}");
    format!("[services.web]\ncontainer = \"web\"\nchecks = [{check}]\n")
}

#[test]
fn a_secret_in_plain_text_is_warned_of_and_not_shown() {
    for name in
        ["Authorization", "proxy-authorization", "Cookie", "X-API-Key", "X-Auth-Token", "my-secret", "X-Password"]
    {
        let told = warnings(&with_headers(&format!("{name} = \"hunter2\"")), 0o600);
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        let block = told[0].block(false);
        assert!(block.contains("warning: ") && block.contains("plain text") && block.contains(name), "{block}");
        assert!(block.contains("*********") && !block.contains("hunter2"), "{block}");
    }
    for fine in ["Host = \"localhost\"", "Authorization = \"Bearer ${TOKEN}\"", "Accept = \"text/html\""] {
        assert_eq!(warnings(&with_headers(fine), 0o644), [], "{fine}");
    }
}

#[test]
fn a_file_open_to_everybody_is_warned_of_when_it_holds_a_secret() {
    let source = with_headers("Authorization = \"hunter2\", Cookie = \"hunter2\"");
    for (mode, number) in [(0o600, 2), (0o640, 2), (0o644, 3), (0o604, 3)] {
        let told = warnings(&source, mode);
        assert_eq!(told.len(), number, "{told:?}");
        assert_eq!(told.iter().any(|warning| warning.got.contains(&format!("mode {mode:04o}"))), number == 3);
    }
}

#[test]
fn plain_tcp_to_strangers_is_warned_of() {
    let host = |url: &str| warnings(&format!("[hosts.a]\nurl = \"{url}\"\n"), 0o600).len();
    assert_eq!(host("tcp://nas.lan:2375"), 0);
    assert_eq!(host("tcp://[::1]:2375"), 0);
    assert_eq!(host("tcp://docker.example.org:2375"), 1);
}
