//! What is old enough for retention, by clocks that may have been wrong. Pure.

/// An age beyond which things are removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    cutoff: i64,
    now: i64,
}

/// What a time says of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aged {
    /// It may go.
    Old,
    /// It stays.
    Current,
    /// Its clock was ahead of ours: nothing is known of its age.
    Ahead,
}

impl Age {
    pub(super) fn new(age_ms: u64, now_ms: i64) -> Self {
        Self { cutoff: now_ms.saturating_sub_unsigned(age_ms), now: now_ms }
    }

    /// What is of an earlier time is old; ms since 1970.
    pub(super) fn cutoff(self) -> i64 {
        self.cutoff
    }

    /// What `time` says of a thing.
    pub(super) fn of(self, time: i64) -> Aged {
        if time < self.cutoff {
            Aged::Old
        } else if time <= self.now {
            Aged::Current
        } else {
            Aged::Ahead
        }
    }

    /// How many messages, in the order they were stored, may go: up to the last old one before the first current one.
    ///
    /// Only what stands before an old one counts as stored before it, so a wrong clock can delay retention, but neither
    /// stop it for ever nor remove what is current.
    pub(super) fn old_prefix(self, times: impl IntoIterator<Item = i64>) -> usize {
        let mut old = 0;
        for (place, time) in times.into_iter().enumerate() {
            match self.of(time) {
                Aged::Old => old = place + 1,
                Aged::Current => break,
                Aged::Ahead => {}
            }
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_the_last_old_one_before_the_first_current_one() {
        let age = Age::new(100, 1_000);
        for (times, old) in [
            (vec![], 0),
            (vec![900], 0),
            (vec![899], 1),
            (vec![1, 2, 899, 900, 3], 3),
            (vec![1, 5_000, 2, 950], 3),
            (vec![1, 5_000, 950, 2], 1),
            (vec![5_000, 5_001], 0),
        ] {
            assert_eq!(age.old_prefix(times.iter().copied()), old, "{times:?}");
        }
        assert_eq!(Age::new(u64::MAX, 5).old_prefix([0]), 0);
    }
}
