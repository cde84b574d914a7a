//! A session's rate: the generic cell rate algorithm (ITU-T I.371) in one figure.

/// A rate with a burst. Times are in ms on the session's clock.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    /// µs a unit costs; 0: no limit.
    interval_us: u64,
    /// µs that may be used ahead.
    burst_us: u64,
    /// When everything taken so far is paid for, in µs.
    paid_at_us: u64,
}

impl Rate {
    /// At most `per_second` in the long run and `burst` at once; `per_second` 0 is no limit.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval_us = 1_000_000u64.checked_div(u64::from(per_second)).unwrap_or(0);
        Self { interval_us, burst_us: interval_us * u64::from(burst.max(1)), paid_at_us: 0 }
    }

    /// Takes one; or says in how many ms one may be taken.
    pub(super) fn try_take(&mut self, now: u64) -> Result<(), u64> {
        let now_us = now * 1_000;
        let paid_at_us = self.paid_at_us.max(now_us) + self.interval_us;
        if paid_at_us > now_us + self.burst_us {
            return Err((paid_at_us - now_us - self.burst_us).div_ceil(1_000));
        }
        self.paid_at_us = paid_at_us;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut rate = Rate::new(10, 5);
        assert!((0..5).all(|_| rate.try_take(0).is_ok()));
        assert_eq!(rate.try_take(0), Err(100));
        assert_eq!(rate.try_take(100), Ok(()));
        assert_eq!(rate.try_take(100), Err(100));
        let taken = (0..10_000).filter(|now| rate.try_take(100 + now).is_ok()).count();
        assert!((99..=101).contains(&taken), "{taken} in ten seconds");
    }

    #[test]
    fn no_limit() {
        let mut rate = Rate::new(0, 0);
        assert!((0..100_000).all(|_| rate.try_take(0).is_ok()));
    }
}
