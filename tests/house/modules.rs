//! The tree of modules, and every path that each of them names.

use std::collections::BTreeSet;

use crate::Sources;
use crate::tokens::{Kind, Token, tokens};

/// A path that a source file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `src/engine/mod.rs:7`.
    pub(crate) place: String,
    /// The module that names it, from the crate's root (`["engine", "docker"]`).
    pub(crate) from: Vec<String>,
    /// As written, a `use` tree's branches spelled out, `*` for all.
    pub(crate) path: Vec<String>,
    /// Whether it is compiled for tests alone.
    pub(crate) test: bool,
}

/// Follows the `mod` items from a crate's root file. Tells the paths named, the files reached, and what it could not follow.
pub(crate) fn walk(sources: &Sources, root: &str, found: &mut Walk) {
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    found.file(sources, root, folder, &[], false);
}

#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) references: Vec<Reference>,
    pub(crate) files: BTreeSet<String>,
    pub(crate) errors: Vec<String>,
}

impl Walk {
    /// `folder` is where the files of its child modules are.
    fn file(&mut self, sources: &Sources, file: &str, folder: &str, module: &[String], test: bool) {
        self.files.insert(file.to_owned());
        let tokens = tokens(&sources[file]);
        let test_only = test_only(&tokens);
        // The inline modules around a token, each with the depth of braces outside it.
        let mut inline: Vec<(String, usize)> = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < tokens.len() {
            let token = tokens[at];
            let test = test || test_only[at];
            let here = || module.iter().cloned().chain(inline.iter().map(|(name, _)| name.clone())).collect::<Vec<_>>();
            if token.is("extern") && tokens.get(at + 1).is_some_and(|next| next.is("crate")) {
                let path = tokens.get(at + 2).map(|name| name.text.to_owned()).into_iter().collect();
                let place = format!("{file}:{}", token.line);
                self.references.push(Reference { place, from: here(), path, test });
                at += 3;
            } else if token.is("mod") && tokens.get(at + 2).is_some_and(|next| next.is("{")) {
                inline.push((tokens[at + 1].text.to_owned(), depth));
                at += 2;
            } else if token.is("mod") && tokens.get(at + 2).is_some_and(|next| next.is(";")) {
                let name = tokens[at + 1].text;
                let within: String = inline.iter().map(|(name, _)| format!("/{name}")).collect();
                let stem = format!("{folder}{within}/{name}");
                let mut module = here();
                module.push(name.to_owned());
                match [format!("{stem}.rs"), format!("{stem}/mod.rs")].iter().find(|file| sources.contains_key(*file)) {
                    Some(child) => self.file(sources, child, &stem, &module, test),
                    // What tests share lies outside the sources, and names nothing of theirs.
                    None if test && has_path(&tokens[..at]) => {}
                    None => self.errors.push(format!("{file}:{}: no file for `mod {name}`", token.line)),
                }
                at += 3;
            } else if starts_path(&tokens, at) {
                let (paths, end) = paths(&tokens, at);
                for (path, line) in paths {
                    let place = format!("{file}:{line}");
                    self.references.push(Reference { place, from: here(), path, test });
                }
                at = end;
            } else {
                if token.is("{") {
                    depth += 1;
                } else if token.is("}") {
                    depth -= 1;
                    inline.retain(|(_, outside)| *outside < depth);
                }
                at += 1;
            }
        }
    }
}

