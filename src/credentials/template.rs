//! Texts with a credential's values in them: what is rendered into files, and what a rotation's calls send.
//!
//! Nothing is read but the text and the values, nothing is escaped, what is missing is an error. An error says which template,
//! which line and what, and never a value.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::iter;
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, escape_formatter, filters};

use crate::config::secret::Secret;
use crate::config::validated::{TargetFile, Template};
use crate::credentials::provider::Fields;

/// Steps that one rendering may take; a template of a thousand lines takes some thousands.
const STEPS: u64 = 1_000_000;
/// The largest text that may come out, in bytes.
const LARGEST: usize = 8 << 20;
/// The largest template, in bytes.
const LARGEST_TEMPLATE: u64 = 1 << 20;
/// Tests of the engine's that answer about what is missing as if it were there and something else. There are operators for it,
/// which refuse.
const DULL: &str = "none safe escaped boolean odd even divisibleby number integer int float string sequence iterable mapping \
                    sameas eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >= in true false filter test lower upper";
/// Names that a field of the same name does not take.
const OWN: [&str; 6] = ["value", "credential", "field", "fields", "version", "old"];
/// Names that an error lists.
const LISTED: usize = 20;

/// What a template sees.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// `credential`: its name.
    pub credential: &'a str,
    /// `field`: the name of the field that is `value`.
    pub field: &'a str,
    /// Each field by its name, where that is not one of the words here; all of them also as `fields["tls.crt"]`.
    pub fields: &'a Fields,
    /// `version`, where the source counts versions.
    pub version: Option<u64>,
    /// `old`: what `value` was before a rotation.
    pub old: Option<&'a Secret>,
}

/// Why a template has no text.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file that holds it cannot be read.
    #[error("{name}: cannot read the template: {error}")]
    Unreadable {
        /// The template.
        name: String,
        /// The system's answer.
        error: io::Error,
    },
    /// It is too large.
    #[error("{name}: the template has more than {LARGEST_TEMPLATE} bytes")]
    TooLarge {
        /// The template.
        name: String,
    },
    /// There is no template, and the credential has no such field.
    #[error("{name}: the credential has no field {field}; it has {has}")]
    NoField {
        /// Whose.
        name: String,
        /// The field that is asked for.
        field: String,
        /// Those that there are.
        has: String,
    },
    /// The template itself is wrong.
    #[error("{name}, line {line}: {what}")]
    Mistake {
        /// The template.
        name: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

/// What belongs into the credential's target file of this number: its template's text, or the field alone. A template in a
/// file is read now.
pub fn contents(file: &TargetFile, index: usize, context: &Context<'_>) -> Result<Secret, TemplateError> {
    let name = || format!("credentials.{}.files[{index}]", context.credential);
    match &file.template {
        None => context.fields.get(context.field).cloned().ok_or_else(|| TemplateError::NoField {
            name: name(),
            field: context.field.to_owned(),
            has: list(context.fields.keys().map(String::as_str)),
        }),
        Some(Template::Text(text)) => render(&name(), text, context),
        Some(Template::File(path)) => {
            let name = path.display().to_string();
            let text = read(path, &name)?;
            render(&name, &text, context)
        }
    }
}

fn read(path: &Path, name: &str) -> Result<String, TemplateError> {
    let unreadable = |error| TemplateError::Unreadable { name: name.to_owned(), error };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST_TEMPLATE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST_TEMPLATE {
        return Err(TemplateError::TooLarge { name: name.to_owned() });
    }
    Ok(text)
}

/// A template's text with these values. `name` is what errors call the template: a path, or a place in the configuration.
pub fn render(name: &str, text: &str, context: &Context<'_>) -> Result<Secret, TemplateError> {
    static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(engine);
    let mistake = |error: &Error| TemplateError::Mistake {
        name: name.to_owned(),
        line: error.line().unwrap_or(1),
        what: words(error, text, context),
    };
    let template = ENGINE.template_from_named_str(name, text).map_err(|error| mistake(&error))?;
    let mut output = Bounded(Vec::new());
    template.render_captured_to(values(context), &mut output).map_err(|error| mistake(&error))?;
    // Pieces of text make a text.
    Ok(Secret::new(String::from_utf8(output.0).unwrap_or_default()))
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_keep_trailing_newline(true);
    engine.set_fuel(Some(STEPS));
    // So that errors say where in the template they arose.
    engine.set_debug(true);
    // It would print every value.
    engine.remove_global("debug");
    engine.add_filter("b64encode", |text: &Value| Ok(STANDARD.encode(defined_text(text)?)));
    engine.add_filter("quote_shell", |text: &Value| match shlex::try_quote(defined_text(text)?) {
        Ok(quoted) => Ok(quoted.into_owned()),
        Err(_) => Err(Error::from(ErrorKind::InvalidOperation)),
    });
    // The engine's own take what is missing for nothing.
    engine.add_filter("urlencode", |text: &Value| filters::urlencode(defined(text)?));
    engine.add_filter("tojson", |value: &Value, indent: Option<Value>, more: Kwargs| {
        whole(value)?;
        filters::tojson(value, indent, more)
    });
    engine.add_filter("length", |value: &Value| filters::length(defined(value)?));
    // What stands in its place is said, be it an empty text.
    engine.add_filter("default", |state: &State, value: &Value, other: Value, more: Rest<Value>| {
        let args = iter::once(other).chain(more.0).collect();
        filters::default(state, value, Rest(args))
    });
    engine.set_formatter(|out, state, value| {
        // An `if` without an `else` comes to nothing, as its author sees.
        if !value.is_undefined() {
            whole(value)?;
        }
        escape_formatter(out, state, value)
    });
    // These too, and nobody needs them here.
    for name in
        ["escape", "e", "join", "groupby", "chain", "zip", "pprint", "count", "d", "format", "selectattr", "rejectattr"]
    {
        engine.remove_filter(name);
    }
    for name in DULL.split_whitespace() {
        engine.remove_test(name);
    }
    engine
}

/// Nothing in it is missing, nor in what it holds.
fn whole(value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.try_for_each(|item| whole(&item)),
        ValueKind::Map => value.try_iter()?.try_for_each(|key| whole(&value.get_item(&key)?)),
        _ => Ok(()),
    }
}

