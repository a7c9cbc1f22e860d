//! `${VAR}`, `${file:PATH}` and `${credential:NAME}` in the file's texts. What they are filled in with may be secret: it is told
//! by nothing here. A credential's value is not known while the file is read: who uses the text puts it in.

use std::path::Path;

use super::files::{self, Unread};

/// The most that one text may become, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// A reference that cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// As written: `${VAR}`.
    pub(super) reference: String,
    pub(super) got: String,
    pub(super) expected: String,
}

/// A text with its references filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Now(String),
    /// It names a credential at least.
    Later(Vec<Piece>),
}

/// A part of a text that names credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Not empty.
    Text(String),
    /// What follows `${credential:`.
    Credential(String),
}

/// The text with its references filled in; none where it has none. `$${` stands for `${` itself, and any other `$` for itself.
/// Paths are relative to `folder`; without one no file is read.
pub(super) fn fill(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    folder: Option<&Path>,
) -> Result<Option<Filled>, Vec<Wrong>> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    let mut filled = String::new();
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            let (reference, got) = (rest[at..].to_owned(), "a reference without an end".to_owned());
            wrong.push(Wrong { reference, got, expected: "}, or $${ for ${ itself".to_owned() });
            rest = "";
            break;
        };
        let reference = &rest[at..=at + end];
        match value(&rest[at + 2..at + end], env, folder) {
            Ok(Found::Text(value)) => filled.push_str(&value),
            Ok(Found::Credential(name)) => {
                pieces.extend([Piece::Text(std::mem::take(&mut filled)), Piece::Credential(name.to_owned())]);
            }
            Err((got, expected)) => wrong.push(Wrong { reference: reference.to_owned(), got, expected }),
        }
        rest = &rest[at + end + 1..];
    }
    filled.push_str(rest);
    pieces.push(Piece::Text(filled));
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    let length = |piece: &Piece| if let Piece::Text(text) = piece { text.len() } else { 0 };
    let length: usize = pieces.iter().map(length).sum();
    if wrong.is_empty() && length > MAX_TEXT {
        let got = format!("{length} bytes once it is filled in");
        wrong.push(Wrong { reference: text.to_owned(), got, expected: format!("at most {MAX_TEXT}") });
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Some(match &mut pieces[..] {
        [] => Filled::Now(String::new()),
        [Piece::Text(text)] => Filled::Now(std::mem::take(text)),
        _ => Filled::Later(pieces),
    }))
}

/// What stands for a reference.
enum Found<'n> {
    Text(String),
    Credential(&'n str),
}

/// What stands for one reference; else what was found, and what was expected.
fn value<'n>(
    name: &'n str,
    env: &dyn Fn(&str) -> Option<String>,
    folder: Option<&Path>,
) -> Result<Found<'n>, (String, String)> {
    const FORM: &str = "${VARIABLE}, ${file:PATH} or ${credential:NAME}, or $${ for ${ itself";
    if let Some(path) = name.strip_prefix("file:") {
        return content(Path::new(path), folder).map(Found::Text);
    }
    if let Some(name) = name.strip_prefix("credential:") {
        let none = ("no credential".to_owned(), "${credential:NAME}, or ${credential:NAME.FIELD}".to_owned());
        return if name.is_empty() { Err(none) } else { Ok(Found::Credential(name)) };
    }
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !named {
        return Err(("no reference".to_owned(), FORM.to_owned()));
    }
    env(name).map(Found::Text).ok_or_else(|| {
        ("the variable is not set, or empty".to_owned(), "a variable of Iaso's own environment".to_owned())
    })
}

