//! The pusher's end of a link, and the end that takes off it: bounded, never waits, merges into marks when full
//! (ARCHITECTURE.md "Presence and links"). The same for the gateway of this process and for others.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prost::Message as _;
use smallvec::SmallVec;
use tidegate_proto::id::{ChannelName, UserId};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Receipt, Signal};
use tokio::sync::Notify;

pub use super::queue::Handed;
use super::queue::Queue;
use crate::body::Body;

/// What a gateway is handed at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// The incarnation by whose routes the pushes go; 0: none.
    pub incarnation: u64,
    /// Messages with their recipients on this gateway.
    pub pushes: Vec<Push>,
    /// Messages of channels that have subscribers on this gateway.
    pub posts: Vec<Post>,
    /// Receipts for sessions of this gateway: (incarnation, session, receipt).
    pub receipts: Vec<(u64, u64, Receipt)>,
    /// Timelines whose head is at least that.
    pub marks: Vec<(Timeline, u64)>,
    /// Signals, each for the sessions of one user on this gateway.
    pub signals: Vec<(UserId, Arc<Signal>)>,
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

/// A message of a channel.
#[derive(Debug)]
pub struct Post {
    /// Which.
    pub channel: ChannelName,
    /// Its seq there; 0: it is stored nowhere.
    pub seq: u64,
    /// The message, encoded once.
    pub body: Body,
}

/// The pusher's end of the link to the gateway of its own process.
#[derive(Debug)]
pub struct Local(Sender);

/// Puts into a link; the link ends when it is dropped.
#[derive(Debug)]
pub(super) struct Sender(Arc<Shared>);

/// Takes off a link.
#[derive(Debug)]
pub struct Receiver(Arc<Shared>);

/// What links count.
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
    state: Mutex<State>,
    wake: Notify,
    counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    closed: bool,
}

/// A link within the process and its other end. It ends when the [`Local`] is dropped.
pub fn local(counters: Counters) -> (Local, Receiver) {
    let (sender, receiver) = channel(counters);
    (Local(sender), receiver)
}

/// A link's queue, by its two ends.
pub(super) fn channel(counters: Counters) -> (Sender, Receiver) {
    let shared = Arc::new(Shared { counters, ..Shared::default() });
    (Sender(shared.clone()), Receiver(shared))
}

impl Batch {
    /// One for each recipient of a body, and one for each message of a channel, each receipt and each signal.
    pub fn deliveries(&self) -> usize {
        let recipients = self.pushes.iter().map(|push| push.recipients.len()).sum::<usize>();
        recipients + self.posts.len() + self.receipts.len() + self.signals.len()
    }

    /// Its messages.
    pub(super) fn messages(&self) -> usize {
        self.pushes.len() + self.posts.len()
    }

    /// Deliveries and marks.
    pub(super) fn entries(&self) -> usize {
        self.deliveries() + self.marks.len()
    }

    /// Bytes of its bodies and signals.
    pub(super) fn bytes(&self) -> usize {
        let posts = self.posts.iter().map(|post| &post.body);
        let bodies = self.pushes.iter().map(|push| &push.body).chain(posts).map(|body| body.bytes().len());
        bodies.chain(self.signals.iter().map(|(_, signal)| signal.encoded_len())).sum()
    }

    /// What is left of it when its bodies are dropped.
    pub(super) fn into_marks(self) -> impl Iterator<Item = (Timeline, u64)> {
        let pushed = self.pushes.into_iter().flat_map(|push| push.recipients);
        let pushed = pushed.map(|(user, seq)| (Timeline::inbox(&user), seq));
        // What is stored nowhere leaves nothing.
        let posted = self.posts.into_iter().filter(|post| post.seq > 0);
        let posted = posted.map(|post| (Timeline::channel(&post.channel), post.seq));
        pushed.chain(posted).chain(self.marks)
    }
}

impl Local {
    pub(super) fn send(&self, batch: Batch) {
        self.0.send(batch);
    }
}

impl Sender {
    /// Hands a batch over, or marks in place of it when the link is full.
    pub(super) fn send(&self, batch: Batch) {
        let Shared { state, wake, counters } = &*self.0;
        let deliveries = batch.deliveries() as u64;
        let room = state.lock().queue.put(batch);
        if room { &counters.pushed } else { &counters.full }.inc_by(deliveries);
        wake.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.wake.notify_one();
    }
}

impl Receiver {
    /// Everything handed over since the last call; `None` at the link's end.
    ///
    /// Cancel safe.
    pub async fn take(&mut self) -> Option<Handed> {
        self.taken(Queue::take).await
    }

    /// The marks, and the first batches up to about `bytes`; `None` at the link's end.
    ///
    /// Cancel safe.
    pub(super) async fn take_some(&mut self, bytes: usize) -> Option<Handed> {
        self.taken(|queue| queue.take_some(bytes)).await
    }

    /// Waits until something is there; false at the link's end. Cancel safe.
    pub(super) async fn filled(&mut self) -> bool {
        self.taken(|_| ()).await.is_some()
    }

    /// Whether the link has ended and nothing waits any more.
    pub(super) fn is_done(&self) -> bool {
        let state = self.0.state.lock();
        state.closed && state.queue.is_empty()
    }

    async fn taken<T>(&mut self, take: impl Fn(&mut Queue) -> T) -> Option<T> {
        loop {
            {
                let mut state = self.0.state.lock();
                if !state.queue.is_empty() {
                    return Some(take(&mut state.queue));
                }
                if state.closed {
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
    /// Deliveries, receipts and marks that wait now.
    pub fn now(&self) -> usize {
        self.0.state.lock().queue.entries()
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::{MAX_ENTRIES, MAX_MARKS};
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
        link.send(batch(0..MAX_ENTRIES, 1));
        link.send(batch(0..5, 2));
        link.send(batch(0..5, 3));
        assert_eq!(receiver.depth().now(), MAX_ENTRIES);
        assert_eq!((counters.pushed.get(), counters.full.get()), (MAX_ENTRIES as u64, 10));
        let handed = receiver.take().await.unwrap();
        assert_eq!((handed.batches.len(), handed.marks.len(), handed.check_all), (1, 5, false));
        assert!(handed.marks.values().all(|head| *head == 3));

        link.send(batch(0..MAX_ENTRIES, 1));
        link.send(batch(0..MAX_MARKS + 1, 2));
        let handed = receiver.take().await.unwrap();
        assert!(handed.check_all && handed.marks.is_empty());

        link.send(batch(0..1, 1));
        drop(link);
        assert!(receiver.filled().await, "what was handed over before the end");
        assert!(receiver.take().await.is_some());
        assert!(receiver.take().await.is_none());
    }
}
