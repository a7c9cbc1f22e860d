//! The values of credentials that are in use now: `credentials/` writes them here, and what a check sends is made of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::secret::Secret;
use crate::config::validated::Reference;

/// A credential's fields by name.
type Fields = BTreeMap<String, Secret>;

/// The shortest value that is looked for in foreign text, in bytes.
const SHORTEST: usize = 4;
/// The shortest line of a value of several lines that is.
const LINE: usize = 8;

/// The values in use. Clones share one book; in one that nobody writes into, no credential has a value.
#[derive(Debug, Clone, Default)]
pub struct CredentialValues(Arc<RwLock<BTreeMap<Arc<str>, Values>>>);

#[derive(Debug)]
struct Values {
    in_use: Fields,
    other: Option<Fields>,
}

/// Which of a credential's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that is in use; of the first, already while it is on its way.
    InUse,
    /// While one takes the other's place with the services, one after the other: the other one. Else the one in use.
    Other,
}

/// Why there is nothing to put in. Words without any value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The credential has never had one in this run.
    #[error("the credential {0} has no value yet: `iaso credentials` tells why")]
    Value(Arc<str>),
    /// Its value has other fields.
    #[error("the credential {credential} has no field {field:?}")]
    Field {
        /// Which.
        credential: Arc<str>,
        /// What is asked for.
        field: String,
    },
}

impl CredentialValues {
    /// From now on these are the credential's values; without one that is in use it has none.
    pub fn put(&self, credential: &Arc<str>, in_use: Option<Fields>, other: Option<Fields>) {
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match in_use {
            Some(in_use) => drop(values.insert(Arc::clone(credential), Values { in_use, other })),
            None => drop(values.remove(credential)),
        }
    }

    /// A text in which no value stands that Iaso keeps: in its place there is the credential's name. A value of several lines is
    /// looked for line by line as well. Of less than four characters, or of eight where it is a line of several, it is not
    /// looked for, since any text has such.
    pub fn hide(&self, text: &str) -> String {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut known: Vec<(&str, &Arc<str>)> = Vec::new();
        for (credential, values) in values.iter() {
            for secret in values.other.iter().chain([&values.in_use]).flat_map(BTreeMap::values) {
                let whole = secret.expose().trim();
                let lines = whole.lines().map(str::trim).filter(|line| line.len() >= LINE && *line != whole);
                let sought = Some(whole).filter(|whole| whole.len() >= SHORTEST).into_iter().chain(lines);
                known.extend(sought.map(|value| (value, credential)));
            }
        }
        // One that holds another is sought before it.
        known.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let mut text = text.to_owned();
        for (value, credential) in known {
            if text.contains(value) {
                text = text.replace(value, &format!("[credential {credential}]"));
            }
        }
        text
    }

    /// What a reference stands for at this moment.
    ///
    /// # Errors
    /// When there is no value, or it lacks the field.
    pub fn find(&self, reference: &Reference, which: Which) -> Result<Secret, Missing> {
        let Reference { credential, field } = reference;
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = values.get(credential).ok_or_else(|| Missing::Value(Arc::clone(credential)))?;
        let fields = known.other.as_ref().filter(|_| which == Which::Other).unwrap_or(&known.in_use);
        let missing = || Missing::Field { credential: Arc::clone(credential), field: field.clone() };
        fields.get(field).cloned().ok_or_else(missing)
    }
}
