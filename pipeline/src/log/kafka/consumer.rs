//! The consumer's own thread: it serves the group, and gives and takes partitions.
//!
//! A partition that is to be let go has a while for the batch in hand. Meanwhile this thread serves the group; the
//! unassignment is given back to librdkafka when it is due, not within its callback. librdkafka fetches nothing for any
//! partition until then, so the end of a batch is noticed soon, and one that waits for the store is broken off at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message as _, Offset, Statistics, TopicPartitionList};
use tracing::{debug, error, info, warn};

use super::OpenError;
use super::brokers::Brokers;
use super::noise;
use super::partition::Partition;
use super::reader::Shared;
use super::settings::{Settings, SettingsError};
use crate::seldom::Seldom;

/// What librdkafka calls back.
pub(super) struct Context {
    shared: Arc<Shared>,
    brokers: Brokers,
    changes: Mutex<VecDeque<Change>>,
    /// Partitions are let go at once: the consumer is being closed.
    closing: AtomicBool,
    trouble: Seldom,
}

/// What the group decided.
#[derive(Debug)]
enum Change {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
    Failed,
}

/// Joins the group, on a thread that ends some time after `shared.stop`.
pub(super) fn start(settings: &Settings, shared: Arc<Shared>) -> Result<(), OpenError> {
    let config = config(settings)?;
    let context = Context {
        shared: shared.clone(),
        brokers: Brokers::of(&config),
        changes: Mutex::default(),
        closing: AtomicBool::new(false),
        trouble: Seldom::default(),
    };
    let consumer: BaseConsumer<_> = config.create_with_context(context).map_err(OpenError::Client)?;
    consumer.subscribe(&[&shared.topic]).map_err(OpenError::Client)?;
    let consumer = Arc::new(consumer);
    *shared.consumer.lock() = Some(consumer.clone());
    let worker = Worker {
        consumer,
        shared,
        leaving: Vec::new(),
        newer: Seldom::every(NEWER_EVERY),
        look: Seldom::every(LOOK_EVERY),
    };
    let thread = thread::Builder::new().name("kafka-consumer".to_owned());
    thread.spawn(move || worker.run()).map_err(OpenError::Thread)?;
    Ok(())
}

/// What the thread works with.
struct Worker {
    consumer: Arc<BaseConsumer<Context>>,
    shared: Arc<Shared>,
    leaving: Vec<Leaving>,
    /// When records of a newer version are spoken of again.
    newer: Seldom,
    /// When all queues are looked at again.
    look: Seldom,
}

/// Partitions that are to be let go, and by when.
struct Leaving {
    partitions: Vec<i32>,
    by: Instant,
}

impl Worker {
    fn run(mut self) {
        while !self.shared.stop.is_cancelled() {
            let wait = if self.leaving.is_empty() { POLL } else { POLL_SOON };
            if !self.serve(wait) {
                break;
            }
        }
        self.close();
    }

