//! What to do about credentials, and about the session with Vault: when to log in, read, renew, revoke and rotate, what an
//! error means, and when to wait. Pure like the rest of the policy; `credentials/` in the daemon carries it out.

pub mod fault;
pub mod keeper;
pub mod rotation;

pub use fault::Fault;
