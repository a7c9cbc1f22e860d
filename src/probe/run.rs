//! A probe under way: the steps that it took so far, and what it is doing.

use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::probe::report::{Report, Step};
use crate::system::clock::stopwatch;

/// A probe under way.
pub(super) struct Run {
    pub(super) steps: Vec<Step>,
    /// When the certificate that was shown ends, in seconds since 1970.
    pub(super) certificate_expiry: Option<i64>,
    /// The step that is being taken, and in words, for a timeout's report.
    doing: (&'static str, &'static str),
    total: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// The last step says how.
pub(super) struct Failed;

impl Run {
    pub(super) fn new() -> Self {
        let doing = ("resolve", "nothing was done yet");
        Self { steps: Vec::new(), certificate_expiry: None, doing, total: Box::new(stopwatch()) }
    }

    /// Says what is being done from now on.
    pub(super) fn doing(&mut self, step: &'static str, words: &'static str) {
        self.doing = (step, words);
    }

    pub(super) fn took(&self) -> Duration {
        (self.total)()
    }

    /// A step that was taken.
    pub(super) fn did(&mut self, name: &'static str, took: Duration, detail: String) {
        self.steps.push(Step { name, took, detail, ok: true });
    }

    /// A step that failed after this time.
    pub(super) fn broke<T>(&mut self, name: &'static str, took: Duration, detail: String) -> Result<T, Failed> {
        self.steps.push(Step { name, took, detail, ok: false });
        Err(Failed)
    }

    pub(super) fn fail<T>(&mut self, name: &'static str, detail: String) -> Result<T, Failed> {
        self.broke(name, Duration::ZERO, detail)
    }

    pub(super) fn value<T>(&mut self, name: &'static str, value: Result<T, String>) -> Result<T, Failed> {
        value.or_else(|why| self.fail(name, why))
    }

    /// Something that was expected.
    pub(super) fn check(&mut self, name: &'static str, ok: bool, detail: String) -> Result<(), Failed> {
        self.steps.push(Step { name, took: Duration::ZERO, detail, ok });
        if ok { Ok(()) } else { Err(Failed) }
    }

    /// What came of it within its time limit.
    pub(super) fn report(mut self, ended: &Result<Result<(), Failed>, Elapsed>, limit: Duration) -> Report {
        let took = self.took();
        if ended.is_err() {
            let (name, words) = self.doing;
            let detail = format!("no whole answer within {limit:?}: {words}");
            self.steps.push(Step { name, took, detail, ok: false });
        }
        Report { certificate_expiry: self.certificate_expiry, ..Report::of(self.steps, took) }
    }
}
