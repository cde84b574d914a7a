//! The gateways' end: records go to Kafka, and its delivery reports answer who waits (ARCHITECTURE.md invariant 3).
//!
//! Nothing here gives a record up for taking long: it keeps its place in the queue, so that none of the same session
//! overtakes it. Whoever waits for the answer has a time limit of his own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fmt, mem, thread};

use parking_lot::RwLock;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, Statistics};
use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::timeout;
use tracing::{error, warn};

use super::brokers::Brokers;
use super::metrics::Metrics;
use super::noise;
use super::settings::{Settings, SettingsError};
use super::{OpenError, TRACE, codec};
use crate::log::{Answer, Appended, Closed, NotAppended, Waiter};
use crate::record::Record;
use crate::seldom::Seldom;

/// The gateways' end. Cheap to clone; the last clone dropped ends it.
#[derive(Debug, Clone)]
pub struct Log(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

struct Shared {
    topic: String,
    config: ClientConfig,
    producer: RwLock<BaseProducer<Context>>,
    /// A permit for each byte that may wait.
    room: Arc<Semaphore>,
    state: Arc<State>,
    closing: AtomicBool,
}

/// What the callbacks know.
#[derive(Debug)]
struct State {
    brokers: Brokers,
    unanswered: AtomicUsize,
    /// The producer can do nothing more.
    broken: AtomicBool,
    metrics: Metrics,
    trouble: Seldom,
}

struct Context(Arc<State>);

/// Who waits for a delivery report, and the room that the record takes until then.
struct Waiting {
    waiter: Waiter,
    send_time: i64,
    _room: OwnedSemaphorePermit,
}

/// Opens the log; Kafka need not be there yet.
pub(super) fn open(settings: &Settings, metrics: &Metrics) -> Result<Log, OpenError> {
    let config = config(settings)?;
    let state = Arc::new(State {
        brokers: Brokers::of(&config),
        unanswered: AtomicUsize::new(0),
        broken: AtomicBool::new(false),
        metrics: metrics.clone(),
        trouble: Seldom::default(),
    });
    let producer = build(&config, &state).map_err(OpenError::Client)?;
    let shared = Arc::new(Shared {
        topic: settings.topic.clone(),
        config,
        producer: RwLock::new(producer),
        room: Arc::new(Semaphore::new(QUEUE_BYTES)),
        state,
        closing: AtomicBool::new(false),
    });
    let kept = shared.clone();
    let thread = thread::Builder::new().name("kafka-producer".to_owned());
    thread.spawn(move || kept.keep()).map_err(OpenError::Thread)?;
    Ok(Log(Arc::new(Handle(shared))))
}

impl Log {
    pub(in crate::log) fn try_append(&self, record: Record, waiter: Waiter) -> Result<(), NotAppended> {
        let shared = &self.0.0;
        match shared.room.clone().try_acquire_many_owned(cost(&record)) {
            Ok(room) => {
                shared.send(record, waiter, room);
                Ok(())
            }
            Err(TryAcquireError::NoPermits) => {
                Err(NotAppended::Full(Box::new(Appended { record, waiter, offset: 0 })))
            }
            Err(TryAcquireError::Closed) => Err(NotAppended::Closed),
        }
    }

    pub(in crate::log) async fn append(&self, record: Record, waiter: Waiter) -> Result<(), Closed> {
        let shared = &self.0.0;
        let room = shared.room.clone().acquire_many_owned(cost(&record)).await.map_err(|_| Closed)?;
        shared.send(record, waiter, room);
        Ok(())
    }

    pub(in crate::log) fn depth(&self) -> usize {
        self.0.0.state.unanswered.load(Ordering::Relaxed)
    }

    /// Has the producer fail for good, as a broker that lost its state would.
    #[cfg(test)]
    #[expect(unsafe_code, reason = "librdkafka's own means for such tests is not wrapped by the library")]
    pub(super) fn break_for_good(&self) {
        use rdkafka::bindings::{rd_kafka_resp_err_t, rd_kafka_test_fatal_error};
        let error = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        let producer = self.0.0.producer.read();
        // SAFETY: the client lives while it is borrowed, and the text ends with a NUL.
        unsafe { rd_kafka_test_fatal_error(producer.client().native_ptr(), error, c"a test".as_ptr()) };
    }

    pub(in crate::log) async fn close(&self) {
        let shared = &self.0.0;
        // All of the room is free when all is answered; nobody overtakes one who waits for it.
        let all = shared.room.acquire_many(QUEUE_BYTES as u32);
        if timeout(FLUSH_LIMIT, all).await.is_err() {
            warn!(records = self.depth(), "Kafka has not answered before the stop");
        }
        shared.room.close();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn send(&self, mut record: Record, waiter: Waiter, room: OwnedSemaphorePermit) {
        let waiting = Box::new(Waiting { waiter, send_time: record.send_time, _room: room });
        let headers = record.traceparent.take().map(|trace| {
            OwnedHeaders::new_with_capacity(1).insert(Header { key: TRACE, value: Some(trace.as_bytes()) })
        });
        let conversation = record.conversation.clone();
        let value = codec::encode(record);
        let mut message = BaseRecord::with_opaque_to(&self.topic, waiting);
        message = message.key(conversation.as_str()).payload(&value);
        message.headers = headers;
        self.state.unanswered.fetch_add(1, Ordering::Relaxed);
        let sent = self.producer.read().send(message);
        if let Err((error, message)) = sent {
            self.state.failed(&error, *message.delivery_opaque);
        }
    }

    /// Has the callbacks run and builds the producer anew when it can do nothing more; ends after the log is closed.
    fn keep(&self) {
        while !self.closing.load(Ordering::Relaxed) {
            let producer = self.producer.read();
            producer.poll(POLL);
            self.state.brokers.restore(producer.client());
            drop(producer);
            if self.state.broken.load(Ordering::Relaxed) {
                self.rebuild();
            }
        }
        if let Err(error) = self.producer.read().flush(FLUSH_LIMIT) {
            let records = self.state.unanswered.load(Ordering::Relaxed);
            warn!(records, error = &error as &dyn std::error::Error, "not everything is in Kafka");
        }
    }

    /// The old producer's end answers what it had: nobody knows what became of it.
    fn rebuild(&self) {
        match build(&self.config, &self.state) {
            Ok(producer) => {
                drop(mem::replace(&mut *self.producer.write(), producer));
                self.state.broken.store(false, Ordering::Relaxed);
                warn!("the producer is built anew");
            }
            Err(error) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "no producer can be built; it is tried again"
                );
                thread::sleep(REBUILD_AGAIN);
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl State {
    fn answered(&self, waiting: Waiting) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        waiting.waiter.answer(Answer::Accepted { send_time: waiting.send_time });
    }

    fn failed(&self, error: &KafkaError, waiting: Waiting) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        self.metrics.produce_failures.inc();
        if self.trouble.is_due() {
            error!(error = error as &dyn std::error::Error, "Kafka does not take a record");
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                let message = "the message is larger than the log takes";
                waiting.waiter.answer(Answer::Rejected(Refusal::new(Code::TooLarge, message)));
            }
            Some(RDKafkaErrorCode::Fatal) => self.broken.store(true, Ordering::Relaxed),
            // The waiter is dropped unanswered, which says UNAVAILABLE: the outcome is unknown.
            _ => {}
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        noise::line(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.brokers.note(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            if !self.0.broken.swap(true, Ordering::Relaxed) {
                error!(error = &error as &dyn std::error::Error, reason, "the producer has failed for good");
            }
        } else {
            noise::trouble(&self.0.trouble, &error, reason);
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<Waiting>) {
        match result {
            Ok(_) => self.0.answered(*waiting),
            Err((error, _)) => self.0.failed(error, *waiting),
        }
    }
}

fn build(config: &ClientConfig, state: &Arc<State>) -> Result<BaseProducer<Context>, KafkaError> {
    config.create_with_context(Context(state.clone()))
}

/// What the messages' producer is, whatever the properties say.
fn config(settings: &Settings) -> Result<ClientConfig, SettingsError> {
    let mut config = settings.client()?;
    for (key, value) in PRODUCER {
        if config.get(key).is_none() {
            config.set(*key, *value);
        }
    }
    config.set("queue.buffering.max.messages", (2 * QUEUE_BYTES / OVERHEAD_BYTES).to_string());
    config.set("queue.buffering.max.kbytes", (2 * QUEUE_BYTES / 1_024).to_string());
    Ok(config)
}

/// The bytes that a record takes while it waits.
fn cost(record: &Record) -> u32 {
    u32::try_from(record.encoded.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX).min(QUEUE_BYTES as u32)
}

/// No lingering: under load records gather by themselves while requests are under way.
const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "0"),
    ("compression.type", "lz4"),
    ("linger.ms", "0"),
    ("statistics.interval.ms", "1000"),
    // The one that Kafka's own clients have: another one would move conversations to other partitions.
    ("partitioner", "murmur2"),
];
/// What waits for Kafka in this process: at the usual 200 bytes some 90,000 records, at 64 KiB of content a thousand.
/// librdkafka's own bounds are twice that, so that they are never met.
const QUEUE_BYTES: usize = 64 << 20;
/// Beside the message: ids, librdkafka's own structure, who waits for it.
const OVERHEAD_BYTES: usize = 512;
/// How long the stop waits for what Kafka has not answered.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);
/// How soon the thread notices that it is to do something else.
const POLL: Duration = Duration::from_millis(100);
const REBUILD_AGAIN: Duration = Duration::from_secs(1);