    /// Serves the group for that long at most; `false` if the consumer can do nothing more.
    fn serve(&mut self, wait: Duration) -> bool {
        match self.consumer.poll(wait) {
            None => {}
            Some(Ok(message)) => {
                // Partitions have queues of their own from before they are assigned.
                error!(
                    offset = message.offset(),
                    "a record came past its partition's queue; it is read again"
                );
                let (partition, offset) = (message.partition(), Offset::Offset(message.offset()));
                drop(message);
                if let Err(error) = self.consumer.seek(&self.shared.topic, partition, offset, SEEK_LIMIT) {
                    error!(
                        error = &error as &dyn std::error::Error,
                        "it cannot be read again; the reader ends"
                    );
                    return false;
                }
            }
            Some(Err(KafkaError::MessageConsumptionFatal(error))) => {
                error!(%error, "the consumer has failed for good");
                return false;
            }
            Some(Err(error)) => noise::trouble(&self.consumer.context().trouble, &error, "consumer"),
        }
        self.consumer.context().brokers.restore(self.consumer.client());
        loop {
            let change = self.consumer.context().changes.lock().pop_front();
            let Some(change) = change else { break };
            self.change(change);
        }
        self.let_go_of_due();
        self.say_newer();
        if self.look.is_due() {
            // In case a queue's word was lost.
            self.shared.partitions.lock().values().for_each(|partition| partition.wake());
            self.shared.changed.notify_one();
        }
        true
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Assigned(numbers) => self.take(&numbers),
            Change::Revoked { partitions, lost } => {
                info!(?partitions, lost, "partitions are to be let go");
                for partition in self.held(&partitions) {
                    partition.leaving.cancel();
                }
                let by = Instant::now() + if lost { Duration::ZERO } else { LEAVE_LIMIT };
                self.leaving.push(Leaving { partitions, by });
            }
            Change::Failed => {
                warn!("the group could not be balanced; everything is let go");
                let all: Vec<i32> = self.shared.partitions.lock().keys().copied().collect();
                self.forget(&all);
                self.leaving.clear();
                // Nothing is held any more, whatever comes of it.
                let _ = self.consumer.unassign();
            }
        }
    }

    /// Each partition gets its queue before it is assigned, so that nothing comes by the common one.
    fn take(&self, numbers: &[i32]) {
        let mut partitions = self.shared.partitions.lock();
        for number in numbers {
            if let Some(queue) = self.consumer.split_partition_queue(&self.shared.topic, *number) {
                let partition = Partition::new(*number, queue, self.shared.changed.clone());
                partitions.insert(*number, Arc::new(partition));
            }
        }
        drop(partitions);
        if !numbers.is_empty() {
            info!(partitions = ?numbers, "partitions are taken");
        }
        if let Err(error) = self.consumer.incremental_assign(&self.list(numbers)) {
            warn!(
                error = &error as &dyn std::error::Error,
                "an assignment is not taken; the group tries again"
            );
            self.forget(numbers);
        }
        self.shared.show();
        self.shared.changed.notify_one();
    }

    fn let_go_of_due(&mut self) {
        let now = Instant::now();
        let (due, leaving): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaving).into_iter().partition(|one| {
                let held = self.held(&one.partitions);
                one.by <= now || held.iter().all(|partition| !partition.busy.load(Ordering::SeqCst))
            });
        self.leaving = leaving;
        for Leaving { partitions, .. } in due {
            self.forget(&partitions);
            // What is done is committed by librdkafka before the group goes on.
            if let Err(error) = self.consumer.incremental_unassign(&self.list(&partitions)) {
                warn!(error = &error as &dyn std::error::Error, "partitions are not let go in order");
            }
            self.shared.show();
        }
    }

    fn forget(&self, numbers: &[i32]) {
        for number in numbers {
            if let Some(partition) = self.shared.partitions.lock().remove(number) {
                partition.let_go();
            }
        }
    }

    fn held(&self, numbers: &[i32]) -> Vec<Arc<Partition>> {
        let partitions = self.shared.partitions.lock();
        numbers.iter().filter_map(|number| partitions.get(number).cloned()).collect()
    }

    fn list(&self, numbers: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(numbers.len());
        for number in numbers {
            list.add_partition(&self.shared.topic, *number);
        }
        list
    }

    fn say_newer(&self) {
        let partitions = self.shared.partitions.lock();
        let newer = partitions.values().map(|one| (one.number, one.newer.load(Ordering::Relaxed)));
        let newer: Vec<_> = newer.filter(|(_, version)| *version > 0).collect();
        drop(partitions);
        if !newer.is_empty() && self.newer.is_due() {
            error!(
                partitions_and_versions = ?newer,
                "records of a newer tidegate: their partitions wait; upgrade the pipelines before the gateways"
            );
            self.shared.show();
        }
    }

    /// Lets everything go, with what is in hand done if it takes no longer than a revocation may; leaves the group.
    fn close(mut self) {
        self.shared.stop.cancel();
        let all: Vec<i32> = self.shared.partitions.lock().keys().copied().collect();
        let held = self.held(&all);
        held.iter().for_each(|partition| partition.leaving.cancel());
        let is_busy = || held.iter().any(|partition| partition.busy.load(Ordering::SeqCst));
        self.serve_while(is_busy);
        self.consumer.unsubscribe();
        let consumer = self.consumer.clone();
        self.serve_while(move || consumer.assignment().is_ok_and(|assigned| assigned.count() > 0));
        let left: Vec<i32> = self.shared.partitions.lock().keys().copied().collect();
        self.forget(&left);
        self.consumer.context().closing.store(true, Ordering::SeqCst);
        self.shared.consumer.lock().take();
        self.shared.show();
        let shared = self.shared.clone();
        // Its end leaves the group and waits for the commits.
        drop(self);
        shared.ended.cancel();
    }

    fn serve_while(&mut self, busy: impl Fn() -> bool) {
        let by = Instant::now() + LEAVE_LIMIT;
        while busy() && Instant::now() < by && self.serve(POLL_SOON) {}
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        noise::line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        noise::trouble(&self.trouble, &error, reason);
    }

    /// Comes once a second: the brokers and the lag.
    fn stats(&self, statistics: Statistics) {
        self.brokers.note(&statistics);
        let Some(topic) = statistics.topics.get(&self.shared.topic) else { return };
        let partitions = self.shared.partitions.lock();
        let lag = partitions.values().filter_map(|partition| {
            let known = topic.partitions.get(&partition.number)?;
            let done = [partition.done.load(Ordering::Relaxed), known.committed_offset, known.lo_offset];
            let done = done.into_iter().find(|offset| *offset >= 0)?;
            Some((known.hi_offset - done).max(0))
        });
        self.shared.metrics.lag.set(lag.sum());
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::SeqCst) {
            let _ = consumer.unassign();
            return;
        }
        let partitions = list.elements().iter().map(|one| one.partition()).collect();
        let change = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assigned(partitions),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                Change::Revoked { partitions, lost: consumer.assignment_lost() }
            }
            _ => Change::Failed,
        };
        self.changes.lock().push_back(change);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            // The next one has the same offsets or later ones.
            debug!(%error, "offsets are not committed yet");
        }
    }
}

fn config(settings: &Settings) -> Result<rdkafka::ClientConfig, SettingsError> {
    let mut config = settings.client()?;
    for (key, value) in CONSUMER {
        if config.get(key).is_none() {
            config.set(*key, *value);
        }
    }
    config.set("group.id", &settings.group);
    Ok(config)
}

const CONSUMER: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("auto.offset.reset", "earliest"),
    ("enable.auto.offset.store", "false"),
    ("enable.auto.commit", "true"),
    ("auto.commit.interval.ms", "1000"),
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1500"),
    // For each partition two batches, or some MiB; beyond that fetching stops and looks again soon.
    ("queued.min.messages", "4000"),
    ("queued.max.messages.kbytes", "2048"),
    ("fetch.queue.backoff.ms", "20"),
    ("fetch.error.backoff.ms", "100"),
    ("statistics.interval.ms", "1000"),
];
/// How soon the stop is noticed.
const POLL: Duration = Duration::from_millis(100);
/// How soon the end of a batch in hand is noticed that a rebalance waits for.
const POLL_SOON: Duration = Duration::from_millis(10);
/// How long a batch in hand may go on after its partition is revoked (ARCHITECTURE.md "The log on Kafka").
const LEAVE_LIMIT: Duration = Duration::from_secs(3);
const SEEK_LIMIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const NEWER_EVERY: Duration = Duration::from_secs(60);
