//! What one request sends, and what is expected of its answer, with the values of credentials in it.

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use crate::config::secret::Secret;
use crate::config::validated::HttpProbe;
use crate::in_use::{CredentialValues, Which};
use crate::probe::fill;

/// The texts of one run.
#[derive(PartialEq)]
pub(super) struct Texts {
    /// What is sent; else what is wrong with it.
    pub(super) headers: Result<HeaderMap, String>,
    /// What the body must contain.
    pub(super) body_contains: Option<Secret>,
    /// What the answer's headers must contain.
    pub(super) answers: Vec<(String, Secret)>,
}

impl Texts {
    /// # Errors
    /// Why the check cannot be made, in words: that says nothing of the service.
    pub(super) fn of(probe: &HttpProbe, values: Option<&CredentialValues>, which: Which) -> Result<Self, String> {
        let answers =
            probe.expect.headers.iter().map(|(name, part)| Ok((name.clone(), fill::text(part, values, which)?)));
        Ok(Self {
            headers: headers_of(probe, values, which)?,
            body_contains: fill::optional(probe.expect.body_contains.as_ref(), values, which)?,
            answers: answers.collect::<Result<_, String>>()?,
        })
    }
}

fn headers_of(
    probe: &HttpProbe,
    values: Option<&CredentialValues>,
    which: Which,
) -> Result<Result<HeaderMap, String>, String> {
    let mut headers = HeaderMap::new();
    for (name, text) in &probe.headers {
        let Ok(key) = name.parse::<HeaderName>() else {
            return Ok(Err(format!("{name:?} is not a header's name")));
        };
        // The value may be a secret: it is marked so, and no error shows it.
        let Ok(mut value) = HeaderValue::from_str(fill::text(text, values, which)?.expose()) else {
            let why = |of: &str| format!("the header {name} has a value that cannot be sent{of}");
            return match text.references().next() {
                // What the credential holds is no fault of the service's.
                Some(reference) => Err(why(&format!(", with what the credential {} holds", reference.credential))),
                None => Ok(Err(why(""))),
            };
        };
        value.set_sensitive(key != HOST);
        headers.append(key, value);
    }
    Ok(Ok(headers))
}
