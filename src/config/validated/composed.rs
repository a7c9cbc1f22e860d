//! Texts that name credentials, whose values are put in when the text is used: they may not be known yet, and they change.

use std::sync::Arc;

use crate::config::secret::Secret;

/// A text that may be secret, and into which values of credentials may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed(Vec<Part>);

/// A part of a [`Composed`] text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum Part {
    /// As it stands.
    Text(Secret),
    /// What the credential holds.
    Value(Reference),
}

/// One field of a credential, as `${credential:NAME}` and `${credential:NAME.FIELD}` name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// A credential of the same configuration.
    pub credential: Arc<str>,
    /// The field, which its value may lack.
    pub field: String,
}

impl Composed {
    pub(in crate::config) fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    pub(in crate::config) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// What has to be put in, in the order of the text.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(reference) => Some(reference),
        })
    }

    /// The whole text, with what `value` has for each reference.
    ///
    /// # Errors
    /// The first of `value`.
    pub fn fill<E>(&self, value: impl Fn(&Reference) -> Result<Secret, E>) -> Result<Secret, E> {
        if let [Part::Text(text)] = &self.0[..] {
            return Ok(text.clone());
        }
        let mut whole = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => whole.push_str(text.expose()),
                Part::Value(reference) => whole.push_str(value(reference)?.expose()),
            }
        }
        Ok(Secret::new(whole))
    }
}

/// A text without any reference.
impl<T: Into<Secret>> From<T> for Composed {
    fn from(text: T) -> Self {
        Self(vec![Part::Text(text.into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_and_never_shown() {
        let reference = Reference { credential: "api".into(), field: "value".to_owned() };
        let text = Composed::new(vec![Part::Text("Bearer ".into()), Part::Value(reference), Part::Text("-end".into())]);
        let filled = text.fill(|reference| Ok::<_, ()>(Secret::new(format!("{}'s", reference.credential))));
        assert_eq!(filled, Ok(Secret::new("Bearer api's-end")));
        assert_eq!(text.fill(|_| Err::<Secret, _>("none yet")), Err("none yet"));
        assert_eq!(Composed::from("plain").fill(|_| Err(())), Ok(Secret::new("plain")));
        let shown = format!("{text:?}");
        assert!(shown.contains("api") && !shown.contains("Bearer"), "{shown}");
    }
}
