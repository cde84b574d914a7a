//! Latencies: recorded by many tasks, summed up in quantiles.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// A histogram that many tasks record into; 1 µs to 10 min, three digits.
#[derive(Debug)]
pub(super) struct Latency(Mutex<Histogram<u64>>);

/// Quantiles in µs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 < LONGEST_US / 2 and 3 digits are valid");
        Self(Mutex::new(histogram))
    }
}

impl Latency {
    /// Records one; more than 10 min counts as 10 min.
    pub(super) fn record(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us.max(1));
    }

    pub(super) fn quantiles(&self) -> Quantiles {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if histogram.is_empty() {
            return Quantiles::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        Quantiles {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p90, p99, p999, max, .. } = self;
        write!(f, "p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max} µs")
    }
}

const LONGEST_US: u64 = 600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_three_digits() {
        let latency = Latency::default();
        assert_eq!(latency.quantiles(), Quantiles::default());
        for us in 1..=1_000 {
            latency.record(Duration::from_micros(us));
        }
        latency.record(Duration::from_secs(3_600));
        let quantiles = latency.quantiles();
        assert_eq!(quantiles.count, 1_001);
        assert!(quantiles.p50.abs_diff(501) <= 1, "{quantiles:?}");
        assert!(quantiles.p99.abs_diff(991) <= 1, "{quantiles:?}");
        assert!(quantiles.max >= LONGEST_US, "{quantiles:?}");
    }
}
