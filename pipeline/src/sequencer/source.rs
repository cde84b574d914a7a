//! What follows when a batch cannot be stored, by where it comes from.

use std::error::Error;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::log::kafka::{Hand, dead::Letter};
use crate::record::Record;
use crate::store::StoreError;

/// Where a batch comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// Its senders wait: after some tries they are told that the outcome is unknown.
    Embedded,
    /// Its senders have their ACCEPTED: it is tried until it is stored, or until another process has the partition.
    Kafka(&'a Hand),
}

impl Source<'_> {
    /// How long to wait after so many tries; `None`: that was the last.
    pub(super) fn wait(self, tries: usize) -> Option<Duration> {
        let most = match self {
            Self::Embedded => *RETRY_AFTER_MS.get(tries)?,
            Self::Kafka(_) => RETRY_AFTER_MS.get(tries).copied().unwrap_or(RETRY_AT_LAST_MS),
        };
        Some(Duration::from_millis(rand::random_range(most / 2..=most)))
    }

    /// Waits; `false` if it is not to be tried again after all.
    pub(super) async fn sleep(self, wait: Duration) -> bool {
        match self {
            Self::Embedded => {
                sleep(wait).await;
                true
            }
            Self::Kafka(hand) => hand.leaving().run_until_cancelled(sleep(wait)).await.is_some(),
        }
    }

    /// Says that the store is tried again, and shows that the partition waits.
    pub(super) fn says_it_waits(self, tries: usize, cause: &StoreError, wait: Duration) {
        let cause = cause as &dyn Error;
        let wait_ms = wait.as_millis();
        match self {
            Self::Embedded => warn!(error = cause, wait_ms, "the store is tried again"),
            Self::Kafka(hand) => {
                hand.waits(true);
                let partition = hand.partition();
                warn!(error = cause, wait_ms, partition, tries, "the store is tried again");
            }
        }
    }

    /// After the last try, whatever came of it.
    pub(super) fn goes_on(self, tries: usize) {
        if let (Self::Kafka(hand), 1..) = (self, tries) {
            hand.waits(false);
        }
    }

    /// Whether a batch that met this is to be tried again as it is.
    ///
    /// A damaged store is one that somebody has to mend: a partition waits for that. Embedded, the senders go on trying.
    pub(super) fn may_pass(self, cause: &StoreError) -> bool {
        match cause {
            StoreError::Passing(_) => true,
            StoreError::Damaged(_) => matches!(self, Self::Kafka(_)),
            StoreError::Refused(_) => false,
        }
    }

    /// Whether senders are told of a refusal by the pusher, since nobody waits here.
    pub(super) fn answers_by_push(self) -> bool {
        matches!(self, Self::Kafka(_))
    }

    /// Makes a record a dead letter, where there are such; `false` if that could not be.
    pub(super) async fn bury(self, record: &Record, offset: i64, cause: &StoreError) -> bool {
        let Self::Kafka(hand) = self else { return true };
        let reason = cause.source().map_or_else(|| cause.to_string(), |source| format!("{cause}: {source}"));
        hand.bury(&Letter::refused(record, reason, hand.place(offset))).await
    }
}

/// The waits between tries, each at random down to its half: under the 10 s after which a sender is answered.
const RETRY_AFTER_MS: [u64; 4] = [50, 200, 800, 2_000];
/// The wait of a partition from then on: a store that is back is used within seconds.
const RETRY_AT_LAST_MS: u64 = 2_000;
