//! Series in the library's shapes.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, MetricFamily, MetricType};

use super::names::Metric;

impl Metric {
    /// The family of these series, each by its labels' values in the order of the table.
    pub(super) fn family<'a, const N: usize>(
        &self,
        series: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) -> MetricFamily {
        let series = series.into_iter().map(|(values, value)| {
            let mut series = self.one(&values);
            match self.kind {
                MetricType::COUNTER => {
                    let mut counter = Counter::default();
                    counter.set_value(value);
                    series.set_counter(counter);
                }
                _ => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(value);
                    series.set_gauge(gauge);
                }
            }
            series
        });
        self.filled(series.collect())
    }

    /// The same for a histogram.
    pub(super) fn histograms<'a, const N: usize>(
        &self,
        series: impl IntoIterator<Item = ([&'a str; N], Histogram)>,
    ) -> MetricFamily {
        let series = series.into_iter().map(|(values, histogram)| {
            let mut series = self.one(&values);
            series.set_histogram(histogram);
            series
        });
        self.filled(series.collect())
    }

    fn one(&self, values: &[&str]) -> prometheus::proto::Metric {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        prometheus::proto::Metric::from_label(self.labels.iter().zip(values).map(pair).collect())
    }

    fn filled(&self, series: Vec<prometheus::proto::Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(series);
        family
    }
}

/// A histogram of these upper bounds; `within` says how many were at most each.
pub(super) fn histogram(bounds: &[f64], within: &[u64], count: u64, sum: f64) -> Histogram {
    let bucket = |(bound, within): (&f64, &u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(*within);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(bounds.iter().zip(within).map(bucket).collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum);
    histogram
}
