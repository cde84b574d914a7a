//! `[retention]`: how long and how much is kept.

use super::section::{Invalid, in_range, section};

section! {
    /// What goes is the oldest of each timeline; whoever asks for it hears where the history begins.
    Retention {
        /// Messages older than this are removed; unset: at no age.
        max_age_days: Option<u32> = None,
        /// Beyond this many entries of a timeline the oldest are removed; unset: at no count.
        max_entries: Option<u64> = None,
        /// For how long sending again under the same local_id is recognized, whatever was removed.
        remember_days: u32 = 30,
        /// A device that was away for longer starts anew.
        cursor_days: u32 = 90,
    }
}

impl Retention {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if let Some(days) = self.max_age_days {
            in_range("retention.max_age_days", days.into(), 1..=DAYS_MAX)?;
        }
        if let Some(entries) = self.max_entries {
            // SQL counts in 63 bits.
            in_range("retention.max_entries", entries, 1..=i64::MAX.unsigned_abs())?;
        }
        in_range("retention.remember_days", self.remember_days.into(), 1..=DAYS_MAX)?;
        in_range("retention.cursor_days", self.cursor_days.into(), 1..=DAYS_MAX)
    }
}

/// A hundred years.
const DAYS_MAX: u64 = 36_500;
