//! Credentials: fetched, kept fresh, rendered, rotated, rolled back. When and what is decided by
//! [`credential`](iaso_policy::credential) in the policy's package; this folder carries it out.

#[cfg(feature = "aws")]
pub mod aws;
mod desk;
pub mod generate;
pub mod kept;
pub mod local;
pub mod mounts;
pub mod provider;
pub mod render;
pub mod rotation;
pub mod seal;
pub mod start;
pub mod template;
pub mod vault;

pub use self::desk::Ports;
