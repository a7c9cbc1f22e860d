//! Another configuration takes the place of the one in force: whole, between two steps, or not at all.

use std::sync::Arc;

use iaso_policy::Input;
use tokio::sync::oneshot;

use super::Supervisor;
use crate::config::validated::Config;

/// What reading the configuration again came to.
pub struct Reread {
    /// The configuration, or every mistake in it, in words.
    pub read: Result<Config, Vec<String>>,
    /// Told whether it is in force now. Dropped when it comes too late.
    pub done: oneshot::Sender<bool>,
}

impl Supervisor {
    /// Puts it in force, or says why not; then nothing has changed.
    pub(super) fn reload(&mut self, reread: Reread) {
        let Reread { read, done } = reread;
        let put = read.and_then(|config| self.reconfigure(config));
        let now = self.clock.now();
        if let Err(reasons) = &put {
            for reason in reasons {
                tracing::error!("configuration: {reason}");
            }
            tracing::error!(
                reasons = reasons.len(),
                "the configuration is not reloaded: the one before stays in force"
            );
        }
        let is_in_force = put.is_ok();
        self.picture.configuration(now, put.err().map(|reasons| reasons.join("\n")));
        self.publish();
        let _asker_gone = done.send(is_in_force);
    }

    fn reconfigure(&mut self, config: Config) -> Result<(), Vec<String>> {
        let fixed = self.config.fixed_keys_changed(&config);
        if !fixed.is_empty() {
            let verb = if fixed.len() == 1 { "needs" } else { "need" };
            return Err(vec![format!("{} {verb} a restart; nothing was changed", fixed.join(", "))]);
        }
        let config = Arc::new(config);
        let news = self.fleet.reload(Arc::clone(&config), self.clock.now());
        self.calendars.replace(&config.maintenance, self.clock.mono());
        self.tell_what_is_open();
        let (mut changed, mut begun, mut ended) = (0, 0, 0);
        for input in &news.inputs {
            match input {
                Input::Define { service, .. } if self.policy.view(*service).is_some() => changed += 1,
                Input::Define { .. } => begun += 1,
                Input::Forget { .. } => ended += 1,
                _ => {}
            }
        }
        tracing::info!(changed, begun, ended, "the configuration is reloaded");
        if self.config.fleet != config.fleet {
            self.step(Input::Rules { fleet: config.fleet });
        }
        self.take(news);
        self.needs.files.forget();
        self.tell_needs();
        // What is under maintenance no longer is healed by the new rules.
        self.look_at_calendars();
        self.step(Input::Tick);
        self.picture.reconfigured(&config, &self.fleet);
        self.config = config;
        self.tell_waiting();
        Ok(())
    }
}
