//! The keeper's events in words.

use iaso_policy::credential::keeper::Event;
use iaso_policy::time::{Mono, Wall};
use tracing::Level;

/// The word of an event, how loud it is, and one line about it; none for what is said elsewhere.
pub(super) fn tell(
    event: &Event,
    words: Option<&str>,
    wall: &dyn Fn(Mono) -> Wall,
) -> Option<(&'static str, Level, String)> {
    let why = |fault: &iaso_policy::credential::Fault| words.unwrap_or(fault.name()).to_owned();
    let at = |mono: &Mono| {
        let time = jiff::Timestamp::from_millisecond(wall(*mono).0).unwrap_or(jiff::Timestamp::MAX);
        time.strftime("%F %TZ").to_string()
    };
    let (word, level, line) = match event {
        Event::VaultUp { after } => {
            ("vault_up", Level::INFO, format!("Vault answers again, after {} s", after.as_secs()))
        }
        Event::VaultDown { fault } => {
            ("vault_down", Level::WARN, format!("{}; what is in use stays in use", why(fault)))
        }
        Event::LoggedIn => ("logged_in", Level::INFO, "there is a new token".to_owned()),
        Event::LoginFailed { fault } => ("login_failed", Level::WARN, why(fault)),
        Event::TokenLost => {
            ("token_lost", Level::WARN, "the token ended, or Vault does not know it any more".to_owned())
        }
        Event::TokenNotRenewed { fault: None } => {
            ("token_not_renewed", Level::INFO, "its longest life is near; there is a login instead".to_owned())
        }
        Event::TokenNotRenewed { fault: Some(fault) } => {
            ("token_not_renewed", Level::WARN, format!("{}; there is a login instead", why(fault)))
        }
        Event::TokenUsesTooFew => {
            ("token_uses_too_few", Level::ERROR, "its role allows a token too few uses to be of use".to_owned())
        }
        Event::Tampered => (
            "tampered",
            Level::ERROR,
            format!(
                "ALARM: {}; no login until it is another one",
                words.unwrap_or("somebody else opened the secret-id")
            ),
        ),
        Event::LoginsHeld { until } => {
            ("logins_held", Level::WARN, format!("the logins of this hour are used up; the next at {}", at(until)))
        }
        Event::MintsHeld { until } => {
            ("mints_held", Level::WARN, format!("what may be made in an hour is used up; the next at {}", at(until)))
        }
        Event::Read { changed: false } => ("read", Level::DEBUG, "as before".to_owned()),
        Event::Read { changed: true } => ("read", Level::INFO, "a new value was read".to_owned()),
        Event::ReadFailed { fault } => {
            ("read_failed", Level::WARN, format!("{}; the last value stays in use", why(fault)))
        }
        Event::NotAllowed => (
            "not_allowed",
            Level::ERROR,
            format!("the token is well, and a policy keeps it from reading: {}", words.unwrap_or("403")),
        ),
        Event::Missing { deleted: true } => {
            ("missing", Level::ERROR, "its newest version is deleted; the last value stays in use".to_owned())
        }
        Event::Missing { deleted: false } => {
            ("missing", Level::ERROR, format!("it is not there: {}", words.unwrap_or("404")))
        }
        Event::Stale { age } => ("stale", Level::WARN, format!("it was last read {} s ago", age.as_secs())),
        Event::Expiring { ends } => ("expiring", Level::WARN, format!("it ends at {}", at(ends))),
        Event::Expired => ("expired", Level::ERROR, "it has ended, and there is no newer one".to_owned()),
        Event::LeaseRenewed => ("lease_renewed", Level::DEBUG, "its lease was renewed".to_owned()),
        Event::LeaseNotRenewed { fault } => {
            ("lease_not_renewed", Level::WARN, format!("{}; it is tried again, or replaced before its end", why(fault)))
        }
        Event::LeaseLost => ("lease_lost", Level::ERROR, "its lease ended before there was another".to_owned()),
        Event::LeaseNotRevoked { fault } => {
            ("lease_not_revoked", Level::WARN, format!("a lease that nothing needs goes on: {}", why(fault)))
        }
        Event::Published => ("in_use", Level::INFO, "everything that uses it has it".to_owned()),
        // Its reason was told when it was tried.
        Event::PublishFailed => return None,
    };
    Some((word, level, line))
}