/// A file's text without the line break at its end.
fn content(path: &Path, folder: Option<&Path>) -> Result<String, (String, String)> {
    let Some(folder) = folder.filter(|_| !path.as_os_str().is_empty()) else {
        return Err(("no file".to_owned(), "the path of a file".to_owned()));
    };
    let bytes = files::bounded(&folder.join(path), MAX_TEXT as u64)
        .map_err(|Unread { got, expected }| (got, expected.to_owned()))?;
    let mut text = String::from_utf8(bytes.content)
        .map_err(|_| ("the file is not UTF-8".to_owned(), "a file of text in UTF-8".to_owned()))?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    let trimmed = trimmed.strip_suffix('\r').unwrap_or(trimmed);
    text.truncate(trimmed.len());
    if text.is_empty() { Err(("the file is empty".to_owned(), "a file of text".to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("nas".to_owned()),
            "ODD" => Some("${HOST}$$".to_owned()),
            _ => None,
        }
    }

    fn filled(text: &str) -> Option<String> {
        fill(text, &env, None).unwrap().map(|filled| match filled {
            Filled::Now(text) => text,
            Filled::Later(pieces) => panic!("{pieces:?}"),
        })
    }

    #[test]
    fn variables_are_filled_in_once() {
        assert_eq!(filled("plain $5 $$ }"), None);
        assert_eq!(filled("http://${HOST}:80/$x"), Some("http://nas:80/$x".to_owned()));
        assert_eq!(filled("${HOST}${HOST}"), Some("nasnas".to_owned()));
        assert_eq!(filled("${ODD}"), Some("${HOST}$$".to_owned()), "what was filled in is not read again");
    }

    #[test]
    fn a_credential_is_left_for_later() {
        let pieces = |text: &str| match fill(text, &env, None).unwrap() {
            Some(Filled::Later(pieces)) => pieces,
            other => panic!("{text}: {other:?}"),
        };
        let (text, credential) =
            (|text: &str| Piece::Text(text.to_owned()), |name: &str| Piece::Credential(name.to_owned()));
        assert_eq!(pieces("${credential:api}"), [credential("api")]);
        assert_eq!(
            pieces("${HOST} ${credential:a.b}${credential:c} $${credential:d}"),
            [text("nas "), credential("a.b"), credential("c"), text(" ${credential:d}")]
        );
        assert_eq!(filled("$${credential:api}"), Some("${credential:api}".to_owned()), "an escape names none");
    }

    #[test]
    fn an_escape_stands_for_itself() {
        assert_eq!(filled("$${HOST}"), Some("${HOST}".to_owned()));
        assert_eq!(filled("a$${b} ${HOST}"), Some("a${b} nas".to_owned()));
        assert_eq!(
            filled("${ODD}${HOST}"),
            Some("${HOST}$$nas".to_owned()),
            "a dollar that was filled in escapes nothing"
        );
    }

    #[test]
    fn what_cannot_be_filled_in_is_named_as_written() {
        let wrong = |text: &str| -> Vec<(String, String)> {
            fill(text, &env, None).unwrap_err().into_iter().map(|wrong| (wrong.reference, wrong.got)).collect()
        };
        let one = |reference: &str, got: &str| vec![(reference.to_owned(), got.to_owned())];
        assert_eq!(wrong("a ${NONE} b"), one("${NONE}", "the variable is not set, or empty"));
        assert_eq!(wrong("${HOST"), one("${HOST", "a reference without an end"));
        for odd in ["${}", "${1A}", "${a b}", "${A-B}", "${env:A}", "${é}"] {
            assert_eq!(wrong(odd), one(odd, "no reference"));
        }
        assert_eq!(wrong("${credential:}"), one("${credential:}", "no credential"));
        assert_eq!(wrong("${file:}"), one("${file:}", "no file"));
        assert_eq!(wrong("${NONE}${NONE}").len(), 2);
    }

    #[test]
    fn files_lose_one_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(dir.path().join("secret"), bytes).unwrap();
            fill("${file:secret}", &env, Some(dir.path())).map_err(|wrong| wrong[0].got.clone())
        };
        let now = |text: &str| Ok(Some(Filled::Now(text.to_owned())));
        assert_eq!(read(b"hunter2\n"), now("hunter2"));
        assert_eq!(read(b"hunter2\r\n"), now("hunter2"));
        assert_eq!(read(b"a\nb\n\n"), now("a\nb\n"));
        assert_eq!(read(b"\n"), Err("the file is empty".to_owned()));
        assert_eq!(read(b"caf\xe9"), Err("the file is not UTF-8".to_owned()));
        assert_eq!(read(&vec![b'a'; MAX_TEXT + 1]), Err("larger than 64 KiB".to_owned()));
        let got = |text: &str| fill(text, &env, Some(dir.path())).unwrap_err().remove(0).got;
        assert!(got("${file:absent}").contains("No such file"));
        assert_eq!(got("${file:.}"), "not a regular file");
        assert_eq!(got("${file:/dev/zero}"), "not a regular file");
        let absolute = format!("${{file:{}}}", dir.path().join("secret").display());
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        assert_eq!(fill(&absolute, &env, Some(Path::new("/nowhere"))), Ok(Some(Filled::Now("x".to_owned()))));
    }
}
