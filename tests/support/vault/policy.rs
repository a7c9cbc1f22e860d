//! Policies: which paths a token may do what with.

use serde_json::Value;

use super::call::Op;
use super::reply::{Refusal, refuse};

/// A policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Policy {
    /// As it was written.
    pub text: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: String,
    capabilities: Vec<String>,
}

/// What everybody may who has a token, unless it was made without.
pub(super) const DEFAULT: &str = r#"
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/renew" { capabilities = ["update"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
"#;

impl Policy {
    /// From JSON, or from HCL with nothing but paths and capabilities.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let rules = match serde_json::from_str::<Value>(text) {
            Ok(json) => from_json(&json),
            Err(_) => from_hcl(text),
        };
        let rules = rules.ok_or_else(|| refuse(400, "failed to parse policy"))?;
        Ok(Self { text: text.to_owned(), rules })
    }
}

fn from_json(json: &Value) -> Option<Vec<Rule>> {
    let paths = json.get("path")?.as_object()?;
    let rule = |(pattern, rule): (&String, &Value)| {
        let capabilities = rule.get("capabilities")?.as_array()?;
        let capabilities = capabilities.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
        Some(Rule { pattern: pattern.clone(), capabilities })
    };
    paths.iter().map(rule).collect()
}

fn from_hcl(text: &str) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    for block in text.split("path \"").skip(1) {
        let (pattern, rest) = block.split_once('"')?;
        let (_, rest) = rest.split_once('[')?;
        let (capabilities, _) = rest.split_once(']')?;
        let capabilities = capabilities.split(',').map(|one| one.trim().trim_matches('"').to_owned());
        rules.push(Rule {
            pattern: pattern.to_owned(),
            capabilities: capabilities.filter(|one| !one.is_empty()).collect(),
        });
    }
    Some(rules)
}

/// How well a pattern fits a path: exact patterns before others, longer ones before shorter ones. None: not at all.
fn fit(pattern: &str, path: &str) -> Option<(bool, usize)> {
    let (stem, open) = match pattern.strip_suffix('*') {
        Some(stem) => (stem, true),
        None => (pattern, false),
    };
    let wild = stem.contains('+');
    let mut path = path;
    let mut segments = stem.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if last && open {
            return path.starts_with(segment).then_some((false, pattern.len()));
        }
        let (head, rest) = path.split_once('/').unwrap_or((path, ""));
        let ended = !path.contains('/');
        if (segment != head && segment != "+") || last != ended {
            return None;
        }
        path = rest;
    }
    Some((!wild, pattern.len()))
}

/// What these policies allow on a path; the best fitting rule decides, and `deny` goes before all.
pub(super) fn capabilities<'a>(policies: impl Iterator<Item = &'a Policy>, path: &str) -> Vec<String> {
    let fitting = policies.flat_map(|policy| &policy.rules).filter_map(|rule| Some((fit(&rule.pattern, path)?, rule)));
    let fitting: Vec<_> = fitting.collect();
    let best = fitting.iter().map(|(fit, _)| *fit).max();
    let rules = fitting.into_iter().filter(|(fit, _)| Some(*fit) == best);
    let mut granted: Vec<String> = rules.flat_map(|(_, rule)| rule.capabilities.clone()).collect();
    granted.sort();
    granted.dedup();
    if granted.is_empty() || granted.iter().any(|one| one == "deny") { vec!["deny".to_owned()] } else { granted }
}

/// Whether these policies grant anything under a mount.
pub(super) fn reach<'a>(mut policies: impl Iterator<Item = &'a Policy>, mount: &str) -> bool {
    policies.any(|policy| {
        policy.rules.iter().any(|rule| {
            let stem = rule.pattern.split(['*', '+']).next().unwrap_or_default();
            let touches = stem.starts_with(mount) || (stem.len() < rule.pattern.len() && mount.starts_with(stem));
            touches && rule.capabilities.iter().any(|one| one != "deny")
        })
    })
}

/// Whether these capabilities allow it. Whether a write creates or updates is not told apart.
pub(super) fn allows(capabilities: &[String], op: Op) -> bool {
    let wanted: &[&str] = match op {
        Op::Read => &["read"],
        Op::Write => &["create", "update"],
        Op::Delete => &["delete"],
        Op::List => &["list"],
        Op::Patch => &["patch"],
    };
    capabilities.iter().any(|one| wanted.contains(&one.as_str()))
}
