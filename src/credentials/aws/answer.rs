//! What an answer amounts to: a secret's fields, or a failure with its class and words. Of a server's own words none but its
//! error's code is told: a refused signature quotes what was signed.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use iaso_policy::credential::Fault;
use secrecy::zeroize::Zeroizing;
use serde_json::value::RawValue;

use super::wire::Lost;
use crate::config::secret::Secret;
use crate::config::validated::AwsSecret;
use crate::credentials::provider::Fields;

/// The only field of what has no fields of its own.
const VALUE: &str = "value";
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(24);
/// The longest code of an error that is told.
const CODE: usize = 64;

/// A secret's fields: those of a text that is a JSON object, else one by the name `value`.
///
/// # Errors
/// When there are none, one of them has parts of its own, or what is binary is no text in UTF-8.
pub(super) fn fields(output: &GetSecretValueOutput) -> Result<Fields, (Fault, String)> {
    let malformed = |words: String| Err((Fault::Malformed, words));
    let text = match (output.secret_string(), output.secret_binary()) {
        (Some(text), _) => text,
        (None, Some(binary)) => match std::str::from_utf8(binary.as_ref()) {
            Ok(text) => return Ok(Fields::from([(VALUE.to_owned(), Secret::new(text))])),
            Err(_) => return malformed("it is binary, and not text in UTF-8".to_owned()),
        },
        (None, None) => return malformed("the answer holds no secret".to_owned()),
    };
    let Ok(object) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text) else {
        return Ok(Fields::from([(VALUE.to_owned(), Secret::new(text))]));
    };
    let mut fields = Fields::new();
    for (name, value) in object {
        let raw = value.get();
        let value = match raw.as_bytes().first() {
            Some(b'{' | b'[') => return malformed(format!("its field {name:?} is no text, number or boolean")),
            // No value is no field, as in Vault.
            Some(b'n') => continue,
            Some(b'"') => match serde_json::from_str::<String>(raw).map(Zeroizing::new) {
                Ok(text) => Secret::new(text.as_str()),
                Err(_) => return malformed(format!("its field {name:?} cannot be read")),
            },
            _ => Secret::new(raw),
        };
        fields.insert(name, value);
    }
    if fields.is_empty() {
        return malformed("it is a JSON object without fields".to_owned());
    }
    Ok(fields)
}

/// Why there is no secret.
pub(super) fn failure(error: &SdkError<GetSecretValueError, HttpResponse>, secret: &AwsSecret) -> (Fault, String) {
    match error {
        SdkError::ServiceError(refusal) => {
            let (head, error) = (refusal.raw(), refusal.err());
            let after = head.headers().get("retry-after").and_then(|seconds| seconds.trim().parse().ok());
            let after = after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
            refused(head.status().as_u16(), error.code(), error.message().unwrap_or_default(), after, secret)
        }
        SdkError::ResponseError(_) => (Fault::Malformed, FOREIGN.to_owned()),
        SdkError::TimeoutError(_) => (Fault::Ambiguous, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) => {
            failure.as_connector_error().map_or_else(unsent, |error| undelivered(error))
        }
        // The region or the endpoint is none that an address can be made of.
        _ => (Fault::Refused, "it cannot be asked for: region and endpoint lead to no address".to_owned()),
    }
}

const FOREIGN: &str = "the answer is not one of Secrets Manager's, perhaps a proxy's";

fn unsent() -> (Fault, String) {
    (Fault::Unreachable, "it could not be asked for".to_owned())
}

/// Why nothing was sent, or answered: the way there, or the credentials to sign with.
fn undelivered(error: &(dyn Error + 'static)) -> (Fault, String) {
    let mut causes = vec![error];
    while let Some(next) = causes[causes.len() - 1].source() {
        causes.push(next);
    }
    if let Some(Lost { fault, words }) = causes.iter().find_map(|cause| cause.downcast_ref()) {
        return (*fault, words.clone());
    }
    let words = match causes.iter().find_map(|cause| cause.downcast_ref()) {
        None => return unsent(),
        Some(CredentialsError::ProviderTimedOut(_)) => {
            return (Fault::Unreachable, "whoever gives out credentials of AWS does not answer in time".to_owned());
        }
        Some(CredentialsError::CredentialsNotLoaded(_)) => {
            "no credentials of AWS: neither the environment, a profile nor the instance has any"
        }
        Some(CredentialsError::InvalidConfiguration(_)) => {
            "no credentials of AWS: the environment or a profile says something that cannot be followed"
        }
        Some(_) => "no credentials of AWS: whoever should give them out refuses",
    };
    (Fault::Denied, words.to_owned())
}

/// What a refusal amounts to.
fn refused(
    status: u16,
    code: Option<&str>,
    message: &str,
    after: Option<Duration>,
    secret: &AwsSecret,
) -> (Fault, String) {
    let is_marked = message.contains("marked") && message.contains("delet");
    let (fault, why) = match code {
        _ if status == 429 => (Fault::RateLimited { after }, "too many requests"),
        Some(
            "ThrottlingException"
            | "Throttling"
            | "ThrottledException"
            | "TooManyRequestsException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "LimitExceededException",
        ) => (Fault::RateLimited { after }, "too many requests"),
        Some("ResourceNotFoundException") => {
            let words = format!("there is no such secret, or no version of it labelled {}", secret.version_stage);
            return (Fault::NotFound, told(status, code, &words));
        }
        Some("InvalidRequestException") if is_marked => (Fault::Deleted, "it is marked for deletion"),
        Some("AccessDeniedException" | "AccessDenied") => {
            (Fault::Denied, "these credentials may not read it, or may not use its key")
        }
        Some(
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "AuthFailure"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "OptInRequired"
            | "NotAuthorized",
        ) => (Fault::Denied, "the credentials of AWS are wrong, or have ended"),
        Some("DecryptionFailure") => (Fault::Refused, "its key cannot decrypt it"),
        _ if status >= 500 => (Fault::Failing, "the server fails"),
        None if matches!(status, 401 | 403) => (Fault::Denied, "it is denied, perhaps by a proxy"),
        None if (200..300).contains(&status) => (Fault::Malformed, FOREIGN),
        None => (Fault::Failing, FOREIGN),
        Some(_) if status == 403 => (Fault::Denied, "it is denied"),
        Some(_) => (Fault::Refused, "it is refused"),
    };
    (fault, told(status, code, why))
}

/// Status, code and words on one line; a code that is none is not told.
fn told(status: u16, code: Option<&str>, why: &str) -> String {
    let is_code = |code: &&str| code.len() <= CODE && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    match code.filter(is_code) {
        Some(code) => format!("status {status}, {code}: {why}"),
        None => format!("status {status}: {why}"),
    }
}
