//! The log on a real Kafka. Each test has topics of its own.

mod dead;
mod producing;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_util::sync::CancellationToken;

use super::{Batch, Metrics, Reader, Settings, open_log, open_reader, prepare};
use crate::log::contract::{self, Answered, Opened, number, record, within};
use crate::log::{self, Waiter};

/// Where Kafka is; `scripts/services run kafka -- …` sets it.
fn brokers() -> String {
    std::env::var("TIDEGATE_TEST_KAFKA").expect("TIDEGATE_TEST_KAFKA says where a Kafka for tests is")
}

/// Topics of its own, made on Kafka.
pub(crate) struct Topics {
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    _up: RwLockReadGuard<'static, ()>,
}

/// Held for writing by whoever stops the broker, since the tests beside it need it.
static BROKER: RwLock<()> = RwLock::const_new(());

async fn alone() -> RwLockWriteGuard<'static, ()> {
    BROKER.write().await
}

/// The topics of that name.
pub(crate) fn named(name: &str, partitions: u32) -> Settings {
    Settings {
        brokers: vec![brokers()],
        topic: format!("{name}.messages"),
        dead_topic: format!("{name}.dead"),
        group: format!("{name}.sequencer"),
        partitions,
        ..Settings::default()
    }
}

impl Topics {
    pub(crate) async fn new(partitions: u32) -> Self {
        let up = BROKER.read().await;
        let settings = named(&format!("test-{:016x}", rand::random::<u64>()), partitions);
        prepare(&settings).await.unwrap();
        Self { settings, metrics: Metrics::default(), _up: up }
    }

    pub(crate) fn log(&self) -> log::Log {
        open_log(&self.settings, &self.metrics).unwrap()
    }

    /// A reader and what stops it.
    pub(crate) fn reader(&self) -> (Reader, CancellationToken) {
        self.counted_reader(&self.metrics)
    }

    fn counted_reader(&self, metrics: &Metrics) -> (Reader, CancellationToken) {
        let stop = CancellationToken::new();
        match open_reader(&self.settings, metrics, stop.clone()).unwrap() {
            log::Reader::Kafka(reader) => (reader, stop),
            log::Reader::Embedded(_) => unreachable!(),
        }
    }

    /// Puts bytes into the topic as somebody else would.
    async fn produce(&self, partition: i32, value: &[u8]) {
        let producer: FutureProducer =
            ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
        let raw = FutureRecord::to(&self.settings.topic).partition(partition).key("k").payload(value);
        producer.send(raw, Duration::from_secs(30)).await.unwrap();
    }

    /// Appends messages of one conversation with these numbers and waits until all are accepted.
    async fn append(&self, numbers: std::ops::Range<u64>) {
        self.append_as(("a", "b"), numbers).await;
    }

    async fn append_as(&self, pair: (&str, &str), numbers: std::ops::Range<u64>) {
        let (log, answered) = (self.log(), Arc::new(Answered::default()));
        let count = numbers.clone().count();
        for tag in numbers {
            log.append(record(pair, tag, 10), Waiter::new(answered.clone(), tag)).await.unwrap();
        }
        answered.all_accepted(count).await;
    }
}

async fn next(reader: &Reader) -> Batch {
    within(reader.batch()).await.expect("not stopped")
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.records.iter().map(|appended| number(&appended.record)).collect()
}

/// Takes batches, and is done with each, until there are so many records; their numbers.
async fn take(reader: &Reader, count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = next(reader).await;
        taken.extend(numbers(&batch));
        batch.hand.done();
    }
    taken
}

/// Waits until a gauge has a value.
async fn until(gauge: &Gauge, value: i64) {
    within(async {
        while gauge.get() != value {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn contract() {
    let topics = Topics::new(4).await;
    let (reader, _stop) = topics.reader();
    let mut opened = Opened { log: topics.log(), reader: log::Reader::Kafka(reader) };
    contract::order(&mut opened).await;
    contract::bounds(&mut opened).await;
    contract::end(opened).await;
}
