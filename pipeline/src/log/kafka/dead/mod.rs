//! Dead letters: what cannot be decoded or stored goes to a topic of its own, with its reason, so that nothing is
//! skipped. What an operator does with them is in `operator.rs`.

mod operator;

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::metrics::REFUSED;
use super::settings::{Settings, SettingsError};
use super::{OpenError, TRACE, codec, headers};
use crate::record::Record;

pub use operator::{Dead, DeadError, Id, NoId, list, retry, show};

/// A record that cannot be decoded or stored.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The kind of reason, as the metric has it.
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) from: Place,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) trace: Option<Box<str>>,
}

/// Where a record stands in Kafka. As text: `topic/partition/offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Letter {
    /// The letter of what stands in the topic.
    pub(super) fn new(kind: &'static str, reason: String, message: &BorrowedMessage<'_>) -> Self {
        let from = Place {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
        };
        Self {
            kind,
            reason,
            from,
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
            trace: headers::text(message, c"traceparent").map(Into::into),
        }
    }

    /// The letter of a record that the store refuses.
    pub(crate) fn refused(record: &Record, reason: String, from: Place) -> Self {
        Self {
            kind: REFUSED,
            reason,
            from,
            key: record.conversation.as_str().as_bytes().to_vec(),
            value: codec::encode(record.clone()),
            trace: record.traceparent.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// Writes dead letters. They are rare: its client is made for the first.
pub(super) struct Writer {
    topic: String,
    config: ClientConfig,
    producer: Mutex<Option<FutureProducer>>,
}

impl Writer {
    pub(super) fn new(settings: &Settings) -> Result<Self, OpenError> {
        let (topic, config) = (settings.dead_topic.clone(), writer_config(settings)?);
        Ok(Self { topic, config, producer: Mutex::default() })
    }

    /// Returns when Kafka has the letter. One whose value it finds too large is written with the value's beginning.
    pub(super) async fn write(&self, letter: &Letter) -> Result<(), KafkaError> {
        match self.send(letter, letter.value.len()).await {
            Err(error) if is_too_large(&error) => self.send(letter, CUT_BYTES).await,
            result => result,
        }
    }

    async fn send(&self, letter: &Letter, bytes: usize) -> Result<(), KafkaError> {
        let producer = self.producer()?;
        let value = &letter.value[..bytes.min(letter.value.len())];
        let from = &letter.from;
        let mut headers = OwnedHeaders::new();
        headers = header(headers, REASON, letter.reason.as_bytes());
        headers = header(headers, TOPIC, from.topic.as_bytes());
        headers = header(headers, PARTITION, from.partition.to_string().as_bytes());
        headers = header(headers, OFFSET, from.offset.to_string().as_bytes());
        if value.len() < letter.value.len() {
            headers = header(headers, CUT, letter.value.len().to_string().as_bytes());
        }
        if let Some(trace) = &letter.trace {
            headers = header(headers, TRACE, trace.as_bytes());
        }
        let record = FutureRecord::to(&self.topic).key(&letter.key[..]).payload(value).headers(headers);
        let sent = producer.send(record, SEND_LIMIT).await.map(|_| ()).map_err(|(error, _)| error);
        if sent.as_ref().is_err_and(|error| !is_too_large(error)) {
            // One that has failed for good, or has no brokers any more (`brokers.rs`), would fail again.
            *self.producer.lock() = None;
        }
        sent
    }

    fn producer(&self) -> Result<FutureProducer, KafkaError> {
        let mut producer = self.producer.lock();
        if let Some(producer) = &*producer {
            return Ok(producer.clone());
        }
        Ok(producer.insert(self.config.create()?).clone())
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

fn writer_config(settings: &Settings) -> Result<ClientConfig, SettingsError> {
    let mut config = settings.client()?;
    config.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2");
    config.set("message.timeout.ms", SEND_LIMIT.as_millis().to_string());
    // The broker's word counts, not the client's.
    config.set("message.max.bytes", MAX_LETTER_BYTES.to_string());
    Ok(config)
}

fn header(headers: OwnedHeaders, key: &str, value: &[u8]) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

const REASON: &str = "reason";
const TOPIC: &str = "topic";
const PARTITION: &str = "partition";
const OFFSET: &str = "offset";
const CUT: &str = "cut-from-bytes";
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// What the client lets through; the topic is made for half of it (`topics.rs`).
const MAX_LETTER_BYTES: usize = 16 << 20;
/// What is kept of a value that the broker finds too large.
const CUT_BYTES: usize = 64 << 10;
