//! Which build this is.

/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source's revision, as `IASO_REVISION` named it when this was built.
pub const REVISION: &str = match option_env!("IASO_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
