//! What an operator does with dead letters: looks at them, and sends their records again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::spawn_blocking;

use super::{SEND_LIMIT, header, writer_config};
use crate::log::kafka::settings::{Settings, SettingsError};
use crate::log::kafka::{TRACE, codec, headers};
use crate::record::Record;

/// The name of a dead letter: its partition and offset in the dead letters' topic. As text: `0-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A dead letter as an operator sees it.
#[derive(Debug, Clone)]
pub struct Dead {
    /// Its name.
    pub id: Id,
    /// When it was written, in ms since 1970.
    pub at_ms: i64,
    /// Why.
    pub reason: String,
    /// Where it stood, `topic/partition/offset`; empty if it does not say.
    pub from: String,
    /// The key it had: the conversation.
    pub key: Vec<u8>,
    /// The value it had, or its beginning.
    pub value: Vec<u8>,
    /// The bytes the value had when it was too large to be kept whole.
    pub cut_from_bytes: Option<u64>,
    trace: Option<Box<str>>,
}

/// Why dead letters cannot be read or tried again.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// The settings are wrong.
    #[error("the settings of Kafka are wrong")]
    Settings(#[from] SettingsError),
    /// Kafka does not answer, or refuses.
    #[error("Kafka does not give or take the dead letters")]
    Kafka(#[source] KafkaError),
    /// There is no such letter.
    #[error("there is no dead letter {0}")]
    NotFound(Id),
    /// Only a part of the value is there.
    #[error(
        "the dead letter {0} holds only the beginning of its record: the record is too large to be sent again"
    )]
    Cut(Id),
    /// The work was broken off.
    #[error("the work was broken off")]
    BrokenOff,
}

/// Not the name of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dead letter's name, which is PARTITION-OFFSET, like 0-17")]
pub struct NoId(String);

/// Up to `most` dead letters, the oldest first, from `after` on.
pub async fn list(settings: &Settings, after: Option<Id>, most: usize) -> Result<Vec<Dead>, DeadError> {
    let settings = settings.clone();
    let listing = spawn_blocking(move || Topic::open(&settings)?.list(after, most));
    listing.await.map_err(|_| DeadError::BrokenOff)?
}

/// One dead letter.
pub async fn show(settings: &Settings, id: Id) -> Result<Dead, DeadError> {
    let settings = settings.clone();
    let reading = spawn_blocking(move || Topic::open(&settings)?.read(id));
    reading.await.map_err(|_| DeadError::BrokenOff)?
}

/// Sends a dead letter's record again, as it was, to the topic of the messages. Harmless if it was stored in the
/// meantime (ARCHITECTURE.md invariant 4). The letter stays where it is.
pub async fn retry(settings: &Settings, id: Id) -> Result<(), DeadError> {
    let dead = show(settings, id).await?;
    if dead.cut_from_bytes.is_some() {
        return Err(DeadError::Cut(id));
    }
    let producer = writer_config(settings)?.create::<FutureProducer>().map_err(DeadError::Kafka)?;
    let mut again = FutureRecord::to(&settings.topic).key(&dead.key[..]).payload(&dead.value[..]);
    if let Some(trace) = &dead.trace {
        again = again.headers(header(OwnedHeaders::new_with_capacity(1), TRACE, trace.as_bytes()));
    }
    producer.send(again, SEND_LIMIT).await.map_err(|(error, _)| DeadError::Kafka(error))?;
    Ok(())
}

impl Dead {
    /// What the record says, if it can be decoded.
    pub fn record(&self) -> Option<Record> {
        codec::decode(&self.value, self.trace.clone()).ok()
    }

    fn new(message: &BorrowedMessage<'_>) -> Self {
        let text = |name| headers::text(message, name).unwrap_or_default();
        let from = [text(c"topic"), text(c"partition"), text(c"offset")];
        Self {
            id: Id { partition: message.partition(), offset: message.offset() },
            at_ms: message.timestamp().to_millis().unwrap_or_default(),
            reason: text(c"reason").to_owned(),
            from: if from[0].is_empty() { String::new() } else { from.join("/") },
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().unwrap_or_default().to_vec(),
            cut_from_bytes: text(c"cut-from-bytes").parse().ok(),
            trace: headers::text(message, c"traceparent").map(Into::into),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let parts = text.split_once('-').map(|(partition, offset)| (partition.parse(), offset.parse()));
        match parts {
            Some((Ok(partition), Ok(offset))) if partition >= 0 && offset >= 0 => {
                Ok(Self { partition, offset })
            }
            _ => Err(NoId(text.to_owned())),
        }
    }
}

/// The dead letters' topic, as it is read by an operator: without a group.
struct Topic {
    name: String,
    consumer: BaseConsumer,
}

impl Topic {
    fn open(settings: &Settings) -> Result<Self, DeadError> {
        let mut config = settings.client()?;
        // A client that reads must name a group, though it neither joins it nor commits.
        config.set("group.id", format!("{}.operator", settings.group));
        config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        let consumer = config.create().map_err(DeadError::Kafka)?;
        Ok(Self { name: settings.dead_topic.clone(), consumer })
    }

    fn list(&self, after: Option<Id>, most: usize) -> Result<Vec<Dead>, DeadError> {
        let metadata =
            self.consumer.fetch_metadata(Some(&self.name), READ_LIMIT).map_err(DeadError::Kafka)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|one| one.id());
        let mut all = Vec::new();
        for partition in partitions {
            let (low, high) = self.bounds(partition)?;
            let from = match after {
                Some(after) if after.partition > partition => continue,
                Some(after) if after.partition == partition => low.max(after.offset + 1),
                _ => low,
            };
            let most = most - all.len();
            self.each(partition, from, high, most, |dead| all.push(dead))?;
        }
        Ok(all)
    }

    fn read(&self, id: Id) -> Result<Dead, DeadError> {
        let (low, high) = self.bounds(id.partition).map_err(|_| DeadError::NotFound(id))?;
        let mut found = None;
        if (low..high).contains(&id.offset) {
            self.each(id.partition, id.offset, high, 1, |dead| found = Some(dead))?;
        }
        found.filter(|dead| dead.id == id).ok_or(DeadError::NotFound(id))
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), DeadError> {
        self.consumer.fetch_watermarks(&self.name, partition, READ_LIMIT).map_err(DeadError::Kafka)
    }

    /// Reads from an offset up to another, at most so many.
    fn each(
        &self,
        partition: i32,
        from: i64,
        to: i64,
        most: usize,
        mut with: impl FnMut(Dead),
    ) -> Result<(), DeadError> {
        if from >= to || most == 0 {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.name, partition, Offset::Offset(from)).map_err(DeadError::Kafka)?;
        self.consumer.assign(&list).map_err(DeadError::Kafka)?;
        let mut read = 0;
        // A poll that brings nothing in time is the end: the last offsets may be no records.
        while read < most {
            let Some(message) = self.consumer.poll(READ_LIMIT) else { break };
            let message = message.map_err(DeadError::Kafka)?;
            with(Dead::new(&message));
            read += 1;
            if message.offset() + 1 >= to {
                break;
            }
        }
        self.consumer.unassign().map_err(DeadError::Kafka)
    }
}

const READ_LIMIT: Duration = Duration::from_secs(10);
