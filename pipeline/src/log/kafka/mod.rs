//! The log on Kafka: gateways produce, the sequencers of all pipelines share the partitions.
//!
//! The key of a record is its conversation, so a conversation stays in one partition, and there in order.

mod asker;
mod brokers;
mod codec;
mod consumer;
pub mod dead;
mod headers;
mod metrics;
mod noise;
mod partition;
mod producer;
mod reader;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod topics;

use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;
pub use producer::Log;
pub use reader::{Batch, Hand, Reader};
pub use settings::{Settings, SettingsError};
pub use topics::{CheckError, Report, check, prepare};

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings are wrong.
    #[error("the settings of Kafka are wrong")]
    Settings(#[from] SettingsError),
    /// librdkafka cannot make a client of them.
    #[error("no client of Kafka can be made")]
    Client(#[source] rdkafka::error::KafkaError),
    /// The system gives no thread.
    #[error("no thread for Kafka's callbacks")]
    Thread(#[source] std::io::Error),
}

/// Opens the gateways' end. Kafka need not answer yet: what is appended waits.
pub fn open_log(settings: &Settings, metrics: &Metrics) -> Result<super::Log, OpenError> {
    producer::open(settings, metrics).map(super::Log::Kafka)
}

/// Opens the sequencer's end, which joins the group. It ends, with its partitions handed over, after `stop`.
pub fn open_reader(
    settings: &Settings,
    metrics: &Metrics,
    stop: CancellationToken,
) -> Result<super::Reader, OpenError> {
    reader::open(settings, metrics, stop).map(super::Reader::Kafka)
}

/// The generated types of what the log holds.
#[allow(clippy::pedantic, missing_docs, unreachable_pub)]
mod v1 {
    tonic::include_proto!("tidegate.log.v1");
}

/// The header with the trace.
const TRACE: &str = "traceparent";
