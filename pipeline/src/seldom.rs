//! The same trouble in the log once in a while, not a hundred times a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one of many through every so often.
#[derive(Debug)]
pub(crate) struct Seldom {
    every: Duration,
    last: Mutex<Option<Instant>>,
}

impl Default for Seldom {
    fn default() -> Self {
        Self::every(USUALLY)
    }
}

impl Seldom {
    pub(crate) fn every(every: Duration) -> Self {
        Self { every, last: Mutex::default() }
    }

    /// Whether it is time again.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.last.lock();
        let now = Instant::now();
        let due = last.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            *last = Some(now);
        }
        due
    }
}

const USUALLY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_then_none_for_a_while() {
        let seldom = Seldom::default();
        assert!(seldom.is_due());
        assert!(!seldom.is_due());
        let always = Seldom::every(Duration::ZERO);
        assert!(always.is_due() && always.is_due());
    }
}
