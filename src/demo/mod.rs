//! `iaso demo`: sick containers among healthy ones, healed before the reader's eyes by the daemon as it is, on the machine's
//! own engine or, where there is none, on the simulated one. Removes all that it made.

mod cast;
mod narrator;
pub mod patient;
mod rules;
mod run;
mod simulated;
mod stage;
mod story;
mod summary;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use iaso_policy::time::Mono;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::narrator::{Narrator, Tone};
use self::rules::Shortened;
use self::run::{Home, Maker, RunId};
use self::simulated::SimStage;
use self::stage::DockerStage;
use self::story::{Hearing, Story};
use crate::app::commands::{Failure, site};
use crate::app::probers::real_prober;
use crate::app::{self, Edges};
use crate::config::validated::{Config, Host};
use crate::config::{Environment, Mistakes};
use crate::engine::Engine;
use crate::in_use::CredentialValues;
use crate::probe::address::EngineSite;
use crate::probe::heartbeat::Heartbeats;
use crate::probe::scheduler::Prober;
use crate::system::clock::Clock;
use crate::system::heartbeat::Heartbeat;
use crate::system::meters::Meters;
use crate::system::resolver::Resolver;
use crate::system::signals::{self, Signal};
use crate::system::systemd::Manager;
use crate::system::tasks::Tasks;
use crate::system::tls;

/// How the demo is shown.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// On the simulated engine, even where there is a real one.
    pub simulated: bool,
    /// Goes on after the summary, until it is interrupted.
    pub keep: bool,
    /// With colours.
    pub colour: bool,
}

/// Where the demo takes place.
enum Stage {
    Docker(Box<DockerStage>, EngineSite),
    Simulated(SimStage),
}

impl Stage {
    fn engine(&self) -> Arc<dyn Engine> {
        match self {
            Self::Docker(stage, _) => stage.engine(),
            Self::Simulated(stage) => stage.engine(),
        }
    }

    fn site(&self) -> EngineSite {
        match self {
            Self::Docker(_, site) => site.clone(),
            Self::Simulated(_) => EngineSite::Local,
        }
    }

    fn prober(&self, clock: Clock, tasks: &Tasks) -> Prober {
        match self {
            Self::Docker(..) => real_prober(vec![self.engine()], None, None, Resolver::system(clock), clock, tasks),
            Self::Simulated(stage) => stage.prober(),
        }
    }

    async fn fall(&self, member: &str, illness: cast::Illness) -> Result<(), String> {
        match self {
            Self::Docker(stage, _) => stage.fall(member, illness).await,
            Self::Simulated(stage) => stage.fall(member, illness),
        }
    }
}

/// One run of the demo.
struct Demo {
    options: Options,
    narrator: Narrator,
    run: RunId,
    maker: Maker,
    home: Home,
    clock: Clock,
    tasks: Tasks,
    /// Cancelled when somebody asks to end.
    quit: CancellationToken,
}

/// Runs the demo to its end, and removes all that it made: also when it is interrupted, and when a step of it fails.
///
/// # Errors
/// [`Failure::No`] when a patient was not handled as promised, or something could not be removed; [`Failure::Unavailable`] when
/// it could not be shown at all.
pub async fn run(options: Options) -> Result<(), Failure> {
    tls::install_provider();
    let (clock, run) = (Clock::new(), RunId::new());
    let maker = Maker::this(&clock);
    let home = Home::make(&run, &maker, &clock)
        .map_err(|error| Failure::Unavailable(format!("no folder for the demo's database: {error}")))?;
    let (tasks, quit) = (Tasks::new(), CancellationToken::new());
    let mut signals =
        signals::listen().map_err(|error| Failure::Internal(format!("signals cannot be caught: {error}")))?;
    let asked = quit.clone();
    drop(tasks.spawn("signals", async move {
        while let Some(signal) = signals.recv().await {
            if signal == Signal::Stop {
                asked.cancel();
            }
        }
    }));
    let narrator = Narrator::new(options.colour);
    Demo { options, narrator, run, maker, home, clock, tasks, quit }.show().await
}