fn defined(value: &Value) -> Result<&Value, Error> {
    if value.is_undefined() { Err(ErrorKind::UndefinedError.into()) } else { Ok(value) }
}

fn defined_text(value: &Value) -> Result<&str, Error> {
    defined(value)?.as_str().ok_or_else(|| ErrorKind::InvalidOperation.into())
}

fn values(context: &Context<'_>) -> Value {
    let fields: BTreeMap<Value, Value> = context
        .fields
        .iter()
        .map(|(name, secret)| (Value::from(name.as_str()), Value::from(secret.expose())))
        .collect();
    let mut all = fields.clone();
    let own = [
        ("credential", Some(Value::from(context.credential))),
        ("field", Some(Value::from(context.field))),
        ("value", context.fields.get(context.field).map(|value| Value::from(value.expose()))),
        ("version", context.version.map(Value::from)),
        ("old", context.old.map(|old| Value::from(old.expose()))),
        ("fields", Some(Value::from_object(fields))),
    ];
    for (name, value) in own {
        let name = Value::from(name);
        match value {
            Some(value) => all.insert(name, value),
            None => all.remove(&name),
        };
    }
    Value::from_object(all)
}

/// What is wrong, without any value: the engine's own details can hold some where an operation went wrong.
fn words(error: &Error, text: &str, context: &Context<'_>) -> String {
    match error.kind() {
        ErrorKind::UndefinedError => {
            let own = ["value", "credential", "field", "fields"].into_iter();
            let own = own.chain(context.version.map(|_| "version")).chain(context.old.map(|_| "old"));
            let more = context.fields.keys().map(String::as_str).filter(|name| !OWN.contains(name));
            let known = list(own.chain(more));
            match named(error, text).filter(|name| is_missing(name, context)) {
                Some(name) => format!("{name} is not defined; expected one of {known}"),
                None => format!("a name is not defined; expected one of {known}"),
            }
        }
        ErrorKind::SyntaxError
        | ErrorKind::BadEscape
        | ErrorKind::UnknownFilter
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod
        | ErrorKind::UnknownTest => match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
        ErrorKind::OutOfFuel => format!("it takes more than {STEPS} steps"),
        ErrorKind::WriteFailure => format!("its text grows beyond {LARGEST} bytes"),
        kind => kind.to_string(),
    }
}

/// The name that an error is about, as the template writes it: `user`, `fields.user`, `fields["tls.crt"]`. Never a text.
fn named<'t>(error: &Error, text: &'t str) -> Option<&'t str> {
    let range = error.range()?;
    let part = |c: char| c.is_alphanumeric() || "_.-[]'\"".contains(c);
    let name = match text.get(..range.start)?.trim_end().strip_suffix('|') {
        // It arose in a filter: the name stands before it.
        Some(before) => {
            let before = before.trim_end();
            &before[before.rfind(|c| !part(c)).map_or(0, |at| at + 1)..]
        }
        None => {
            let found = text.get(range)?;
            &found[..found.find(|c| !part(c)).unwrap_or(found.len())]
        }
    };
    let whole = name.matches('[').count() == name.matches(']').count();
    Some(name).filter(|name| whole && name.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// Whether this may be the name that is missing: where an error arose stands at times a name that is there, or no name at all.
fn is_missing(name: &str, context: &Context<'_>) -> bool {
    const WORDS: &[&str] = &[
        "if",
        "elif",
        "for",
        "in",
        "is",
        "not",
        "and",
        "or",
        "set",
        "true",
        "false",
        "startingwith",
        "endingwith",
        "credential",
        "field",
        "fields",
    ];
    let name = if name == "value" { context.field } else { name };
    !WORDS.contains(&name) && !context.fields.contains_key(name)
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "none".to_owned(),
        1..=LISTED => names.join(", "),
        more => format!("{} and {} more", names[..LISTED].join(", "), more - LISTED),
    }
}

/// A text that does not grow beyond what is allowed.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
