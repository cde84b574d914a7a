//! How long to wait before the next connection attempt: exponential, capped, with full jitter. No clock, no randomness
//! of its own.

use std::time::Duration;

/// The delays of a row of failures.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// The first delay is at most `base`, none is over `cap`.
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// The delay after one more failure; `random` is in 0.0..1.0.
    pub(crate) fn failed(&mut self, random: f64) -> Duration {
        let limit = self.base.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        limit.mul_f64(random.clamp(0.0, 1.0))
    }

    /// A connection has held: the next failure is a first one again.
    pub(crate) fn settled(&mut self) {
        self.failures = 0;
    }
}

/// 2^20 times any sensible base is over any sensible cap.
const MAX_DOUBLINGS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Duration = Duration::from_millis(200);
    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn doubles_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::new(BASE, CAP);
        let delays: Vec<u64> = (0..10).map(|_| backoff.failed(1.0).as_millis() as u64).collect();
        assert_eq!(delays, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        backoff.settled();
        assert_eq!(backoff.failed(0.5), Duration::from_millis(100));
    }

    proptest! {
        #[test]
        fn jitter_is_full_and_bounded(failures in 0u32..2_000, random in 0.0f64..1.0) {
            let mut backoff = Backoff { failures, ..Backoff::new(BASE, CAP) };
            let mut same = backoff.clone();
            prop_assert!(backoff.failed(random) <= CAP);
            prop_assert_eq!(same.failed(0.0), Duration::ZERO);
        }
    }
}