impl Demo {
    async fn show(self) -> Result<(), Failure> {
        let (mut stage, shipped) = self.choose().await?;
        let mut told = self.on_stage(&mut stage, &shipped).await;
        let mut removed = self.clear(&stage).await;
        if let (Err(Ended::Unfit(why)), Ok(())) = (&told, &removed) {
            let why = format!("the engine cannot carry the demo: {why}");
            let simulated = self.narrator.say("").map_err(Ended::from).and_then(|()| self.simulated(&why));
            stage = simulated.map_err(|ended| failure(&ended))?;
            told = self.on_stage(&mut stage, &shipped).await;
            removed = self.clear(&stage).await;
        }
        removed.map_err(Failure::No)?;
        told.map_err(|ended| failure(&ended))?;
        // Nobody may be reading any more.
        let _ = self.narrator.say("\nFor your own: label a container iaso.enable=true, and start `iaso run`.");
        Ok(())
    }

    /// The real engine where it answers, else the simulated one; and the rules as they are shipped.
    async fn choose(&self) -> Result<(Stage, Config), Failure> {
        let variable = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        let here: Environment = ["DOCKER_HOST", "XDG_RUNTIME_DIR"].into_iter().filter_map(variable).collect();
        let unasked = |mistakes: Mistakes| Failure::Internal(mistakes.to_string());
        let (shipped, unfit) = match rules::shipped(self.home.path(), &here) {
            Ok(shipped) => (shipped, None),
            Err(mistakes) => {
                (rules::shipped(self.home.path(), &Environment::new()).map_err(unasked)?, Some(mistakes.to_string()))
            }
        };
        let unfit = match unfit {
            _ if self.options.simulated => Some("asked for with --simulated".to_owned()),
            _ if !cfg!(target_os = "linux") => Some("containers run this program on Linux only".to_owned()),
            unfit => unfit,
        };
        let stage = match unfit {
            Some(why) => self.simulated(&why),
            None => match self.engine(&shipped.hosts[0]).await {
                Ok(stage) => Ok(stage),
                Err(Ended::Unfit(why)) => self.simulated(&why),
                Err(other) => Err(other),
            },
        };
        Ok((stage.map_err(|ended| failure(&ended))?, shipped))
    }

    fn simulated(&self, why: &str) -> Result<Stage, Ended> {
        self.narrator.say(&format!("This is a simulation: no container is touched ({why})."))?;
        self.narrator.say("Iaso itself is the real one, and its twelve containers live as real ones would.")?;
        Ok(Stage::Simulated(SimStage::new(&self.run)))
    }

    /// The real engine, where it answers.
    async fn engine(&self, host: &Host) -> Result<Stage, Ended> {
        let address = &host.address;
        let unfit = |why: String| Ended::Unfit(format!("no engine at {address}: {why}"));
        if site(host) != EngineSite::Local {
            return Err(Ended::Unfit(format!("the networks of the engine at {address} do not reach this process")));
        }
        let docker = DockerStage::new(host, &self.tasks, &self.run, &self.maker, self.clock).map_err(unfit)?;
        let version = docker.reach().await.map_err(unfit)?.version;
        self.narrator.say(&format!("Twelve small containers on the engine {version} at {address}."))?;
        self.narrator.say(
            "They are made of this very program, on a private network, and removed at the end. Iaso watches them and nothing \
             else.",
        )?;
        if let Err(why) = docker.sweep().await {
            self.narrator.say(&format!("Whether an earlier run left anything behind cannot be told: {why}."))?;
        }
        Ok(Stage::Docker(Box::new(docker), site(host)))
    }

    /// Sets the stage up and lets the story take place on it. A panic is told, so that what was made is still removed.
    async fn on_stage(&self, stage: &mut Stage, shipped: &Config) -> Result<(), Ended> {
        let told = AssertUnwindSafe(async {
            let began = self.clock.mono();
            let (config, times) = rules::shortened(shipped, &self.run);
            self.tell_rules(&times)?;
            self.narrator.heading("What happens")?;
            if let Stage::Docker(docker, _) = stage {
                docker.build(&self.quit).await?;
                let took = self.clock.mono().since(began);
                self.narrator.event(took, "", Tone::Plain, "image, network and containers are made")?;
            }
            self.perform(stage, config, began).await
        });
        let told = told.catch_unwind().await;
        told.unwrap_or_else(|_| Err(Ended::Stuck("the demo itself broke, which is a fault of its own".to_owned())))
    }

