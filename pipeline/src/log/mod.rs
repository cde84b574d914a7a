//! The log: where a message is accepted. What it has is durable, and reaches the sequencer in order by conversation.
//!
//! One enum over the variants. The embedded one is a bounded queue to the sequencer, answered at the store's commit,
//! since an in-process queue alone is not durable (ARCHITECTURE.md invariant 3). Kafka answers by itself, and its
//! readers are told of a record's end elsewhere: by the pusher.

pub mod embedded;
pub mod kafka;

#[cfg(test)]
pub(crate) mod contract;

use std::fmt;
use std::sync::Arc;

use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;

use crate::record::Record;
use crate::trace::Step;

/// Where gateways append.
#[derive(Debug, Clone)]
pub enum Log {
    /// The queue within this process.
    Embedded(embedded::Log),
    /// Kafka, between processes.
    Kafka(kafka::Log),
}

/// Where the sequencer reads.
#[derive(Debug)]
pub enum Reader {
    /// The queue within this process.
    Embedded(embedded::Reader),
    /// The partitions of Kafka that this process holds.
    Kafka(kafka::Reader),
}

/// The log takes no more records: the process is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is closed")]
pub struct Closed;

/// Why a record was not appended at once.
#[derive(Debug)]
pub enum NotAppended {
    /// The log is full; append it by waiting.
    Full(Box<Appended>),
    /// The log takes no more; the waiter was told.
    Closed,
}

impl Log {
    /// Appends a record if there is room at once; the answer comes to `waiter` later.
    pub fn try_append(&self, record: Record, waiter: Waiter) -> Result<(), NotAppended> {
        match self {
            Self::Embedded(log) => log.try_append(record, waiter),
            Self::Kafka(log) => log.try_append(record, waiter),
        }
    }

    /// Appends a record. Waits while the log is full, which is the back-pressure towards the sessions; the answer comes
    /// to `waiter` later.
    ///
    /// Not cancel safe: a dropped future may leave the record out. Its waiter then says UNAVAILABLE.
    pub async fn append(&self, record: Record, waiter: Waiter) -> Result<(), Closed> {
        match self {
            Self::Embedded(log) => log.append(record, waiter).await,
            Self::Kafka(log) => log.append(record, waiter).await,
        }
    }

    /// Records that wait: embedded for the sequencer, on Kafka for its acknowledgement.
    pub fn depth(&self) -> usize {
        match self {
            Self::Embedded(log) => log.depth(),
            Self::Kafka(log) => log.depth(),
        }
    }

    /// Before a stop, when nobody appends any more: waits for the answers that are due, some seconds at most. The
    /// embedded log's reader works off what there is, so there is nothing to wait for.
    pub async fn close(&self) {
        match self {
            Self::Embedded(_) => {}
            Self::Kafka(log) => log.close().await,
        }
    }
}

/// A record as the sequencer reads it.
#[derive(Debug)]
pub struct Appended {
    /// What was appended.
    pub record: Record,
    /// Who waits for the answer.
    pub waiter: Waiter,
    /// Its offset in its partition of Kafka; 0 in the embedded log.
    pub offset: i64,
}

/// The answer to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Durable. `send_time` in ms since 1970; of a repeat, that of the first.
    Accepted {
        /// The valid send_time, as far as it is known.
        send_time: i64,
    },
    /// Handed to whoever was there at that moment, and stored nowhere (`crate::volatile`).
    Passed {
        /// ms since 1970.
        send_time: i64,
    },
    /// Refused; for good unless the code says UNAVAILABLE.
    Rejected(Refusal),
}

/// Who takes answers: a session's mailbox, or a waiting request. Called from the log's side, so it only notes and
/// wakes.
pub trait Answers: Send + Sync + fmt::Debug {
    /// The answer to the append that was tagged `tag`.
    fn answer(&self, tag: u64, answer: Answer);
}

/// Somebody who waits for exactly one answer. Dropped without one it says UNAVAILABLE, "outcome unknown", so no path
/// can forget it.
#[derive(Debug)]
pub struct Waiter {
    to: Option<Arc<dyn Answers>>,
    tag: u64,
    /// Ends with the answer.
    step: Option<Step>,
}

impl Waiter {
    /// The answer goes to `to` with `tag`.
    pub fn new(to: Arc<dyn Answers>, tag: u64) -> Self {
        Self { to: Some(to), tag, step: None }
    }

    /// The same, with the step of a trace that ends with the answer.
    pub fn traced(mut self, step: Option<Step>) -> Self {
        self.step = step;
        self
    }

    /// Nobody: the answer was given where the record was appended.
    pub fn nobody() -> Self {
        Self { to: None, tag: 0, step: None }
    }

    /// Gives the answer.
    pub fn answer(mut self, answer: Answer) {
        if let Some(to) = self.to.take() {
            to.answer(self.tag, answer);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            to.answer(self.tag, Answer::Rejected(outcome_unknown()));
        }
    }
}

/// What a sender is told when nobody knows whether the message is stored.
pub fn outcome_unknown() -> Refusal {
    Refusal {
        code: Code::Unavailable,
        message: "the outcome is unknown; send again with the same local_id".to_owned(),
        retry_after_ms: 1_000,
    }
}
