//! The link from a pusher to a gateway: bounded, never waits, merges into marks when full
//! (ARCHITECTURE.md "Presence and links").

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use smallvec::SmallVec;
use tidegate_proto::id::UserId;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Receipt;
use tokio::sync::Notify;

use crate::body::Body;

/// The pusher's end of a link.
#[derive(Debug)]
pub enum Link {
    /// To the gateway of this process.
    Local(Local),
}

impl Link {
    /// Hands a batch over, or marks in place of it when the link is full.
    pub fn send(&self, batch: Batch) {
        match self {
            Self::Local(local) => local.send(batch),
        }
    }

    /// Tells the gateway that any push may have been lost.
    pub fn check_all(&self) {
        match self {
            Self::Local(local) => local.check_all(),
        }
    }
}

/// What a gateway is handed at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// Messages with their recipients on this gateway.
    pub pushes: Vec<Push>,
    /// Receipts for repeats: (incarnation, session, receipt).
    pub receipts: Vec<(u64, u64, Receipt)>,
    /// Timelines whose head is at least that.
    pub marks: Vec<(Timeline, u64)>,
}

/// A message for recipients on one gateway.
#[derive(Debug)]
pub struct Push {
    /// The message, encoded once.
    pub body: Body,
    /// Each recipient with the message's seq in his inbox.
    pub recipients: SmallVec<[(UserId, u64); 2]>,
    /// (incarnation, session) of the sending session, which gets STORED in place of the message.
    pub origin: Option<(u64, u64)>,
}

/// What the gateway takes off the link at once, in this order.
#[derive(Debug, Default)]
pub struct Handed {
    /// Any push may have been lost: all heads are to be checked.
    pub check_all: bool,
    /// Timelines whose head is at least that; earlier than the batches.
    pub marks: HashMap<Timeline, u64>,
    /// Batches in the order they were handed over.
    pub batches: VecDeque<Batch>,
}

/// A link within the process.
#[derive(Debug)]
pub struct Local(Arc<Shared>);

/// The gateway's end of a local link.
#[derive(Debug)]
pub struct Receiver(Arc<Shared>);

/// What a link counts.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Deliveries and receipts handed over.
    pub pushed: Counter,
    /// Those that became marks, since the link was full.
    pub full: Counter,
}

/// How much waits in a link.
#[derive(Debug)]
pub struct Depth(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Queue {
    handed: Handed,
    deliveries: usize,
    closed: bool,
}

/// A link within the process and its other end. It ends when the [`Local`] is dropped.
pub fn local(counters: Counters) -> (Local, Receiver) {
    let shared = Arc::new(Shared { counters, ..Shared::default() });
    (Local(shared.clone()), Receiver(shared))
}

impl Local {
    fn send(&self, batch: Batch) {
        let mut queue = self.0.queue.lock();
        let deliveries =
            batch.pushes.iter().map(|push| push.recipients.len()).sum::<usize>() + batch.receipts.len();
        if queue.deliveries + deliveries > MAX_DELIVERIES {
            self.0.counters.full.inc_by(deliveries as u64);
            queue.merge(batch);
        } else {
            self.0.counters.pushed.inc_by(deliveries as u64);
            queue.deliveries += deliveries;
            queue.handed.batches.push_back(batch);
        }
        drop(queue);
        self.0.wake.notify_one();
    }

    fn check_all(&self) {
        self.0.queue.lock().handed.check_all = true;
        self.0.wake.notify_one();
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.0.queue.lock().closed = true;
        self.0.wake.notify_one();
    }
}

impl Receiver {
    /// Everything handed over since the last call; `None` at the link's end.
    ///
    /// Cancel safe.
    pub async fn take(&mut self) -> Option<Handed> {
        loop {
            {
                let mut queue = self.0.queue.lock();
                let handed = &queue.handed;
                if handed.check_all || !handed.marks.is_empty() || !handed.batches.is_empty() {
                    queue.deliveries = 0;
                    return Some(std::mem::take(&mut queue.handed));
                }
                if queue.closed {
                    return None;
                }
            }
            self.0.wake.notified().await;
        }
    }

    /// Tells how much waits, for as long as the link lives.
    pub fn depth(&self) -> Depth {
        Depth(self.0.clone())
    }
}

impl Depth {
    /// Deliveries that wait now.
    pub fn now(&self) -> usize {
        self.0.queue.lock().deliveries
    }
}

impl Queue {
    /// Keeps only the marks of a batch; beyond their bound, only that everything is to be checked.
    fn merge(&mut self, batch: Batch) {
        let pushed = batch.pushes.into_iter().flat_map(|push| push.recipients);
        let pushed = pushed.map(|(user, seq)| (Timeline::inbox(&user), seq));
        for (timeline, seq) in pushed.chain(batch.marks) {
            let head = self.handed.marks.entry(timeline).or_default();
            *head = (*head).max(seq);
        }
        if self.handed.marks.len() > MAX_MARKS {
            self.handed.marks.clear();
            self.handed.check_all = true;
        }
    }
}

/// Deliveries a link holds: ten batches of the sequencer to two recipients each; the bodies are shared and at most
/// 1 MiB a batch, so some 10 MiB.
const MAX_DELIVERIES: usize = 40_000;
/// Marks a link holds (ARCHITECTURE.md "Presence and links").
const MAX_MARKS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(users: std::ops::Range<usize>, seq: u64) -> Batch {
        let body = Body::new(&[], "c", ("l", "s"), 1, 1);
        let recipients = users.map(|n| (UserId::new(&n.to_string()).unwrap(), seq)).collect();
        Batch { pushes: vec![Push { body, recipients, origin: None }], ..Batch::default() }
    }

    #[tokio::test]
    async fn a_full_link_keeps_marks_and_at_last_checks_everything() {
        let counters = Counters::default();
        let (link, mut receiver) = local(counters.clone());
        link.send(batch(0..MAX_DELIVERIES, 1));
        link.send(batch(0..5, 2));
        link.send(batch(0..5, 3));
        assert_eq!(receiver.depth().now(), MAX_DELIVERIES);
        assert_eq!((counters.pushed.get(), counters.full.get()), (MAX_DELIVERIES as u64, 10));
        let handed = receiver.take().await.unwrap();
        assert_eq!((handed.batches.len(), handed.marks.len(), handed.check_all), (1, 5, false));
        assert!(handed.marks.values().all(|head| *head == 3));

        link.send(batch(0..MAX_DELIVERIES, 1));
        link.send(batch(0..MAX_MARKS + 1, 2));
        let handed = receiver.take().await.unwrap();
        assert!(handed.check_all && handed.marks.is_empty());

        link.send(batch(0..1, 1));
        drop(link);
        assert!(receiver.take().await.is_some(), "what was handed over before the end");
        assert!(receiver.take().await.is_none());
    }
}