/// Whether a path starts at `at`, rather than goes on; a `use` item counts as one.
fn starts_path(tokens: &[Token<'_>], at: usize) -> bool {
    let token = tokens[at];
    if token.kind != Kind::Word || (is_keyword(token) && !token.is("use")) {
        return false;
    }
    let before = |by: usize| at.checked_sub(by).map(|before| tokens[before]);
    if before(1).is_some_and(|mark| mark.is(".")) {
        // `..x` is a range, `.x` a field.
        return before(2).is_some_and(|mark| mark.is("."));
    }
    // `a::b` and `<a>::b` go on; `= ::b` and `impl ::b` start at the crate of that name.
    let goes_on = |token: Token<'_>| token.is(">") || (token.kind == Kind::Word && !is_keyword(token));
    !(before(1).is_some_and(|mark| mark.is("::")) && before(2).is_some_and(goes_on))
}

fn is_keyword(token: Token<'_>) -> bool {
    KEYWORDS.contains(&token.text)
}

/// The keywords after which a path may begin with `::`.
const KEYWORDS: [&str; 12] = ["as", "dyn", "else", "for", "if", "impl", "in", "match", "mut", "return", "use", "where"];

/// What the path or the `use` item at `at` names, each with its line, and where it ends. A lone word outside `use` is no path.
fn paths(tokens: &[Token<'_>], at: usize) -> (Vec<(Vec<String>, usize)>, usize) {
    let imported = tokens[at].is("use");
    let global = tokens.get(at + 1).is_some_and(|next| next.is("::"));
    let start = if imported { at + 1 + usize::from(global) } else { at };
    let mut found = Vec::new();
    let end = path(tokens, start, &[], &mut found);
    found.retain(|(path, _)| imported || path.len() > 1);
    (found, end.max(at + 1))
}

/// Reads the path, or `use` tree, at `at` behind `prefix` into `paths`, each with its line; tells where it ends.
fn path(tokens: &[Token<'_>], mut at: usize, prefix: &[String], paths: &mut Vec<(Vec<String>, usize)>) -> usize {
    let mut whole = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        if token.is("{") {
            at += 1;
            while tokens.get(at).is_some_and(|token| !token.is("}")) {
                let end = path(tokens, at, &whole, paths);
                at = if tokens.get(end).is_some_and(|token| token.is("as")) { end + 2 } else { end };
                // A comma, or what a macro wrote in a way that no `use` tree is.
                at += usize::from(tokens.get(at).is_some_and(|token| !token.is("}")));
            }
            return at + 1;
        }
        if token.is("*") {
            whole.push("*".to_owned());
            at += 1;
            break;
        }
        if token.kind != Kind::Word {
            break;
        }
        // `a::{self}` is `a`.
        if !token.is("self") || whole.is_empty() {
            whole.push(token.text.to_owned());
        }
        at += 1;
        if !tokens.get(at).is_some_and(|token| token.is("::")) {
            break;
        }
        at += 1;
    }
    if whole.len() > prefix.len() || !prefix.is_empty() {
        paths.push((whole, line));
    }
    at
}

/// Whether these tokens end with `#[path = "…"]`.
fn has_path(before: &[Token<'_>]) -> bool {
    let start = before.iter().rposition(|token| token.is("#")).unwrap_or(before.len());
    before[start..].iter().any(|token| token.is("path")) && before.last().is_some_and(|token| token.is("]"))
}

/// For each token, whether it belongs to an item under `#[cfg(test)]`.
fn test_only(tokens: &[Token<'_>]) -> Vec<bool> {
    let mut marks = vec![false; tokens.len()];
    for at in 0..tokens.len() {
        let Some(end) = test_attribute(&tokens[at..]) else { continue };
        let end = at + end;
        let stop = if tokens[at + 1].is("!") { tokens.len() } else { item_end(tokens, end) };
        marks[at..stop].fill(true);
    }
    marks
}

/// The length of the `#[cfg(test)]` or `#![cfg(all(test, ..))]` that `tokens` starts with.
fn test_attribute(tokens: &[Token<'_>]) -> Option<usize> {
    let open = 1 + usize::from(tokens.get(1)?.is("!"));
    if !(tokens[0].is("#") && tokens.get(open)?.is("[") && tokens.get(open + 1)?.is("cfg")) {
        return None;
    }
    let end = open + tokens[open..].iter().position(|token| token.is("]"))?;
    let inside = &tokens[open..end];
    let test =
        inside.iter().any(|token| token.is("test")) && !inside.iter().any(|token| token.is("not") || token.is("any"));
    test.then_some(end + 1)
}

/// Where the item at `at` ends: behind its first `;` or `}` outside other brackets.
fn item_end(tokens: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, token) in tokens[at..].iter().enumerate() {
        if ["{", "(", "["].iter().any(|open| token.is(open)) {
            depth += 1;
        } else if ["}", ")", "]"].iter().any(|close| token.is(close)) {
            depth -= 1;
        }
        if depth <= 0 && (token.is(";") || token.is("}")) {
            return at + offset + 1;
        }
    }
    tokens.len()
}
