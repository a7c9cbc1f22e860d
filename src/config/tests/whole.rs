//! What only the whole configuration shows.

use super::*;

/// Services by name, each with what it depends on.
fn services(needs: &[(&str, &[&str])]) -> String {
    needs
        .iter()
        .map(|(name, needs)| format!("[services.{name}]\ncontainer = \"{name}\"\ndepends_on = {needs:?}\n"))
        .collect()
}

fn told(source: &str) -> Vec<(String, String)> {
    mistakes(source).into_iter().map(|mistake| (mistake.path, mistake.got)).collect()
}

fn one(path: &str, got: &str) -> Vec<(String, String)> {
    vec![(path.to_owned(), got.to_owned())]
}

#[test]
fn dependencies_are_kept() {
    let config = read(&services(&[("web", &["db", "cache"]), ("db", &[]), ("cache", &["db"])])).unwrap();
    assert_eq!(config.services["web"].depends_on, ["db", "cache"]);
}

#[test]
fn dependencies_on_nothing_and_on_oneself_are_told() {
    let found = mistakes(&services(&[("web", &["bd", "db", "db"]), ("db", &[])]));
    assert_eq!(found[0].suggestion.as_deref(), Some("db"));
    assert_eq!((found[1].path.as_str(), found[1].got.as_str()), ("services.web.depends_on[2]", "\"db\" a second time"));
    assert_eq!(told(&services(&[("web", &["web"])])), one("services.web.depends_on[0]", "it depends on itself"));
}

#[test]
fn circles_are_told_once() {
    let two = [("x", &["a"][..]), ("a", &["b"]), ("b", &["y", "a"]), ("y", &[])];
    assert_eq!(told(&services(&two)), one("services.a.depends_on[0]", "a circle: a -> b -> a"));
    let three = [("a", &["b", "c"][..]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])];
    assert_eq!(told(&services(&three)), one("services.b.depends_on[0]", "a circle: b -> c -> d -> b"));
    assert!(read(&services(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &[])])).is_ok());
}

#[test]
fn a_chain_of_any_length_is_walked() {
    let names: Vec<String> = (0..5000).map(|n| format!("s{n}")).collect();
    let chain: String = names
        .windows(2)
        .map(|pair| format!("[services.{}]\ncontainer = \"{0}\"\ndepends_on = [\"{}\"]\n", pair[0], pair[1]))
        .collect();
    let circle = format!("{chain}[services.s4999]\ncontainer = \"last\"\ndepends_on = [\"s0\"]\n");
    let told = told(&circle);
    assert_eq!(told.len(), 1);
    assert!(told[0].1.ends_with("s18 -> s19 -> (4980 more) -> s0"), "{}", told[0].1);
}

/// Work that grows with the square of what a file may hold would keep whoever checks it waiting.
#[test]
fn services_that_all_need_each_other_come_to_an_end() {
    let all: Vec<String> = (0..300).map(|n| format!("s{n}")).collect();
    let source = |needs: &str| -> String {
        all.iter().map(|name| format!("[services.{name}]\ncontainer = \"{name}\"\ndepends_on = {needs}\n")).collect()
    };
    let unknown: Vec<String> = (0..300).map(|n| format!("x{n}")).collect();
    for source in [source(&format!("{all:?}")), source(&format!("{unknown:?}"))] {
        assert!(source.len() < 1 << 20, "no file may be larger");
        assert_eq!(mistakes(&source).len(), 1001);
    }
}

#[test]
fn services_that_claim_one_container_are_told() {
    let two = |first: &str, second: &str| told(&format!("[services.a]\n{first}\n[services.b]\n{second}\n"));
    assert_eq!(two("container = \"x\"", "container = \"/x\""), one("services.b", "the same container as services.a"));
    assert_eq!(
        two("compose = \"shop/web\"", "compose = \"shop/web\""),
        one("services.b", "the same Compose service as services.a")
    );
    assert_eq!(
        two("selector.label = \"a=b\"", "selector.label = \"a=B\""),
        one("services.b", "the same selector as services.a")
    );
    let hosts = "[hosts.one]\nurl = \"unix:///1\"\n[hosts.two]\nurl = \"unix:///2\"\n";
    let apart = "[services.a]\ncontainer = \"x\"\n[services.b]\ncontainer = \"x\"\nhost = \"two\"\n";
    assert!(read(&format!("{hosts}{apart}")).is_ok());
    let alike = "[services.\"two.a\"]\ncontainer = \"x\"\n[services.a]\ncontainer = \"y\"\nhost = \"two\"\n";
    assert_eq!(told(&format!("{hosts}{alike}")), one("services.a", "shown as two.a, as services.two.a is"));
}

#[test]
fn a_host_with_a_mistake_is_not_an_unknown_one() {
    let source = "[hosts.nas]\nurl = \"ssh://nas\"\n[services.a]\ncontainer = \"x\"\nhost = \"nas\"\n";
    assert_eq!(told(source).len(), 1);
}
