//! `[vault]` and `[credentials.NAME]`, validated.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::host::ClientIdentity;
use super::probes::Program;
use crate::config::secret::Secret;

/// `[vault]`: the one server (Vault or OpenBao).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// `http` or `https`, without user, query or fragment; a path prefix may follow the host. No slash at its end.
    pub address: String,
    /// Sent with every request.
    pub namespace: Option<String>,
    /// The only authorities that are trusted; empty: those of this machine.
    pub roots: Vec<CertificateDer<'static>>,
    /// What Iaso shows to the server.
    pub identity: Option<ClientIdentity>,
    /// The name that the certificate must be for, where it is not the address's.
    pub server_name: Option<String>,
    /// How long one request may take, from the name to the last byte.
    pub timeout: Duration,
    /// How Iaso logs in.
    pub auth: Auth,
    /// Whether last good values are kept on disk, sealed with a key of this machine, for a start without Vault.
    pub keep: bool,
    /// Logins at most in an hour.
    pub logins_per_hour: u32,
}

/// How Iaso logs in. Files are read again at each login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A token that somebody else made.
    Token(SecretFrom),
    /// AppRole.
    AppRole {
        /// Where it is mounted (`approle`).
        mount: String,
        /// The role's id.
        role_id: SecretFrom,
        /// Its secret; none where the role asks for none.
        secret_id: Option<SecretFrom>,
        /// The secret-id comes wrapped; it must have been made at this path
        /// (`auth/approle/role/NAME/secret-id`).
        wrapped_at: Option<String>,
    },
    /// A user and a password.
    Userpass {
        /// Where it is mounted (`userpass`).
        mount: String,
        /// The user.
        username: String,
        /// The password.
        password: SecretFrom,
    },
    /// The client certificate of the connection.
    Cert {
        /// Where it is mounted (`cert`).
        mount: String,
        /// The role; none: the server picks one that fits.
        name: Option<String>,
    },
}

/// Where a secret of the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFrom {
    /// In the configuration itself, or in the environment when it was read.
    Text(Secret),
    /// In a file, without the line break at its end.
    File(PathBuf),
}

/// `[credentials.NAME]`: a secret that Iaso keeps fresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name.
    pub name: Arc<str>,
    /// Where it comes from.
    pub source: Source,
    /// The field that is the credential's value where one text is asked for (`value`).
    pub field: String,
    /// From one read to the next, varied by up to a tenth; of what has a lease or an end, that decides.
    pub refresh: Duration,
    /// People are warned this long before it ends.
    pub warn_before: Duration,
    /// The files that it is rendered into.
    pub files: Vec<TargetFile>,
    /// The services that use it, by name.
    pub services: Vec<Arc<str>>,
    /// What those are told when its bytes have changed.
    pub on_change: OnChange,
    /// The wait before what `on_change` says is done to the next of them; up to that long, by chance, before the first.
    pub splay: Duration,
    /// Restarts and signals for its sake in an hour, all services together.
    pub max_per_hour: u32,
    /// Minted at most in an hour, where reading mints.
    pub mints_per_hour: u32,
    /// How it is replaced by a new one; none: never by Iaso.
    pub rotation: Option<Rotation>,
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The KV engine of Vault, version 2.
    Kv2 {
        /// Where the engine is mounted (`secret`).
        mount: String,
        /// The secret's path within it.
        path: String,
    },
    /// The KV engine of Vault, version 1.
    Kv1 {
        /// Where the engine is mounted.
        mount: String,
        /// The secret's path within it.
        path: String,
    },
    /// What Vault makes anew at each read, on a lease: `database/creds/ROLE`.
    Dynamic {
        /// The whole path.
        path: String,
    },
    /// A certificate of Vault's PKI.
    Pki {
        /// Where the engine is mounted (`pki`).
        mount: String,
        /// The role.
        role: String,
        /// What is asked for: `common_name`, `alt_names`, `ip_sans`, `ttl`.
        request: BTreeMap<String, String>,
    },
    /// AWS Secrets Manager.
    Aws(AwsSecret),
    /// A variable of Iaso's environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A file, without the line break at its end.
    File {
        /// Which.
        path: PathBuf,
    },
    /// A folder of files (Docker's or systemd's): each file is a field.
    Directory {
        /// Which.
        path: PathBuf,
    },
}

impl Source {
    /// Whether each read makes a new one.
    pub const fn mints(&self) -> bool {
        matches!(self, Self::Dynamic { .. } | Self::Pki { .. })
    }

