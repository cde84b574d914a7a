//! The sequencer's end: batches of the partitions that this process holds, of each one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use std::{fmt, mem};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::OpenError;
use super::consumer::{self, Context};
use super::dead::{self, Letter};
use super::metrics::Metrics;
use super::partition::Partition;
use super::settings::Settings;
use crate::log::Appended;

/// The sequencer's end. Cheap to clone: several may take batches, each of another partition.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Guard>);

/// Stops the reader when no clone of it is left.
#[derive(Debug)]
struct Guard(Arc<Shared>);

/// What the readers, the batches in hand and the consumer's thread share.
pub(super) struct Shared {
    pub(super) topic: String,
    pub(super) partitions: Mutex<BTreeMap<i32, Arc<Partition>>>,
    /// Where the search for a ready partition goes on, so that each gets its turn.
    turn: AtomicI32,
    /// Some partition may be ready.
    pub(super) changed: Arc<Notify>,
    /// Nothing more is handed out.
    pub(super) stop: CancellationToken,
    /// The group is left, and all is committed.
    pub(super) ended: CancellationToken,
    /// None once the group is left.
    pub(super) consumer: Mutex<Option<Arc<BaseConsumer<Context>>>>,
    pub(super) metrics: Metrics,
    dead: dead::Writer,
}

/// Records of one partition, in their order.
#[derive(Debug)]
pub struct Batch {
    /// To be stored. Nobody waits for them here: their senders have their ACCEPTED.
    pub records: Vec<Appended>,
    /// To be buried: what is no record.
    pub dead: Vec<Letter>,
    /// The partition's next batch comes when this is dropped.
    pub hand: Hand,
}

/// A batch in hand. Dropped without [`Hand::done`], its records come again: here, or to whoever gets the partition.
pub struct Hand {
    partition: Arc<Partition>,
    shared: Arc<Shared>,
    /// The offset of the first.
    first: i64,
    /// The offset after the last; 0: nothing was taken, or all is done.
    next: i64,
}

pub(super) fn open(
    settings: &Settings,
    metrics: &Metrics,
    stop: CancellationToken,
) -> Result<Reader, OpenError> {
    let shared = Arc::new(Shared {
        topic: settings.topic.clone(),
        partitions: Mutex::default(),
        turn: AtomicI32::new(0),
        changed: Arc::new(Notify::new()),
        // A child: the reader ends it, and not what it was given.
        stop: stop.child_token(),
        ended: CancellationToken::new(),
        consumer: Mutex::default(),
        metrics: metrics.clone(),
        dead: dead::Writer::new(settings)?,
    });
    consumer::start(settings, shared.clone())?;
    Ok(Reader(Arc::new(Guard(shared))))
}

impl Reader {
    /// Waits for records of any partition that has no batch in hand; `None` once it is stopped.
    ///
    /// Cancel safe.
    pub async fn batch(&self) -> Option<Batch> {
        let shared = &self.0.0;
        loop {
            if shared.stop.is_cancelled() {
                return None;
            }
            if let Some(mut hand) = shared.take_ready() {
                let taken = hand.partition.take();
                if taken.next > 0 {
                    (hand.first, hand.next) = (taken.first, taken.next);
                    // Another partition may be ready too, for somebody else.
                    shared.changed.notify_one();
                    return Some(Batch { records: taken.records, dead: taken.dead, hand });
                }
                continue;
            }
            tokio::select! {
                () = shared.changed.notified() => {}
                () = shared.stop.cancelled() => return None,
            }
        }
    }

    /// Waits, after the stop, until the group is left and what is done is committed; a few seconds at most.
    pub async fn ended(&self) {
        if timeout(END_LIMIT, self.0.0.ended.cancelled()).await.is_err() {
            warn!("the consumer group is not left in time; the others wait for the session's end");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop.cancel();
    }
}

impl Shared {
    fn take_ready(self: &Arc<Self>) -> Option<Hand> {
        let partitions = self.partitions.lock();
        let turn = self.turn.load(Ordering::Relaxed);
        let (before, after): (Vec<_>, Vec<_>) = partitions.values().partition(|one| one.number < turn);
        let partition = after.into_iter().chain(before).find(|partition| partition.is_ready())?;
        self.turn.store(partition.number.wrapping_add(1), Ordering::Relaxed);
        partition.busy.store(true, Ordering::SeqCst);
        Some(Hand { partition: partition.clone(), shared: self.clone(), first: 0, next: 0 })
    }

