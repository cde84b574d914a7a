//! The embedded log: a bounded queue from the sessions to the sequencer of the same process.

use tokio::sync::mpsc;

use super::{Appended, Closed, NotAppended, Waiter};
use crate::record::Record;

/// The sessions' end.
#[derive(Debug, Clone)]
pub struct Log {
    queue: mpsc::Sender<Appended>,
}

/// The sequencer's end.
#[derive(Debug)]
pub struct Reader {
    queue: mpsc::Receiver<Appended>,
    /// Taken from the queue, but too much for the batch before.
    held: Option<Box<Appended>>,
}

/// A log and its reader. The log ends when every clone of it is dropped.
pub fn open() -> (Log, Reader) {
    let (sender, receiver) = mpsc::channel(QUEUE_RECORDS);
    (Log { queue: sender }, Reader { queue: receiver, held: None })
}

impl Log {
    pub(super) fn try_append(&self, record: Record, waiter: Waiter) -> Result<(), NotAppended> {
        self.queue.try_send(Appended { record, waiter, offset: 0 }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(appended) => NotAppended::Full(Box::new(appended)),
            mpsc::error::TrySendError::Closed(_) => NotAppended::Closed,
        })
    }

    pub(super) async fn append(&self, record: Record, waiter: Waiter) -> Result<(), Closed> {
        self.queue.send(Appended { record, waiter, offset: 0 }).await.map_err(|_| Closed)
    }

    pub(super) fn depth(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

impl Reader {
    /// Waits for records and takes what is there, at most a batch; empty at the log's end.
    ///
    /// Cancel safe.
    pub(crate) async fn batch(&mut self) -> Vec<Appended> {
        let first = match self.held.take() {
            Some(held) => *held,
            None => match self.queue.recv().await {
                Some(first) => first,
                None => return Vec::new(),
            },
        };
        let mut bytes = first.record.cost_bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_RECORDS {
            let Ok(next) = self.queue.try_recv() else { break };
            bytes += next.record.cost_bytes();
            if bytes > BATCH_BYTES {
                self.held = Some(Box::new(next));
                break;
            }
            batch.push(next);
        }
        batch
    }
}

/// Two batches: one in the sequencer's hands, one that gathers meanwhile. At 64 KiB of content at most 256 MiB, and
/// the sessions' 64 sends in flight keep it from filling with one sender's.
const QUEUE_RECORDS: usize = 2 * BATCH_RECORDS;
/// The most records of a batch (ARCHITECTURE.md "A message's way").
pub(super) const BATCH_RECORDS: usize = 2_000;
/// The most bytes of a batch; a single record may exceed no such figure, frames being smaller.
pub(super) const BATCH_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::contract::{self, Answered, Opened, record};

    fn opened() -> Opened {
        let (log, reader) = open();
        Opened { log: crate::log::Log::Embedded(log), reader: crate::log::Reader::Embedded(reader) }
    }

    #[tokio::test]
    async fn contract() {
        contract::order(&mut opened()).await;
        contract::bounds(&mut opened()).await;
        contract::end(opened()).await;
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_read_and_dropped_waiters_are_told() {
        let (log, mut reader) = open();
        let answered = Arc::new(Answered::default());
        log.append(record(("a", "b"), 1, 0), Waiter::new(answered.clone(), 1)).await.unwrap();
        drop(log);
        let batch = reader.batch().await;
        assert_eq!((batch.len(), answered.count()), (1, 0));
        drop(batch);
        assert!(matches!(&answered.wait(1).await[0], (1, crate::log::Answer::Rejected(_))));
        assert!(reader.batch().await.is_empty());
    }

    #[tokio::test]
    async fn a_full_log_holds_the_sender() {
        let (log, mut reader) = open();
        let answered = Arc::new(Answered::default());
        for tag in 0..QUEUE_RECORDS as u64 {
            log.append(record(("a", "b"), tag, 0), Waiter::new(answered.clone(), tag)).await.unwrap();
        }
        assert_eq!(log.depth(), QUEUE_RECORDS);
        let waiter = || Waiter::new(answered.clone(), 9_999);
        assert!(matches!(log.try_append(record(("a", "b"), 9, 0), waiter()), Err(NotAppended::Full(_))));
        let mut late = std::pin::pin!(log.append(record(("a", "b"), 9_999, 0), waiter()));
        assert!(futures_util::poll!(late.as_mut()).is_pending());
        assert_eq!(reader.batch().await.len(), BATCH_RECORDS);
        late.await.unwrap();
    }
}
