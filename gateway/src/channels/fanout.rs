//! From the link to a channel's subscribers: a queue, so that the link and direct messages never wait for ten thousand
//! mailboxes; bounded, with marks for what finds no room.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tidegate_pipeline::body::Body;
use tidegate_pipeline::pusher::link::Post;
use tidegate_proto::id::ChannelName;
use tidegate_proto::timeline::Timeline;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::Channels;
use crate::burst::Burst;

/// Messages that wait to be handed to subscribers.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    /// Messages that found no room: they left a mark, or nothing if they are stored nowhere.
    full: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    posts: VecDeque<Post>,
    bytes: usize,
    marks: HashMap<ChannelName, u64>,
}

impl Queue {
    pub(super) fn new(full: Counter) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), full }
    }

    pub(super) fn put(&self, post: Post) {
        let bytes = post.body.bytes().len();
        let mut waiting = self.waiting.lock();
        if waiting.posts.len() < MAX_POSTS && waiting.bytes + bytes <= MAX_BYTES {
            waiting.bytes += bytes;
            waiting.posts.push_back(post);
        } else {
            self.full.inc();
            if post.seq > 0 {
                let head = waiting.marks.entry(post.channel).or_default();
                *head = (*head).max(post.seq);
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }
}

#[cfg(test)]
impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().posts.is_empty() && self.marks() == 0
    }

    pub(super) fn marks(&self) -> usize {
        self.waiting.lock().marks.len()
    }
}

impl Channels {
    /// Hands messages to subscribers until `stop`.
    pub(crate) async fn run_fanout(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.fanout.filled.notified()).await.is_some() {
            loop {
                let Waiting { posts, marks, .. } = std::mem::take(&mut *self.fanout.waiting.lock());
                if posts.is_empty() && marks.is_empty() {
                    break;
                }
                for (channel, posts) in by_channel(posts) {
                    self.hand(&channel, posts).await;
                }
                marks.iter().for_each(|(channel, head)| self.mark_all(channel, *head));
            }
        }
    }

    /// All that waits of a channel goes to each subscriber at once, so that he is woken once. Others have their turn
    /// meanwhile.
    async fn hand(&self, channel: &ChannelName, posts: Vec<(u64, Body)>) {
        let Some(subscribers) = self.snapshot(channel) else { return };
        let bursts = Burst::cut(&Timeline::channel(channel).as_str().into(), posts);
        for some in subscribers.chunks(AT_ONCE) {
            for (number, mailbox) in some {
                mailbox.post(*number, &bursts);
            }
            yield_now().await;
        }
    }
}

/// Each channel's in their order; between channels there is none.
fn by_channel(posts: VecDeque<Post>) -> HashMap<ChannelName, Vec<(u64, Body)>> {
    let mut of = HashMap::<_, Vec<_>>::new();
    for Post { channel, seq, body } in posts {
        of.entry(channel).or_default().push((seq, body));
    }
    of
}

/// Messages that wait: two batches of the sequencer.
const MAX_POSTS: usize = 4_000;
/// Bytes of their bodies: sixteen such batches.
const MAX_BYTES: usize = 16 << 20;
/// Mailboxes that are filled before others have their turn, some 50 µs.
const AT_ONCE: usize = 256;