    /// Shows how many partitions are held, and how many wait.
    pub(super) fn show(&self) {
        let partitions = self.partitions.lock();
        let waiting = |partition: &&Arc<Partition>| {
            partition.waiting.load(Ordering::Relaxed) || partition.newer.load(Ordering::Relaxed) > 0
        };
        self.metrics.held.set(partitions.len() as i64);
        self.metrics.waiting.set(partitions.values().filter(waiting).count() as i64);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Hand {
    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition.number
    }

    /// Ends when the partition is to be let go: what can end soon should, and nothing should be waited for.
    pub fn leaving(&self) -> &CancellationToken {
        &self.partition.leaving
    }

    /// Ends when the partition is gone: the batch is to be dropped.
    pub fn lost(&self) -> &CancellationToken {
        &self.partition.lost
    }

    /// Shows that the partition waits for something, or that it goes on.
    pub fn waits(&self, waits: bool) {
        if self.partition.waiting.swap(waits, Ordering::Relaxed) != waits {
            self.shared.show();
        }
    }

    /// Writes a dead letter; `true` when Kafka has it. Tried again until it has, or until the partition is to be let go.
    pub async fn bury(&self, letter: &Letter) -> bool {
        let mut wait = BURY_AGAIN;
        loop {
            match self.shared.dead.write(letter).await {
                Ok(()) => {
                    self.shared.metrics.dead.get_or_create_owned(&[("reason", letter.kind)]).inc();
                    error!(from = %letter.from, reason = letter.reason, "a record became a dead letter");
                    self.waits(false);
                    return true;
                }
                Err(error) => {
                    self.waits(true);
                    let error = &error as &dyn std::error::Error;
                    error!(
                        partition = self.partition(),
                        error, "no dead letter can be written; the partition waits"
                    );
                }
            }
            if self.leaving().run_until_cancelled(sleep(wait)).await.is_none() {
                return false;
            }
            wait = (wait * 2).min(BURY_AGAIN_MOST);
        }
    }

    /// Where a record of this batch stands, for a dead letter.
    pub fn place(&self, offset: i64) -> dead::Place {
        dead::Place { topic: self.shared.topic.clone(), partition: self.partition(), offset }
    }

    /// All of the batch is stored, handed over or buried: its records do not come again.
    pub fn done(mut self) {
        let next = mem::take(&mut self.next);
        if self.lost().is_cancelled() {
            return;
        }
        self.partition.done.store(next, Ordering::Relaxed);
        let Some(consumer) = self.shared.consumer.lock().clone() else { return };
        let mut offsets = TopicPartitionList::with_capacity(1);
        let stored = offsets
            .add_partition_offset(&self.shared.topic, self.partition(), Offset::Offset(next))
            .and_then(|()| consumer.store_offsets(&offsets));
        if let Err(error) = stored {
            // The partition is gone in the meantime; whoever has it finds the records stored.
            debug!(%error, partition = self.partition(), "an offset is not noted");
        }
    }

    /// The batch ended midway though the partition stays, as after a panic: what comes next must not pass over it.
    fn rewind(&self) {
        let Some(consumer) = self.shared.consumer.lock().clone() else { return };
        if let Err(error) = self.partition.rewind(&consumer, &self.shared.topic, self.first) {
            // Nobody may go on beyond it here: the group gives the partition to somebody else.
            error!(error = &error as &dyn std::error::Error, "a batch cannot be read again; the reader ends");
            self.shared.stop.cancel();
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.waits(false);
        if self.next > 0 && !self.leaving().is_cancelled() {
            self.rewind();
        }
        self.partition.busy.store(false, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand").field("partition", &self.partition()).field("next", &self.next).finish()
    }
}

/// Longer than the consumer's thread takes for its own limits.
const END_LIMIT: Duration = Duration::from_secs(8);
const BURY_AGAIN: Duration = Duration::from_millis(200);
const BURY_AGAIN_MOST: Duration = Duration::from_secs(5);
