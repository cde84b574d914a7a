//! Counts what must not happen to the messages of one stream: lost, doubled, out of order. Pure.

/// The messages of one sender to one recipient, numbered 0, 1, 2, …
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// Everything below has arrived.
    contiguous: u64,
    /// What has arrived above.
    above: std::collections::BTreeSet<u64>,
    /// The highest so far, plus one.
    end: u64,
    faults: Faults,
}

/// What went wrong.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
}

impl Checker {
    /// A message has arrived; whether it is the first time.
    pub(super) fn note(&mut self, number: u64) -> bool {
        if number == self.contiguous && self.above.is_empty() {
            (self.contiguous, self.end) = (number + 1, number + 1);
            return true;
        }
        if number < self.contiguous || !self.above.insert(number) {
            self.faults.doubled += 1;
            return false;
        }
        self.faults.reordered += u64::from(number < self.end);
        self.end = self.end.max(number + 1);
        while self.above.remove(&self.contiguous) {
            self.contiguous += 1;
        }
        true
    }

    /// What went wrong, with `sent` messages sent.
    pub(super) fn faults(&self, sent: u64) -> Faults {
        let arrived = self.contiguous + self.above.len() as u64;
        Faults { lost: sent.saturating_sub(arrived), ..self.faults }
    }
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
    }
}

impl Faults {
    pub(super) fn is_clean(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(arrivals: &[u64], sent: u64) -> (u64, u64, u64) {
        let mut checker = Checker::default();
        for &number in arrivals {
            checker.note(number);
        }
        let Faults { lost, doubled, reordered } = checker.faults(sent);
        (lost, doubled, reordered)
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        assert_eq!(faults(&[0, 1, 2], 3), (0, 0, 0));
        assert_eq!(faults(&[], 3), (3, 0, 0));
        assert_eq!(faults(&[0, 2], 3), (1, 0, 0));
        assert_eq!(faults(&[0, 1], 3), (1, 0, 0));
        assert_eq!(faults(&[0, 2, 1], 3), (0, 0, 1));
        assert_eq!(faults(&[0, 0, 1], 2), (0, 1, 0));
        assert_eq!(faults(&[0, 2, 2, 1, 1], 4), (1, 2, 1));
    }
}
