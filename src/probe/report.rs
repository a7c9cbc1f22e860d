//! What came of one probe.

use std::time::Duration;

/// The most characters of evidence that leave a probe.
const EVIDENCE: usize = 300;

/// What came of one probe, for people and for the verdict. Never holds a body, a header's value or a URL's query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Everything that was expected held, `max_latency` aside.
    pub passed: bool,
    /// It took longer than `max_latency`: worth telling people, never a reason to heal.
    pub late: bool,
    /// What was done, in order, up to the first failure.
    pub steps: Vec<Step>,
    /// One line, 300 characters at most: `status 500, expected 200-299`.
    pub evidence: String,
    /// The whole time.
    pub took: Duration,
}

/// One step of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `address`, `resolve`, `request` (connection, TLS and the answer's head), `redirect`, `status`, `header`, `body`, `json`
    /// or `latency`; where it failed also `connect`, `tls`.
    pub name: &'static str,
    /// How long.
    pub took: Duration,
    /// What was found, in a few words.
    pub detail: String,
    /// Whether it held.
    pub ok: bool,
}

impl Report {
    /// A probe that failed in one step, before or beside what it looks at.
    pub fn failed(step: &'static str, why: &str, took: Duration) -> Self {
        Self::of(vec![Step { name: step, took, detail: why.to_owned(), ok: false }], took)
    }

    /// The verdict over steps: the first that does not hold is the evidence, else the last that does. A `latency` step makes
    /// the report late and nothing else.
    pub fn of(steps: Vec<Step>, took: Duration) -> Self {
        let late = steps.iter().any(|step| !step.ok && step.name == "latency");
        let broken = steps.iter().find(|step| !step.ok && step.name != "latency");
        let telling = broken.or_else(|| steps.iter().find(|step| !step.ok)).or_else(|| steps.last());
        let evidence = telling.map(|step| one_line(&step.detail)).unwrap_or_default();
        Self { passed: broken.is_none(), late, evidence, steps, took }
    }
}

/// Keeps a line a line: libraries' words may hold what a peer sent.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EVIDENCE).collect()
}
