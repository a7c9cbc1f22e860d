//! What a simulated container is, and what befalls it.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_policy::input::RestartPolicy;

use crate::engine::Healthcheck;

/// A simulated container: its settings, as `docker create` takes them, and how its program behaves.
///
/// Times are virtual milliseconds; those of the program count from each start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerScript {
    /// Its name, unique on its engine.
    pub name: String,
    /// Its image's name.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The engine's restart policy for it.
    pub restart: RestartMode,
    /// It removes itself when it exits.
    pub auto_remove: bool,
    /// Its HEALTHCHECK's timing; the verdict is that of a probe at the same moment.
    pub healthcheck: Option<Healthcheck>,
    /// The signal that asks it to stop.
    pub stop_signal: u8,
    /// Its own stop grace.
    pub stop_grace: Option<Duration>,
    /// How it answers its stop signal.
    pub on_stop: OnStop,
    /// How long the engine takes to start it.
    pub start_ms: i64,
    /// How long its program refuses connections after each start.
    pub boot_ms: i64,
    /// How long an answer of its program takes.
    pub latency_ms: i64,
    /// The TCP port its program listens on.
    pub port: u16,
    /// Whether `port` is published on the host, at the same number.
    pub published: bool,
    /// What befalls it.
    pub ailments: Vec<Ailment>,
    /// What makes a sick program well without a restart.
    pub cures: Vec<Cure>,
    /// What it cannot serve without: it answers 503 then. Never in a circle.
    pub relies_on: Vec<Reliance>,
    /// A secret of its environment that its log and its answers give away; Iaso must never repeat it.
    pub secret: String,
}

impl ContainerScript {
    /// A healthy container without labels that serves port 80, starts in 300 ms, stops in 100 ms with code 0, and has the
    /// restart policy `no`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: "sim/app:1".to_owned(),
            labels: BTreeMap::new(),
            restart: RestartMode::No,
            auto_remove: false,
            healthcheck: None,
            stop_signal: 15,
            stop_grace: None,
            on_stop: OnStop::Exits { code: 0, after_ms: 100 },
            start_ms: 300,
            boot_ms: 0,
            latency_ms: 3,
            port: 80,
            published: false,
            ailments: Vec::new(),
            cures: Vec::new(),
            relies_on: Vec::new(),
            secret: format!("planted-secret-of-{name}"),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds the labels of replica `number` of a Compose service.
    #[must_use]
    pub fn compose(self, project: &str, service: &str, number: u32) -> Self {
        self.label("com.docker.compose.project", project)
            .label("com.docker.compose.service", service)
            .label("com.docker.compose.container-number", &number.to_string())
            .label("com.docker.compose.oneoff", "False")
    }

    /// Sets the restart policy.
    #[must_use]
    pub fn restart(mut self, restart: RestartMode) -> Self {
        self.restart = restart;
        self
    }

    /// Adds an ailment.
    #[must_use]
    pub fn ailment(mut self, ailment: Ailment) -> Self {
        self.ailments.push(ailment);
        self
    }

    /// Gives it a HEALTHCHECK with this interval and number of retries, a timeout of 5 s and no start period.
    #[must_use]
    pub fn healthcheck(mut self, interval: Duration, retries: u32) -> Self {
        let timeout = Duration::from_secs(5);
        self.healthcheck = Some(Healthcheck { interval, timeout, retries, start_period: Duration::ZERO });
        self
    }
}

/// The engine's restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartMode {
    /// `no`.
    No,
    /// `always`.
    Always,
    /// `unless-stopped`.
    UnlessStopped,
    /// `on-failure:N`; 0 for no limit.
    OnFailure(u32),
}

impl RestartMode {
    /// What an inspection of the container tells.
    pub fn policy(self) -> RestartPolicy {
        match self {
            Self::No => RestartPolicy::No,
            Self::Always | Self::UnlessStopped => RestartPolicy::Always,
            Self::OnFailure(most) => RestartPolicy::OnFailure(most),
        }
    }

    /// Whether the engine starts a container again that exited with `code` after `count` restarts by this policy.
    pub fn restarts(self, code: i32, count: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(most) => code != 0 && (most == 0 || count < most),
        }
    }
}

/// How a program answers its stop signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// It exits.
    Exits {
        /// With this code.
        code: i32,
        /// So long after the signal.
        after_ms: i64,
    },
    /// It takes no notice: the engine kills it when the grace is over.
    Ignores,
    /// Not even a kill ends it (a process in uninterruptible sleep): the engine's call never returns.
    Stuck,
}

/// What befalls a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// Its program exits.
    Exits {
        /// With this code.
        code: i32,
        /// So long after the start.
        after_ms: i64,
        /// In these lives.
        lives: Lives,
    },
    /// The kernel kills it for want of memory: code 137.
    OutOfMemory {
        /// So long after the start.
        after_ms: i64,
        /// In these lives.
        lives: Lives,
    },
    /// Its program runs and fails those who ask it.
    Sick {
        /// How.
        manner: Manner,
        /// From so long after the start.
        after_ms: i64,
        /// For so long; none: as long as it runs.
        for_ms: Option<i64>,
        /// In these lives.
        lives: Lives,
    },
    /// The engine fails to start it.
    WontStart {
        /// In these lives (a failed start counts as one).
        lives: Lives,
    },
}

/// Some of a container's lives, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lives {
    /// Every one.
    Every,
    /// The first N.
    First(u32),
    /// Every one but the first N.
    After(u32),
}

impl Lives {
    /// Whether life `number` is meant.
    pub fn contains(self, number: u32) -> bool {
        match self {
            Self::Every => true,
            Self::First(n) => number <= n,
            Self::After(n) => number > n,
        }
    }
}

/// How a sick program fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It answers this HTTP status.
    Status(u16),
    /// It accepts and never answers.
    Hangs,
    /// It refuses connections.
    Refuses,
    /// It answers 200, so many milliseconds late.
    Slow(i64),
}

/// What makes a sick program well without a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// This signal.
    Signal(u8),
    /// Any command run in it.
    Exec,
}

/// Another container that a program needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reliance {
    /// Its name.
    pub on: String,
    /// Once that one serves again it does, too; else only a life that began later does.
    pub reconnects: bool,
}

/// What a probe of a container meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// An HTTP answer.
    Answered {
        /// Its status.
        status: u16,
        /// It came after so many milliseconds.
        after_ms: i64,
        /// Its body, the planted secret in it.
        body: String,
    },
    /// The connection was refused, or there is nothing at the address.
    Refused,
    /// No answer ever comes.
    Hung,
}

impl ProbeResult {
    /// Whether a probe that expects a 2xx within `timeout` passes.
    pub fn passes(&self, timeout: Duration) -> bool {
        matches!(self, Self::Answered { status: 200..=299, after_ms, .. }
            if u64::try_from(*after_ms).is_ok_and(|ms| Duration::from_millis(ms) <= timeout))
    }
}
