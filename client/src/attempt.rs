//! The number of a connection attempt (docs/PROTOCOL.md "A session"): it grows with every attempt of a device. No
//! clock.

/// Draws attempt numbers: each is `max(last + 1, now)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempts {
    last: i64,
}

impl Attempts {
    /// Goes on after `last`, the highest number the device has used; 0 for a device that has used none.
    pub(crate) fn after(last: i64) -> Self {
        Self { last }
    }

    /// The number of the attempt that begins now, `now_ms` after 1970.
    pub(crate) fn next(&mut self, now_ms: i64) -> i64 {
        self.last = now_ms.max(self.last.saturating_add(1));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn follows_the_clock_when_it_is_ahead() {
        let mut attempts = Attempts::after(7);
        assert_eq!(attempts.next(1_000), 1_000);
        assert_eq!(attempts.next(1_000), 1_001);
        assert_eq!(attempts.next(500), 1_002);
        assert_eq!(attempts.next(2_000), 2_000);
    }

    proptest! {
        #[test]
        fn grows_whatever_the_clock_does(last in 0i64..1 << 50, clock in prop::collection::vec(0i64..1 << 50, 1..50)) {
            let mut attempts = Attempts::after(last);
            let mut previous = last;
            for now in clock {
                let next = attempts.next(now);
                prop_assert!(next > previous && next >= now);
                previous = next;
            }
        }
    }
}
