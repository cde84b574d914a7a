//! A partition that this process holds: what librdkafka has fetched of it, taken out by batches, one at a time.
//!
//! librdkafka fetches ahead into a bounded queue of each partition and stops at its marks; a partition that is not
//! taken from therefore costs its queue and nothing else, and needs no pausing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::Offset;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::codec::{self, Undecodable};
use super::consumer::Context;
use super::dead::Letter;
use super::headers;
use super::metrics::{TOO_LARGE, UNDECODABLE};
use crate::log::embedded::{BATCH_BYTES, BATCH_RECORDS};
use crate::log::{Appended, Waiter};

pub(super) struct Partition {
    pub(super) number: i32,
    /// There may be something in the queue.
    ready: Arc<AtomicBool>,
    /// A batch of it is in hand.
    pub(super) busy: AtomicBool,
    /// The batch in hand waits for something else than its own work.
    pub(super) waiting: AtomicBool,
    /// The version of a newer record that it stopped at; 0: none.
    pub(super) newer: AtomicU32,
    /// The offset after the last one that is done; below 0: none is, yet.
    pub(super) done: AtomicI64,
    /// The partition is to be let go: what is in hand may end, nothing is to be waited for.
    pub(super) leaving: CancellationToken,
    /// It is let go: what is in hand is to be dropped.
    pub(super) lost: CancellationToken,
    /// None once it is let go.
    source: Mutex<Option<Source>>,
}

struct Source {
    queue: PartitionQueue<Context>,
    /// Taken from the queue, but too much for the batch before.
    held: Option<Polled>,
}

/// What a message of the topic is.
enum Polled {
    Record(Appended),
    Dead(Letter),
    Newer(u32),
}

/// What was taken out at once, in its order.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) records: Vec<Appended>,
    pub(super) dead: Vec<Letter>,
    /// The offset of the first of them.
    pub(super) first: i64,
    /// The offset after the last of them.
    pub(super) next: i64,
}

impl Partition {
    /// A partition that is about to be assigned; `changed` is told when its queue has something.
    pub(super) fn new(number: i32, mut queue: PartitionQueue<Context>, changed: Arc<Notify>) -> Self {
        let ready = Arc::new(AtomicBool::new(true));
        let flag = ready.clone();
        queue.set_nonempty_callback(move || {
            flag.store(true, Ordering::SeqCst);
            changed.notify_one();
        });
        Self {
            number,
            ready,
            busy: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            newer: AtomicU32::new(0),
            done: AtomicI64::new(-1),
            leaving: CancellationToken::new(),
            lost: CancellationToken::new(),
            source: Mutex::new(Some(Source { queue, held: None })),
        }
    }

    /// Whether a batch may be taken.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
            && !self.busy.load(Ordering::SeqCst)
            && self.newer.load(Ordering::Relaxed) == 0
            && !self.leaving.is_cancelled()
    }

    /// Has it looked at again, whatever its queue said.
    pub(super) fn wake(&self) {
        self.ready.store(true, Ordering::SeqCst);
    }

    /// Ends it. The queue's end would take the wake-up of a later one of the same partition along, so it ends now.
    pub(super) fn let_go(&self) {
        self.leaving.cancel();
        self.lost.cancel();
        *self.source.lock() = None;
    }

    /// Has everything from `offset` on come again. Only while no other batch is taken.
    pub(super) fn rewind(
        &self,
        consumer: &BaseConsumer<Context>,
        topic: &str,
        offset: i64,
    ) -> KafkaResult<()> {
        let mut source = self.source.lock();
        let Some(source) = source.as_mut() else { return Ok(()) };
        source.held = None;
        // Without waiting: what is still in the queue counts as outdated from the call on.
        consumer.seek(topic, self.number, Offset::Offset(offset), Duration::ZERO)
    }

    /// Takes what is there, up to a batch's bounds.
    pub(super) fn take(&self) -> Taken {
        let mut taken = Taken::default();
        let mut source = self.source.lock();
        let Some(source) = source.as_mut() else { return taken };
        // First the flag, then the queue: what comes in between sets the flag again.
        self.ready.store(false, Ordering::SeqCst);
        let mut bytes = 0;
        while taken.records.len() + taken.dead.len() < BATCH_RECORDS {
            let Some(polled) = source.next() else { return taken };
            bytes += polled.cost_bytes();
            if bytes > BATCH_BYTES && taken.next > 0 {
                source.held = Some(polled);
                break;
            }
            match polled {
                Polled::Record(appended) => {
                    taken.covers(appended.offset);
                    taken.records.push(appended);
                }
                Polled::Dead(letter) => {
                    taken.covers(letter.from.offset);
                    taken.dead.push(letter);
                }
                Polled::Newer(version) => {
                    source.held = Some(Polled::Newer(version));
                    self.newer.store(version, Ordering::Relaxed);
                    return taken;
                }
            }
        }
        self.ready.store(true, Ordering::SeqCst);
        taken
    }
}

impl Taken {
    fn covers(&mut self, offset: i64) {
        if self.next == 0 {
            self.first = offset;
        }
        self.next = offset + 1;
    }
}

impl Source {
    fn next(&mut self) -> Option<Polled> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        // A consumer's error stands in the queue in place of a message; librdkafka goes on from it by itself.
        for _ in 0..ERRORS_AT_ONCE {
            match self.queue.poll(Duration::ZERO)? {
                Ok(message) => return Some(Polled::new(&message)),
                Err(error) => warn!(error = &error as &dyn std::error::Error, "a partition is not read"),
            }
        }
        None
    }
}

impl Polled {
    fn new(message: &BorrowedMessage<'_>) -> Self {
        let value = message.payload().unwrap_or_default();
        if value.len() > MAX_RECORD_BYTES {
            let reason = format!("it has {} bytes, over the limit of {MAX_RECORD_BYTES}", value.len());
            return Self::Dead(Letter::new(TOO_LARGE, reason, message));
        }
        let trace = headers::text(message, c"traceparent").filter(|trace| trace.len() <= MAX_TRACE_BYTES);
        match codec::decode(value, trace.map(Into::into)) {
            Ok(record) => {
                Self::Record(Appended { record, waiter: Waiter::nobody(), offset: message.offset() })
            }
            Err(Undecodable::Newer(version)) => Self::Newer(version),
            Err(Undecodable::Damaged(reason)) => Self::Dead(Letter::new(UNDECODABLE, reason, message)),
        }
    }

    fn cost_bytes(&self) -> usize {
        match self {
            Self::Record(appended) => appended.record.cost_bytes(),
            Self::Dead(letter) => letter.value.len(),
            Self::Newer(_) => 0,
        }
    }
}

/// The largest value that can be a record: 64 KiB of content, ids and the like, and room for what later versions add.
pub(super) const MAX_RECORD_BYTES: usize = 128 << 10;
/// A trace context has 55 bytes, in a later version perhaps more.
const MAX_TRACE_BYTES: usize = 128;
const ERRORS_AT_ONCE: usize = 100;
