//! Asks the brokers for what they say of themselves, and hears why one does not answer: a wrong password or certificate
//! is no error of the request, which only runs out of time.

use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};

use super::noise;
use super::settings::{Settings, SettingsError};

/// A producer that sends nothing: unlike a client for administration it hands over what the library complains of.
pub(super) struct Asker(ThreadedProducer<Ear>);

impl Asker {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let producer = settings.client()?.create_with_context(Ear::default());
        producer.map(Self).map_err(|error| SettingsError::Unknown(error.to_string()))
    }

    /// What is known of a topic, and of all brokers; waits in this thread.
    pub(super) fn metadata(&self, topic: &str, limit: Duration) -> KafkaResult<Metadata> {
        self.0.client().fetch_metadata(Some(topic), limit)
    }

    /// What was last wrong with a connection; empty if nothing was.
    pub(super) fn complaint(&self) -> String {
        self.0.client().context().0.lock().clone()
    }
}

/// Keeps the last complaint.
#[derive(Default)]
struct Ear(Mutex<String>);

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        noise::line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That all are down follows, and says less.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.0.lock() = format!(": {reason}");
        }
    }
}

impl ProducerContext for Ear {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
