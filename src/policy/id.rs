//! Names and numbers for what the policy talks about.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use core::fmt;

/// One container engine. Numbered by the daemon, stable within one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HostId(pub u16);

/// One watched identity: a container by name, or one replica of a Compose service. Numbered densely by the daemon, stable
/// within one run; never reused for another identity within that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServiceId(pub u32);

/// The position of a check in its service's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CheckId(pub u16);

/// One automatic or ordered operation. Never repeats, across restarts of Iaso too: the high 40 bits are the run's own
/// random part, the low 24 count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AttemptId(pub u64);

/// One outage, and the correlation id of everything said about it. Numbered like [`AttemptId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IncidentId(pub u64);

/// One credential. Numbered by the daemon, stable within one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CredentialId(pub u32);

/// What a credential's charges are kept under: a number made of its name, the same in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CredentialKey(pub u64);

/// One change of a credential on its way to the containers that use it. Numbered by `credentials/`, never reused in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RolloutId(pub u64);

/// What a value is compared by: a keyed hash, under a key that never leaves the host. Equal values have equal digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Digest(pub u128);

/// A person's order, numbered by whoever takes orders, echoed in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OrderId(pub u64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One life of one container: its id (the first 128 bits of the engine's 256) and when it started, in nanoseconds since the
/// epoch on the engine's clock (zero: never).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instance {
    /// The container.
    pub container: u128,
    /// Its start, on the engine's clock.
    pub started: i64,
}

/// What survives a container's recreation: host and Compose project, service and replica, else host and container name.
///
/// Spelled `HOST/PROJECT/SERVICE/REPLICA` or `HOST//NAME`; each part is non-empty, at most 255 characters of
/// `[A-Za-z0-9_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Identity(Box<str>);

/// A part of an identity was empty, longer than 255 characters, or held a character outside `[A-Za-z0-9_.-]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidIdentity;

impl fmt::Display for InvalidIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 1 to 255 characters of A-Z, a-z, 0-9, '_', '.' and '-' in each part")
    }
}

impl core::error::Error for InvalidIdentity {}

impl Identity {
    /// The identity of one replica (from 1) of a Compose service.
    ///
    /// # Errors
    /// When a part is not made of the allowed characters.
    pub fn compose(host: &str, project: &str, service: &str, replica: u32) -> Result<Self, InvalidIdentity> {
        if [host, project, service].iter().all(|part| valid_part(part)) {
            Ok(Self(format!("{host}/{project}/{service}/{replica}").into_boxed_str()))
        } else {
            Err(InvalidIdentity)
        }
    }

    /// The identity of a container outside Compose, by its name.
    ///
    /// # Errors
    /// When a part is not made of the allowed characters.
    pub fn container(host: &str, name: &str) -> Result<Self, InvalidIdentity> {
        if valid_part(host) && valid_part(name) {
            Ok(Self(format!("{host}//{name}").into_boxed_str()))
        } else {
            Err(InvalidIdentity)
        }
    }

    /// Reads back what [`Identity::as_str`] gave.
    ///
    /// # Errors
    /// When the text is of neither form.
    pub fn parse(text: &str) -> Result<Self, InvalidIdentity> {
        let mut parts = text.split('/');
        let (host, project, rest) = (parts.next(), parts.next(), parts.next());
        let (Some(host), Some(project), Some(name)) = (host, project, rest) else { return Err(InvalidIdentity) };
        let whole = match (project, parts.next()) {
            ("", None) => Self::container(host, name)?,
            (_, Some(replica)) => Self::compose(host, project, name, replica.parse().map_err(|_| InvalidIdentity)?)?,
            _ => return Err(InvalidIdentity),
        };
        if whole.as_str() == text { Ok(whole) } else { Err(InvalidIdentity) }
    }

    /// Whether both are replicas of one Compose service, or the same container.
    pub fn is_replica_of(&self, other: &Self) -> bool {
        self == other || self.service().is_some_and(|service| other.service() == Some(service))
    }

    /// The Compose project and the service in it; none outside Compose.
    pub fn compose_service(&self) -> Option<(&str, &str)> {
        self.service()?.split_once('/').and_then(|(_, service)| service.split_once('/'))
    }

    /// Host, project and service; none outside Compose.
    fn service(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(service, _)| service).filter(|service| !service.ends_with('/'))
    }

    /// The spelling that the store keeps.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the host it lives on.
    pub fn host(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The name to show where nothing else names it: `PROJECT-SERVICE`, `PROJECT-SERVICE-N` from replica 2, or the
    /// container's name.
    pub fn short_name(&self) -> Box<str> {
        let mut parts = self.0.split('/').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(project), Some(service), Some("1")) => format!("{project}-{service}").into_boxed_str(),
            (Some(project), Some(service), Some(replica)) => format!("{project}-{service}-{replica}").into_boxed_str(),
            (_, Some(name), None) => name.to_owned().into_boxed_str(),
            _ => self.0.clone(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn valid_part(part: &str) -> bool {
    (1..=255).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_of_one_compose_service() {
        let web = |replica| Identity::compose("local", "shop", "web", replica).unwrap();
        let named = |name| Identity::container("local", name).unwrap();
        assert!(web(1).is_replica_of(&web(2)) && named("db").is_replica_of(&named("db")));
        assert!(!web(1).is_replica_of(&Identity::compose("local", "shop", "db", 1).unwrap()));
        assert!(!named("db").is_replica_of(&named("web")) && !named("web").is_replica_of(&web(1)));
    }

    #[test]
    fn identities_read_back_as_written() {
        for identity in
            [Identity::compose("local", "shop", "web", 2).unwrap(), Identity::container("nas", "db").unwrap()]
        {
            assert_eq!(Identity::parse(identity.as_str()), Ok(identity));
        }
        for bad in [
            "",
            "local",
            "local//",
            "local/shop/web",
            "local/shop/web/x",
            "local/shop/web/01",
            "a/b/c/1/2",
            "local//a b",
        ] {
            assert_eq!(Identity::parse(bad), Err(InvalidIdentity), "{bad}");
        }
    }

    #[test]
    fn short_names_follow_compose() {
        assert_eq!(&*Identity::compose("local", "shop", "web", 1).unwrap().short_name(), "shop-web");
        assert_eq!(&*Identity::compose("local", "shop", "web", 2).unwrap().short_name(), "shop-web-2");
        assert_eq!(&*Identity::container("local", "db").unwrap().short_name(), "db");
    }
}
