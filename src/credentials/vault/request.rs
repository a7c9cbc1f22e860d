//! What is asked of the server: the request types of `vaultrs` where they serve, and a few of our own.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_policy::credential::Fault;
use reqwest::Method;
use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::credentials::provider::Failure;

/// Stands for the server while a library puts a path together. Reserved, so that it resolves nowhere.
const STAND_IN: &str = "http://vault.invalid";

/// One request, without what is the same for all: address, version of the API, token and namespace.
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query, percent-encoded: `/secret/data/app?version=3`.
    pub(super) target: String,
    /// JSON, or nothing.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// What a request type of a library asks for. Paths are joined by us: the library's own way breaks an address with a path.
    pub(super) fn of(endpoint: &impl Endpoint) -> Result<Self, Failure> {
        let unusable = || Failure { fault: Fault::Refused, words: "the path cannot be asked for".to_owned() };
        // The error may quote the body.
        let (parts, body) = endpoint.request(STAND_IN).map_err(|_| unusable())?.into_parts();
        let target = parts.uri.path_and_query().ok_or_else(unusable)?.as_str().trim_end_matches('?').to_owned();
        Ok(Self { method: parts.method, target, body })
    }

    /// A read of any path.
    pub(super) fn get(path: &str) -> Result<Self, Failure> {
        Self::of(&Own { method: RequestMethod::GET, path: path.to_owned(), body: Vec::new() })
    }

    /// A write of any path.
    pub(super) fn post(path: &str, body: &impl Serialize) -> Result<Self, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Failure { fault: Fault::Refused, words: format!("{path}: what is to be sent is no JSON") })?;
        Self::of(&Own { method: RequestMethod::POST, path: path.to_owned(), body })
    }

    /// The path, for people.
    pub(super) fn path(&self) -> &str {
        let path = self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path);
        path.trim_start_matches('/')
    }
}

/// A request that `vaultrs` has no type for.
struct Own {
    method: RequestMethod,
    path: String,
    body: Vec<u8>,
}

impl Endpoint for Own {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn body(&self) -> Result<Option<Vec<u8>>, rustify::errors::ClientError> {
        Ok(Some(self.body.clone()))
    }
}

/// Logging in by certificate. The type in `vaultrs` sends the role under a name that servers do not know.
#[derive(Serialize)]
pub(super) struct CertLogin<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
}

/// A write to KV version 2. The type in `vaultrs` holds values that lose digits of long numbers, and versions of 32 bits.
#[derive(Serialize)]
pub(super) struct Kv2Write<'a> {
    pub(super) options: CheckAndSet,
    pub(super) data: BTreeMap<&'a str, Box<RawValue>>,
}

/// The version that a write is based on.
#[derive(Serialize)]
pub(super) struct CheckAndSet {
    pub(super) cas: u64,
}

/// What is done to a lease.
#[derive(Serialize)]
pub(super) struct OnLease<'a> {
    pub(super) lease_id: &'a str,
    /// Seconds from now; none: as the server likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) increment: Option<u64>,
    /// Whether the answer waits until it is done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) sync: bool,
}

/// Seconds to ask for; none: as the server likes.
pub(super) fn increment(wanted: Duration) -> Option<u64> {
    Some(wanted.as_secs()).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use vaultrs::api::kv2::requests::ReadSecretRequest;
    use vaultrs::api::sys::requests::{ReadHealthRequest, UnwrapRequest};
    use vaultrs::api::token::requests::{RenewTokenSelfRequest, RevokeTokenSelfRequest};

    use super::*;

    fn kv2(path: &str, version: Option<u64>) -> Request {
        let endpoint = ReadSecretRequest { mount: "team/kv".to_owned(), path: path.to_owned(), version };
        Request::of(&endpoint).ok().unwrap()
    }

    #[test]
    fn paths_of_the_library_become_clean_ones() {
        let renewal = Request::of(&RenewTokenSelfRequest { increment: Some("60s".to_owned()) }).ok().unwrap();
        assert_eq!((renewal.method.as_str(), renewal.target.as_str()), ("POST", "/auth/token/renew-self"));
        assert_eq!(renewal.body, br#"{"increment":"60s"}"#);
        let revocation = Request::of(&RevokeTokenSelfRequest {}).ok().unwrap();
        assert_eq!((revocation.target.as_str(), revocation.body.len()), ("/auth/token/revoke-self", 0));
        let unwrapping = Request::of(&UnwrapRequest { token: None }).ok().unwrap();
        assert_eq!((unwrapping.path(), unwrapping.body.len()), ("sys/wrapping/unwrap", 0));
        let health = ReadHealthRequest { standbyok: Some(true), perfstandbyok: Some(true), ..Default::default() };
        assert_eq!(Request::of(&health).ok().unwrap().target, "/sys/health?standbyok=true&perfstandbyok=true");
    }

    #[test]
    fn a_path_cannot_leave_its_place() {
        assert_eq!(kv2("app", None).target, "/team/kv/data/app");
        assert_eq!(kv2("app", Some(3)).target, "/team/kv/data/app?version=3");
        assert_eq!(kv2("app", Some(3)).path(), "team/kv/data/app");
        assert_eq!(kv2("a b?c#d%2e/ü", None).target, "/team/kv/data/a%20b%3Fc%23d%252e/%C3%BC");
        assert_eq!(kv2("../../sys/seal", None).target, "/team/kv/data/sys/seal", "dots are dropped");
        assert_eq!(Request::get("database/creds/app").ok().unwrap().target, "/database/creds/app");
    }

    #[test]
    fn what_is_left_open_is_not_sent() {
        let renewal = OnLease { lease_id: "a/b", increment: increment(Duration::ZERO), sync: false };
        assert_eq!(Request::post("sys/leases/renew", &renewal).ok().unwrap().body, br#"{"lease_id":"a/b"}"#);
        let revocation = OnLease { lease_id: "a/b", increment: increment(Duration::from_secs(9)), sync: true };
        let sent = Request::post("sys/leases/revoke", &revocation).ok().unwrap().body;
        assert_eq!(sent, br#"{"lease_id":"a/b","increment":9,"sync":true}"#);
        assert_eq!(Request::post("auth/cert/login", &CertLogin { name: None }).ok().unwrap().body, b"{}");
    }
}
