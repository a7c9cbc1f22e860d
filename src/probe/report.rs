//! What came of one probe.

use std::time::Duration;

/// The most characters of evidence that leave a probe.
const EVIDENCE: usize = 300;

/// What came of one probe, for people and for the verdict. Never holds a body, a header's value or a URL's query; of what a
/// program printed at most one line, which `output.rs` lets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub verdict: Verdict,
    /// What was done, in order, up to the first failure.
    pub steps: Vec<Step>,
    /// One line, 300 characters at most: `status 500, expected 200-299`.
    pub evidence: String,
    /// The whole time.
    pub took: Duration,
    /// When the certificate that was shown ends, in seconds since 1970; none where none was.
    pub certificate_expiry: Option<i64>,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that was expected held.
    Passed,
    /// It did, but it took longer than `max_latency`: worth telling people, never a reason to heal.
    Late,
    /// Something that was expected did not hold.
    Failed,
    /// Nothing can be told yet: what is waited for is not due.
    Pending,
}

/// One step of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done, in a word: `address`, `resolve`, `connect`, `tls`, `request`, `redirect`, `status`, `header`, `body`,
    /// `json`, `latency` and the like.
    pub name: &'static str,
    /// How long.
    pub took: Duration,
    /// What was found, in a few words; in a report one line, as the evidence is.
    pub detail: String,
    /// Whether it held.
    pub ok: bool,
}

impl Report {
    /// A probe that failed in one step, before or beside what it looks at.
    pub fn failed(step: &'static str, why: &str, took: Duration) -> Self {
        Self::of(vec![Step { name: step, took, detail: why.to_owned(), ok: false }], took)
    }

    /// Nothing can be told yet; the words say what is waited for.
    pub fn pending(why: &str) -> Self {
        let step = Step { name: "wait", took: Duration::ZERO, detail: why.to_owned(), ok: true };
        Self { verdict: Verdict::Pending, ..Self::of(vec![step], Duration::ZERO) }
    }

    /// The verdict over steps: the first that does not hold is the evidence, else the last that does. A `latency` step makes
    /// the report late and nothing else.
    pub fn of(mut steps: Vec<Step>, took: Duration) -> Self {
        for step in &mut steps {
            step.detail = one_line(&step.detail);
        }
        let late = steps.iter().any(|step| !step.ok && step.name == "latency");
        let broken = steps.iter().find(|step| !step.ok && step.name != "latency");
        let telling = broken.or_else(|| steps.iter().find(|step| !step.ok)).or_else(|| steps.last());
        let evidence = telling.map(|step| step.detail.clone()).unwrap_or_default();
        let verdict = match (broken, late) {
            (Some(_), _) => Verdict::Failed,
            (None, true) => Verdict::Late,
            (None, false) => Verdict::Passed,
        };
        Self { verdict, evidence, steps, took, certificate_expiry: None }
    }
}

/// Keeps a line a line: libraries' words may hold what a peer sent.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EVIDENCE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_steers_a_terminal_or_makes_lines_of_its_own() {
        let detail = format!("web.example TXT: \u{1b}]0;owned\u{7}\r\nok  all is well{}", "x".repeat(1000));
        let step = |ok| Step { name: "question", took: Duration::ZERO, detail: detail.clone(), ok };
        let report = Report::of(vec![step(true), step(false)], Duration::ZERO);
        for told in report.steps.iter().map(|step| &step.detail).chain([&report.evidence]) {
            assert!(!told.contains(char::is_control) && told.chars().count() == EVIDENCE, "{told:?}");
        }
    }
}