    fn tell_rules(&self, times: &[Shortened]) -> io::Result<()> {
        self.narrator.heading("The rules are the shipped ones, with these times shortened")?;
        for time in times {
            let times = format!("{:>2} s → {} s", time.shipped.as_secs(), time.here.as_secs());
            self.narrator.row([time.what, &times], [52, 0])?;
        }
        Ok(())
    }

    /// The daemon and the story, side by side.
    async fn perform(&self, stage: &Stage, config: Config, began: Mono) -> Result<(), Ended> {
        let (heard, entries) = mpsc::unbounded_channel();
        let (start, started) = oneshot::channel();
        let edges = Edges {
            engines: vec![(stage.engine(), stage.site())],
            prober: stage.prober(self.clock, &self.tasks),
            heartbeats: Heartbeats::new(self.clock),
            in_use: CredentialValues::default(),
            own: None,
            listen: None,
            socket: None,
            data_dir: self.home.path().to_owned(),
            heartbeat: Heartbeat::new(),
            manager: Manager::none(),
            reloads: None,
            meters: Meters::new(self.clock),
            listeners: vec![Box::new(Hearing(heard))],
            on_start: Box::new(move |now| drop(start.send(now))),
        };
        let over = CancellationToken::new();
        let mut daemon = Box::pin(app::run(config, edges, over.clone().cancelled_owned()));
        let story = async {
            let started = started.await.map_err(|_| Ended::Stuck("Iaso itself did not start".to_owned()))?;
            let story = Story::new(self, stage, began, entries, started.snapshots);
            self.tell(story).await
        };
        let told = tokio::select! {
            told = story => told,
            ended = &mut daemon => {
                return Err(Ended::Stuck(match ended {
                    Ok(ended) => format!("Iaso itself ended: {ended:?}"),
                    Err(error) => error.to_string(),
                }));
            }
        };
        over.cancel();
        // How it ends is bounded by its own grace, and nothing of the demo depends on it.
        drop(daemon.await);
        told
    }

    async fn tell(&self, mut story: Story<'_>) -> Result<(), Ended> {
        let account = story.tell().await?;
        summary::print(self.narrator, &story, &account)?;
        if self.options.keep {
            self.narrator.heading("Going on until Ctrl-C (--keep)")?;
            if let Stage::Docker(docker, _) = story.stage {
                self.narrator.say(&format!("Try it from another terminal: docker kill {}-wiki", docker.name()))?;
            }
            story.go_on().await?;
        }
        if account.faults.is_empty() { Ok(()) } else { Err(Ended::Otherwise(account.faults.join("; "))) }
    }

    /// Removes what was made, and says so.
    async fn clear(&self, stage: &Stage) -> Result<(), String> {
        if self.quit.is_cancelled() {
            // Nobody may be reading any more.
            let _ = self.narrator.say("\nEnding.");
        }
        if let Stage::Docker(docker, _) = stage
            && docker.remove().await?
        {
            let _ = self.narrator.say("\nRemoved: the containers, their network, their image and Iaso's database.");
        }
        Ok(())
    }
}

/// Why the demo did not go to its good end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// Somebody asked to end.
    #[error("interrupted before every patient was handled")]
    Interrupted,
    /// The engine cannot carry it.
    #[error("{0}")]
    Unfit(String),
    /// Nobody reads any more, or the like.
    #[error("the account cannot be printed: {0}")]
    Unheard(#[from] io::Error),
    /// It cannot go on.
    #[error("the demo could not go on: {0}")]
    Stuck(String),
    /// Patients were not handled as promised.
    #[error("not as promised: {0}")]
    Otherwise(String),
}

fn failure(ended: &Ended) -> Failure {
    match ended {
        Ended::Unfit(_) => Failure::Unavailable(ended.to_string()),
        _ => Failure::No(ended.to_string()),
    }
}
