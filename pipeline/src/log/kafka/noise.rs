//! What librdkafka says, in our log: the same trouble once in a while, not a hundred times a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use tracing::{debug, warn};

/// Lets one of many through every so often.
#[derive(Debug)]
pub(super) struct Seldom {
    every: Duration,
    last: Mutex<Option<Instant>>,
}

impl Default for Seldom {
    fn default() -> Self {
        Self::every(TROUBLE_EVERY)
    }
}

impl Seldom {
    pub(super) fn every(every: Duration) -> Self {
        Self { every, last: Mutex::default() }
    }

    /// Whether it is time again.
    pub(super) fn is_due(&self) -> bool {
        let mut last = self.last.lock();
        let now = Instant::now();
        let due = last.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// A line of librdkafka's own log.
pub(super) fn line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // What matters comes as an error too.
    debug!(?level, facility, "librdkafka: {message}");
}

/// An error that librdkafka reports and goes on from by itself.
pub(super) fn trouble(seldom: &Seldom, error: &KafkaError, reason: &str) {
    if seldom.is_due() {
        warn!(error = error as &dyn std::error::Error, reason, "Kafka does not answer well");
    } else {
        debug!(%error, reason, "Kafka does not answer well");
    }
}

const TROUBLE_EVERY: Duration = Duration::from_secs(10);
