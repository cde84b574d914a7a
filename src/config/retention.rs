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
    /// What is wrong if what is remembered of messages goes before the log's records do, which it keeps for `kept_ms`;
    /// below 0: for ever.
    pub(crate) fn forgets_before_log(&self, kept_ms: i64) -> Option<String> {
        let remembered_ms = i64::from(self.remember_days) * DAY_MS;
        let kept = match kept_ms {
            ..0 => "for ever".to_owned(),
            _ => format!("for {} days", kept_ms.saturating_add(DAY_MS - 1) / DAY_MS),
        };
        (kept_ms < 0 || kept_ms > remembered_ms).then(|| {
            format!(
                "kafka.topic keeps records {kept} (retention.ms), but retention.remember_days is {}: a record that is read \
                 again after that would be stored twice. Set remember_days to as many days, or retention.ms lower",
                self.remember_days
            )
        })
    }

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

const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// A hundred years.
const DAYS_MAX: u64 = 36_500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_outlives_the_log() {
        let remember = |remember_days| Retention { remember_days, ..Retention::default() };
        assert_eq!(Retention::default().forgets_before_log(7 * DAY_MS), None, "as the topic is made");
        assert_eq!(remember(7).forgets_before_log(7 * DAY_MS), None);
        let said = remember(7).forgets_before_log(7 * DAY_MS + 1).unwrap();
        assert!(said.contains("for 8 days") && said.contains("remember_days is 7"), "{said}");
        assert!(remember(36_500).forgets_before_log(-1).unwrap().contains("for ever"));
    }
}
