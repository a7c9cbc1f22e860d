//! Medians and their spread.

use std::time::Duration;

/// Measured spans, in milliseconds, in the order in which they were measured.
#[derive(Debug, Clone, Default)]
pub struct Spans(Vec<f64>);

impl Spans {
    pub fn push(&mut self, span: Duration) {
        self.0.push(span.as_secs_f64() * 1000.0);
    }

    /// Half are at most this.
    pub fn median(&self) -> f64 {
        quantile(&self.0, 0.5)
    }

    /// One line of a table.
    pub fn line(&self, name: &str) -> String {
        let at = |share| quantile(&self.0, share);
        format!("{name:<44} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}", at(0.5), at(0.0), at(0.25), at(0.75), at(1.0))
    }

    /// Nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ratio of each span to the one measured beside it.
    pub fn ratios_to(&self, other: &Self) -> Vec<f64> {
        self.0.iter().zip(&other.0).map(|(span, beside)| span / beside).collect()
    }
}

/// What stands over [`Spans::line`].
pub fn heading(title: &str) -> String {
    let (median, min, low, high, max) = ("median", "min", "25 %", "75 %", "max");
    format!("{title:<44} {median:>9} {min:>9} {low:>9} {high:>9} {max:>9}  ms")
}

/// The ratio of two medians, and how the ratios of neighbouring runs spread.
pub fn ratio(of: &Spans, to: &Spans) -> String {
    let pairs = of.ratios_to(to);
    format!(
        "{:.3}; of neighbouring runs: 25 % {:.3}, median {:.3}, 75 % {:.3}",
        of.median() / to.median(),
        quantile(&pairs, 0.25),
        quantile(&pairs, 0.5),
        quantile(&pairs, 0.75)
    )
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(last), place) = (sorted.len().checked_sub(1), share) else { return f64::NAN };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a short list"
    )]
    let (below, part) = {
        let exact = place * last as f64;
        (exact as usize, exact.fract())
    };
    let above = sorted[(below + 1).min(last)];
    sorted[below] + (above - sorted[below]) * part
}
