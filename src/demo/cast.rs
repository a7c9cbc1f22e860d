//! Who takes part: six containers that fall ill, one after the other, among six that stay well.

use iaso_policy::action::Trouble;

/// A container of the demo, and the service that Iaso knows by the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// At most nine characters, so that the account stays in its columns.
    pub(super) name: &'static str,
    /// What befalls it; none: it is a healthy neighbour.
    pub(super) illness: Option<Illness>,
    /// It has a HEALTHCHECK of its own rather than a check of Iaso's.
    pub(super) healthcheck: bool,
}

/// What befalls a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Illness {
    /// It answers 500.
    Answers500,
    /// It exits, and again after every start.
    CrashLoop,
    /// It exits once.
    Exits,
    /// Its HEALTHCHECK fails.
    Unhealthy,
    /// It takes connections and never answers.
    Hangs,
    /// A person stops it.
    Stopped,
}

/// The code that patients exit with.
pub(super) const EXIT_CODE: u8 = 3;

/// Everybody, the patients in the order of their falls. The crash loop comes early: it takes the longest.
pub(super) const CAST: [Member; 12] = [
    patient("api", Illness::Answers500),
    patient("importer", Illness::CrashLoop),
    patient("mailer", Illness::Exits),
    Member { healthcheck: true, ..patient("cache", Illness::Unhealthy) },
    patient("search", Illness::Hangs),
    patient("reports", Illness::Stopped),
    neighbour("blog"),
    neighbour("gateway"),
    neighbour("metrics"),
    neighbour("queue"),
    neighbour("shop"),
    neighbour("wiki"),
];

const fn patient(name: &'static str, illness: Illness) -> Member {
    Member { name, illness: Some(illness), healthcheck: false }
}

const fn neighbour(name: &'static str) -> Member {
    Member { name, illness: None, healthcheck: false }
}

/// The six that fall ill.
pub(super) fn patients() -> impl Iterator<Item = (&'static Member, Illness)> {
    CAST.iter().filter_map(|member| Some((member, member.illness?)))
}

impl Illness {
    /// The fall as it happens.
    pub(super) fn fall(self) -> String {
        match self {
            Self::Answers500 => "begins to answer 500".to_owned(),
            Self::CrashLoop => format!("exits with code {EXIT_CODE}, and will after every start"),
            Self::Exits => format!("exits with code {EXIT_CODE}"),
            Self::Unhealthy => "falls sick: its image's HEALTHCHECK will fail".to_owned(),
            Self::Hangs => "hangs: takes connections, answers nothing".to_owned(),
            Self::Stopped => "a person stops it (docker stop)".to_owned(),
        }
    }

    /// The fall in a few words, for the summary.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Answers500 => "answered 500",
            Self::CrashLoop => "crash loop",
            Self::Exits => "exited",
            Self::Unhealthy => "HEALTHCHECK failed",
            Self::Hangs => "hung",
            Self::Stopped => "stopped by a person",
        }
    }
}

/// How Iaso learned of it, in a few words.
pub(super) fn noticed(trouble: Trouble) -> String {
    match trouble {
        Trouble::Exited { code } => format!("exit code {code}"),
        Trouble::StoppedInGap => "stopped unseen".to_owned(),
        Trouble::EngineRestarting => "restarted by the engine".to_owned(),
        Trouble::EngineUnhealthy => "HEALTHCHECK fails".to_owned(),
        Trouble::Outlived => "what it needs has started anew".to_owned(),
        Trouble::Check(_) => "check fails 3 times".to_owned(),
    }
}
