//! One check's results turned into a verdict.

use crate::input::CheckResult;
use crate::spec::{CheckSpec, Threshold};
use crate::time::Mono;
use crate::view::CheckView;

/// A check's state in one life of its container.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Check {
    pub(crate) spec: CheckSpec,
    /// It has passed once since its definition changed (law 16). Outlives a container.
    pub(crate) proven: bool,
    verdict: Option<bool>,
    /// Results, newest in the lowest bit; a failure is 1.
    failures: u64,
    failures_in_a_row: u32,
    passes_in_a_row: u8,
    late_in_a_row: u8,
    passed_in_this_life: bool,
    last: Option<Mono>,
    /// When the first of the failures without a pass between began.
    failing_since: Option<Mono>,
}

impl Check {
    pub(crate) const fn new(spec: CheckSpec, proven: bool) -> Self {
        Self {
            spec,
            proven,
            verdict: None,
            failures: 0,
            failures_in_a_row: 0,
            passes_in_a_row: 0,
            late_in_a_row: 0,
            passed_in_this_life: false,
            last: None,
            failing_since: None,
        }
    }

    /// Begins anew for another life of the container.
    pub(crate) const fn reset(&mut self) {
        *self = Self::new(self.spec, self.proven);
    }

    /// Whether a result that began at `began` is older than the newest one.
    pub(crate) fn is_stale(&self, began: Mono) -> bool {
        self.last.is_some_and(|last| began <= last)
    }

    /// Takes in a result.
    pub(crate) fn take(&mut self, began: Mono, result: CheckResult) {
        self.last = Some(began);
        self.late_in_a_row = if result == CheckResult::Late { self.late_in_a_row.saturating_add(1) } else { 0 };
        if result == CheckResult::Failed {
            self.failing_since = self.failing_since.or(Some(began));
            self.failures = self.failures << 1 | 1;
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            self.passes_in_a_row = 0;
            if self.verdict != Some(false) && reached(self.spec.failure, self.failures) {
                self.verdict = Some(false);
            }
        } else {
            self.failing_since = None;
            self.failures <<= 1;
            self.failures_in_a_row = 0;
            self.passes_in_a_row = self.passes_in_a_row.saturating_add(1);
            self.proven = true;
            self.passed_in_this_life = true;
            if self.verdict != Some(true)
                && (self.verdict.is_none() || self.passes_in_a_row >= self.spec.success_threshold)
            {
                self.verdict = Some(true);
                self.failures = 0;
            }
        }
    }

    /// None until the first pass, or enough failures.
    pub(crate) const fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// The newest results came, but too late, as often as failures would make a verdict.
    pub(crate) const fn is_late(&self) -> bool {
        self.late_in_a_row >= self.spec.failure.failures
    }

    pub(crate) const fn passed_in_this_life(&self) -> bool {
        self.passed_in_this_life
    }

    pub(crate) const fn failing_since(&self) -> Option<Mono> {
        self.failing_since
    }

    pub(crate) const fn view(&self) -> CheckView {
        CheckView { passing: self.verdict, failures: self.failures_in_a_row, proven: self.proven, last: self.last }
    }
}

fn reached(threshold: Threshold, failures: u64) -> bool {
    let window = u64::MAX >> (64 - u32::from(threshold.of.clamp(1, 64)));
    (failures & window).count_ones() >= u32::from(threshold.failures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::OnFailure;
    use core::time::Duration;

    fn check(failure: Threshold, success_threshold: u8) -> Check {
        let spec = CheckSpec {
            fingerprint: 1,
            on_failure: OnFailure::Heal,
            failure,
            success_threshold,
            interval: Duration::from_secs(30),
        };
        Check::new(spec, false)
    }

    fn run(check: &mut Check, results: &str) -> Option<bool> {
        for result in results.chars() {
            let at = check.last.map_or(Mono(0), |last| Mono(last.0 + 1));
            check.take(at, if result == '.' { CheckResult::Passed } else { CheckResult::Failed });
        }
        check.verdict()
    }

    #[test]
    fn three_in_a_row_fail_and_a_pass_between_starts_over() {
        let mut c = check(Threshold::in_a_row(3), 1);
        assert_eq!(run(&mut c, "xx"), None);
        assert_eq!(run(&mut c, ".xx"), Some(true));
        assert_eq!(run(&mut c, "x"), Some(false));
        assert_eq!(run(&mut c, "."), Some(true));
    }

    #[test]
    fn three_of_ten_fail_and_what_is_older_does_not_count() {
        let threshold = Threshold { failures: 3, of: 10 };
        assert_eq!(run(&mut check(threshold, 1), ".x..x...x"), Some(false));
        assert_eq!(run(&mut check(threshold, 1), ".x........xx"), Some(true));
    }

    #[test]
    fn a_failing_verdict_ends_only_after_enough_passes_in_a_row() {
        let mut c = check(Threshold::in_a_row(1), 3);
        assert_eq!(run(&mut c, "x..x.."), Some(false));
        assert_eq!(run(&mut c, "."), Some(true));
    }

    #[test]
    fn a_failure_proves_nothing_and_a_pass_does_for_good() {
        let mut c = check(Threshold::in_a_row(3), 1);
        run(&mut c, "xxxx");
        assert!(!c.proven);
        run(&mut c, ".x");
        c.reset();
        assert!(c.proven && !c.passed_in_this_life() && c.verdict().is_none());
    }
}
