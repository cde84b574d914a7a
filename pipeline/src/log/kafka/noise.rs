//! What librdkafka says, in our log: the same trouble once in a while, not a hundred times a second.

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use tracing::{debug, warn};

use crate::seldom::Seldom;

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
