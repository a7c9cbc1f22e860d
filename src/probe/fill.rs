//! Puts the values of credentials into what a check sends and expects: those that are in use at this moment, or, while others
//! take their place, those.

use crate::config::secret::Secret;
use crate::config::validated::Composed;
use crate::in_use::{CredentialValues, Which};

/// The whole text. Without `values` nobody in this process keeps credentials.
///
/// # Errors
/// Why the check cannot be made, in words: that says nothing of the service.
pub(super) fn text(text: &Composed, values: Option<&CredentialValues>, which: Which) -> Result<Secret, String> {
    text.fill(|reference| match values {
        Some(values) => values.find(reference, which).map_err(|missing| missing.to_string()),
        None => Err(format!("only the daemon knows the value of the credential {}", reference.credential)),
    })
}

/// The same for a text that may not be there.
pub(super) fn optional(
    wanted: Option<&Composed>,
    values: Option<&CredentialValues>,
    which: Which,
) -> Result<Option<Secret>, String> {
    wanted.map(|wanted| text(wanted, values, which)).transpose()
}