    /// The word under `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Kv2 { .. } => "kv2",
            Self::Kv1 { .. } => "kv1",
            Self::Dynamic { .. } => "dynamic",
            Self::Pki { .. } => "pki",
            Self::Aws(_) => "aws",
            Self::Environment { .. } => "environment",
            Self::File { .. } => "file",
            Self::Directory { .. } => "directory",
        }
    }
}

/// A secret of AWS Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSecret {
    /// Its name or its ARN.
    pub secret_id: String,
    /// Where it is; none: what AWS's own settings of this machine say.
    pub region: Option<String>,
    /// The label of the version that is read (`AWSCURRENT`).
    pub version_stage: String,
    /// `http` or `https`, without user, query or fragment, and no slash at its end; none: the region's.
    pub endpoint: Option<String>,
}

/// A file that a credential is rendered into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFile {
    /// Which; absolute. Its folder must exist.
    pub path: PathBuf,
    /// Its permissions, `0o600` unless asked otherwise; never writable by others.
    pub mode: u32,
    /// Its owner; none: Iaso's own user.
    pub owner: Option<Owner>,
    /// Its text; none: the credential's field alone, without a line break.
    pub template: Option<Template>,
}

/// Whom a file belongs to. Numbers, or names of this machine's own `/etc/passwd` and `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user; none: stays Iaso's own.
    pub user: Option<String>,
    /// The group; none: stays Iaso's own.
    pub group: Option<String>,
}

/// A template's text.
#[derive(Clone, PartialEq, Eq)]
pub enum Template {
    /// In the configuration.
    Text(String),
    /// In a file, read at each rendering.
    File(PathBuf),
}

/// A text may hold what was filled in.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text([REDACTED])"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What the services that use a credential are told when its bytes have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// Nothing: they read the file by themselves.
    None,
    /// A signal, by number (1 to 64).
    Signal(u8),
    /// They are restarted.
    Restart,
}

/// `[credentials.NAME.rotation]`: KV secrets alone have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// From one rotation to the next; none: by command alone.
    pub every: Option<Duration>,
    /// How the new value is made.
    pub generator: Generator,
    /// How the service that checks it learns of the new value.
    pub apply: Apply,
    /// How it is shown that a value works; none: by the services' own checks alone.
    pub verify: Option<Call>,
    /// How long the old value stays valid after everything uses the new one.
    pub grace: Duration,
    /// How the old value is retired then; none: it is replaced by the new one and needs nothing.
    pub retire: Option<Call>,
    /// A rotation that has failed is tried again after this long, then doubling to a day.
    pub retry: Duration,
}

/// How a new value is made, from the system's own randomness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Generator {
    /// This many characters of an alphabet, with at least so many of each class, as a password policy of Vault's.
    Characters {
        /// 8 to 4096.
        length: usize,
        /// What they are drawn from, each as likely as any other; no character twice.
        alphabet: String,
        /// Characters that must come, and how many of them at least.
        at_least: Vec<(String, usize)>,
    },
    /// Words with a separator between.
    Passphrase {
        /// 4 to 64.
        words: usize,
        /// Between the words.
        separator: String,
    },
    /// A random UUID.
    Uuid,
}

/// How the service that checks a credential learns of the new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// From the file alone.
    Render,
    /// By a call.
    Call(Call),
}

/// A call that sets or tries a value. Its texts are templates with `value`, `old`, `field` and `credential`.
#[derive(Clone, PartialEq, Eq)]
pub enum Call {
    /// An HTTP request.
    Http {
        /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
        method: String,
        /// A template of a URL.
        url: String,
        /// Templates of header values.
        headers: Vec<(String, Secret)>,
        /// A template of the body.
        body: Option<Secret>,
        /// The statuses that mean success.
        expect: Vec<(u16, u16)>,
        /// The only authorities that are trusted; empty: those of this machine.
        roots: Vec<CertificateDer<'static>>,
        /// From the name to the last byte.
        timeout: Duration,
    },
    /// A command inside a service's container. The value comes on its standard input, never in its arguments.
    Exec {
        /// The service's name.
        service: Arc<str>,
        /// The program and its arguments.
        command: Vec<String>,
        /// A template of what it reads.
        input: Option<Secret>,
        /// How long it may take.
        timeout: Duration,
    },
}

/// What is sent, and where to, may hold what was filled in.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { method, expect, timeout, .. } => f
                .debug_struct("Http")
                .field("method", method)
                .field("expect", expect)
                .field("timeout", timeout)
                .finish_non_exhaustive(),
            Self::Exec { service, command, timeout, .. } => f
                .debug_struct("Exec")
                .field("service", service)
                .field("command", &Program(command))
                .field("timeout", timeout)
                .finish_non_exhaustive(),
        }
    }
}
