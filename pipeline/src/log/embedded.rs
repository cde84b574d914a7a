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

    use parking_lot::Mutex;
    use tidegate_proto::id::{LocalId, UserId};
    use tidegate_proto::v1::{Code, Msg};

    use super::*;
    use crate::log::{Answer, Answers};

    #[derive(Debug, Default)]
    struct Answered(Mutex<Vec<(u64, Answer)>>);

    impl Answers for Answered {
        fn answer(&self, tag: u64, answer: Answer) {
            self.0.lock().push((tag, answer));
        }
    }

    fn record(number: u64, content: usize) -> Record {
        let msg = Msg { receiver_id: "bob".into(), content: vec![0; content].into(), ..Msg::default() };
        let local_id = LocalId::new(&number.to_string()).unwrap();
        Record::new(msg, &UserId::new("alice").unwrap(), 1, || local_id, None).unwrap()
    }

    #[tokio::test]
    async fn batches_hold_what_is_there_up_to_their_bounds() {
        let (log, mut reader) = open();
        let answered = Arc::new(Answered::default());
        for tag in 0..40 {
            log.append(record(tag, 60_000), Waiter::new(answered.clone(), tag)).await.unwrap();
        }
        let mut tags = Vec::new();
        while tags.len() < 40 {
            let batch = reader.batch().await;
            assert!(batch.iter().map(|a| a.record.cost_bytes()).sum::<usize>() <= BATCH_BYTES);
            tags.extend(
                batch.iter().map(|appended| appended.record.local_id.as_str().parse::<u64>().unwrap()),
            );
        }
        assert_eq!(tags, (0..40).collect::<Vec<_>>());
        drop(log);
        assert!(reader.batch().await.is_empty());
        let answers = answered.0.lock();
        assert_eq!(answers.len(), 40, "each dropped waiter was answered");
        assert!(
            answers
                .iter()
                .all(|(_, answer)| matches!(answer, Answer::Rejected(r) if r.code == Code::Unavailable))
        );
    }

    #[tokio::test]
    async fn a_full_log_holds_the_sender() {
        let (log, mut reader) = open();
        let answered = Arc::new(Answered::default());
        for tag in 0..QUEUE_RECORDS as u64 {
            log.append(record(tag, 0), Waiter::new(answered.clone(), tag)).await.unwrap();
        }
        assert_eq!(log.depth(), QUEUE_RECORDS);
        let mut late = std::pin::pin!(log.append(record(9_999, 0), Waiter::new(answered.clone(), 9_999)));
        assert!(futures_poll_once(late.as_mut()).await.is_none());
        assert_eq!(reader.batch().await.len(), BATCH_RECORDS);
        late.await.unwrap();
    }

    async fn futures_poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut future = future;
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match future.as_mut().poll(cx) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
