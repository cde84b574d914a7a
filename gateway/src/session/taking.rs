//! Whether a client takes what is queued for it (ARCHITECTURE.md "The feed"). Pure: it is told the figures and the time,
//! in ms on the session's clock.

/// What the client had taken when, and whether something waits for it.
#[derive(Debug, Default)]
pub(super) struct Taking {
    written: u64,
    since: u64,
    waits: bool,
}

impl Taking {
    /// Notes the bytes taken so far and whether others wait. The minute of a client that had nothing to take begins
    /// when it has.
    pub(super) fn note(&mut self, written: u64, waits: bool, now: u64) {
        if written != self.written || !waits || !self.waits {
            (self.written, self.since) = (written, now);
        }
        self.waits = waits;
    }

    /// Whether it has taken nothing for so long that it is cut off.
    pub(super) fn is_slow(&self, now: u64) -> bool {
        self.waits && now >= self.since + SLOW_MS
    }

    /// When to look again, if nothing happens before.
    pub(super) fn deadline(&self, now: u64) -> Option<u64> {
        self.waits.then_some(now + SLOW_MS / 4)
    }
}

/// A client that takes nothing at all for so long is cut off.
const SLOW_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_without_a_byte() {
        let mut taking = Taking::default();
        taking.note(0, true, 5);
        taking.note(0, true, 60_004);
        assert!(!taking.is_slow(60_004) && taking.is_slow(60_005));
        taking.note(1, true, 60_004);
        assert!(!taking.is_slow(120_003) && taking.is_slow(120_004));
    }

    #[test]
    fn it_begins_when_something_waits_however_long_nothing_did() {
        let mut taking = Taking::default();
        taking.note(100, false, 0);
        assert!(!taking.is_slow(1_000_000) && taking.deadline(0).is_none());
        taking.note(100, true, 1_000_000);
        assert_eq!(taking.deadline(1_000_000), Some(1_015_000));
        assert!(!taking.is_slow(1_059_999) && taking.is_slow(1_060_000));
    }
}
