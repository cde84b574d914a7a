//! What is stored nowhere: messages of channels that keep nothing, past log and store to whoever subscribes at the moment,
//! with seq 0 (ARCHITECTURE.md "Channels"); and signals for users who have sessions on other gateways.
//!
//! Whoever sends puts them into one queue of the process, which never waits; one worker hands over what is there, with
//! one look at presence.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tidegate_proto::Refusal;
use tidegate_proto::id::{ChannelName, UserId};
use tidegate_proto::message::Target;
use tidegate_proto::v1::{Code, Signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::channels::Rules;
use crate::log::{Answer, Waiter};
use crate::pusher::Pusher;
use crate::record::Record;

/// Takes messages of volatile channels, and signals. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passing {
    rules: Rules,
    shared: Arc<Shared>,
}

/// Hands them over.
#[derive(Debug)]
pub struct Passer {
    shared: Arc<Shared>,
    recent: Recent,
    passed: Counter,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: Vec<(Record, Waiter)>,
    bytes: usize,
    signals: Vec<(UserId, Arc<Signal>)>,
    ended: bool,
}

/// An empty queue for the channels that the rules call volatile; `passed` counts what is handed over.
pub fn open(rules: Rules, passed: Counter) -> (Passing, Passer) {
    let shared = Arc::<Shared>::default();
    (Passing { rules, shared: shared.clone() }, Passer { shared, recent: Recent::default(), passed })
}

impl Passing {
    /// Whether a message is for a channel that keeps nothing.
    pub fn takes(&self, record: &Record) -> bool {
        matches!(&record.target, Target::Channel(channel) if self.rules.is_volatile(channel))
    }

    /// Takes a message; its waiter is told [`Answer::Passed`] when it is handed over, or at once RATE_LIMITED if there is no
    /// room.
    pub fn pass(&self, record: Record, waiter: Waiter) {
        let cost = record.cost_bytes();
        {
            let mut waiting = self.shared.waiting.lock();
            if waiting.ended {
                // Dropped, the waiter says that the outcome is unknown.
                return;
            }
            if waiting.messages.len() < MAX_MESSAGES && waiting.bytes + cost <= MAX_BYTES {
                waiting.bytes += cost;
                waiting.messages.push((record, waiter));
                self.shared.filled.notify_one();
                return;
            }
        }
        waiter.answer(Answer::Rejected(no_room()));
    }

    /// Takes a signal for the sessions of a user on other gateways; false if there is no room for it.
    pub fn signal(&self, user: UserId, signal: Arc<Signal>) -> bool {
        let mut waiting = self.shared.waiting.lock();
        let has_room = !waiting.ended && waiting.signals.len() < MAX_MESSAGES;
        if has_room {
            waiting.signals.push((user, signal));
            self.shared.filled.notify_one();
        }
        has_room
    }
}

impl Passer {
    /// Hands over what comes until `stop`, and what was taken by then.
    pub async fn run(mut self, pusher: &Pusher, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.shared.filled.notified()).await.is_some() {
            self.hand_over(pusher).await;
        }
        self.shared.waiting.lock().ended = true;
        self.hand_over(pusher).await;
    }

    async fn hand_over(&mut self, pusher: &Pusher) {
        let (messages, signals) = {
            let mut waiting = self.shared.waiting.lock();
            waiting.bytes = 0;
            (std::mem::take(&mut waiting.messages), std::mem::take(&mut waiting.signals))
        };
        let new = messages.iter().filter(|(record, _)| self.recent.is_new(record));
        let posts: Vec<_> = new.filter_map(|(record, _)| post(record)).collect();
        self.passed.inc_by(posts.len() as u64);
        tokio::join!(pusher.signal(signals), pusher.pass(posts));
        for (record, waiter) in messages {
            waiter.answer(Answer::Passed { send_time: record.send_time });
        }
    }
}

impl Drop for Passer {
    fn drop(&mut self) {
        self.shared.waiting.lock().ended = true;
    }
}

fn post(record: &Record) -> Option<(ChannelName, Body)> {
    let Target::Channel(channel) = &record.target else { return None };
    let ids = (record.local_id.as_str(), &*record.server_id);
    let body = Body::new(&record.encoded, record.conversation.as_str(), ids, record.send_time, 0);
    Some((channel.clone(), body))
}

fn no_room() -> Refusal {
    let message = "too many messages of volatile channels wait to be handed over".to_owned();
    Refusal { code: Code::RateLimited, message, retry_after_ms: 1_000 }
}

/// The messages passed last: one that is sent again, since its sender heard nothing, is not passed twice. Nothing else
/// remembers them.
#[derive(Debug, Default)]
struct Recent {
    known: HashSet<Name>,
    order: VecDeque<Name>,
}

/// Sender and local_id, and what the body says, in 16 bytes of a hash each.
type Name = ([u8; 16], [u8; 16]);

impl Recent {
    fn is_new(&mut self, record: &Record) -> bool {
        let mut name = Name::default();
        let server_id = u128::from_str_radix(&record.server_id, 16).unwrap_or_default();
        name.0 = server_id.to_be_bytes();
        name.1.copy_from_slice(&record.hash[..16]);
        if !self.known.insert(name) {
            return false;
        }
        self.order.push_back(name);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Messages, and signals, that wait: two batches of a sequencer.
const MAX_MESSAGES: usize = 4_000;
/// Bytes of those: sixteen such batches.
const MAX_BYTES: usize = 16 << 20;
/// Messages that are told from repeats, less than 1 MiB.
const MAX_RECENT: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_proto::id::{LocalId, UserId};
    use tidegate_proto::pattern::Pattern;
    use tidegate_proto::v1::Msg;
    use tokio::time::timeout;

    use super::*;
    use crate::channels::Rule;
    use crate::log::contract::Answered;
    use crate::presence::interest::Interest;
    use crate::presence::{Presence, memory};
    use crate::pusher::dial::Dialer;
    use crate::pusher::link::{self, Receiver};
    use crate::pusher::metrics::Metrics;

    fn rules() -> Rules {
        let volatile = Rule { kept: None, ..Rule::default() };
        [(Pattern::new("now/*").unwrap(), volatile)].into_iter().collect()
    }

    fn record(channel: &str, local_id: &str, content: String) -> Record {
        let msg = Msg {
            channel: channel.into(),
            local_id: local_id.into(),
            content: content.into(),
            ..Msg::default()
        };
        Record::new(msg, &UserId::new("alice").unwrap(), 5, || LocalId::new("x").unwrap(), None).unwrap()
    }

    /// A pusher with a gateway that has a subscriber of `now/1`.
    async fn pusher() -> (Pusher, Receiver) {
        let presence = Presence::Memory(memory::Presence::default());
        let interest = Interest { gateway: "g".into(), incarnation: 7, subscribers: 1 };
        presence.show_interest(&ChannelName::new("now/1").unwrap(), &interest).await.unwrap();
        let (local, receiver) = link::local(link::Counters::default());
        (Pusher::new(presence, Some(("g".into(), local)), Dialer::default(), Metrics::default()), receiver)
    }

    async fn handed(receiver: &mut Receiver) -> Vec<(String, u64)> {
        let handed = timeout(Duration::from_secs(30), receiver.take()).await.expect("in time").unwrap();
        let posts = handed.batches.into_iter().flat_map(|batch| batch.posts);
        posts.map(|post| (format!("{} {}", post.channel, post.body.msg(0).local_id), post.seq)).collect()
    }

    #[tokio::test]
    async fn it_reaches_the_gateways_with_subscribers_and_its_sender_is_told() {
        let (pusher, mut receiver) = pusher().await;
        let passed = Counter::default();
        let (passing, passer) = open(rules(), passed.clone());
        assert!(passing.takes(&record("now/1", "a", String::new())));
        assert!(!passing.takes(&record("news", "a", String::new())));
        let answered = Arc::new(Answered::default());
        for (tag, (channel, local_id, content)) in
            (0..).zip([("now/1", "a", "x"), ("now/2", "b", "x"), ("now/1", "a", "x"), ("now/1", "a", "y")])
        {
            passing.pass(record(channel, local_id, content.into()), Waiter::new(answered.clone(), tag));
        }
        let stop = CancellationToken::new();
        stop.cancel();
        passer.run(&pusher, &stop).await;
        let once = [("now/1 a".to_owned(), 0), ("now/1 a".to_owned(), 0)];
        assert_eq!(handed(&mut receiver).await, once, "of the repeat one, of the other body one");
        assert_eq!(passed.get(), 3);
        let answers = answered.wait(4).await;
        assert!(answers.iter().all(|(_, answer)| *answer == Answer::Passed { send_time: 5 }), "{answers:?}");

        passing.pass(record("now/1", "late", String::new()), Waiter::new(answered.clone(), 9));
        let (_, late) = answered.wait(5).await.remove(4);
        assert!(matches!(late, Answer::Rejected(refusal) if refusal.code == Code::Unavailable));
    }

    #[tokio::test]
    async fn what_finds_no_room_is_refused_at_once() {
        let (passing, _passer) = open(rules(), Counter::default());
        let answered = Arc::new(Answered::default());
        let big = "x".repeat(60 * 1024);
        let fit = MAX_BYTES / record("now/1", "0", big.clone()).cost_bytes();
        for tag in 0..fit as u64 + 2 {
            passing.pass(record("now/1", &tag.to_string(), big.clone()), Waiter::new(answered.clone(), tag));
        }
        for (_, answer) in answered.wait(2).await {
            assert!(matches!(answer, Answer::Rejected(refusal) if refusal.code == Code::RateLimited));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        let name = |n: usize| record("now/1", &n.to_string(), String::new());
        assert!((0..MAX_RECENT).all(|n| recent.is_new(&name(n))));
        assert!(!recent.is_new(&name(0)));
        assert!(recent.is_new(&name(MAX_RECENT)) && recent.is_new(&name(0)), "the oldest is forgotten");
        assert_eq!((recent.known.len(), recent.order.len()), (MAX_RECENT, MAX_RECENT));
    }

    #[tokio::test]
    async fn signals_find_room_or_are_dropped() {
        let (pusher, _receiver) = pusher().await;
        let (passing, passer) = open(rules(), Counter::default());
        let waiting = || passing.shared.waiting.lock().signals.len();
        let signal = || passing.signal(UserId::new("bob").unwrap(), Arc::default());
        assert_eq!((0..MAX_MESSAGES + 5).filter(|_| signal()).count(), MAX_MESSAGES);
        let stop = CancellationToken::new();
        stop.cancel();
        passer.run(&pusher, &stop).await;
        assert!(!signal() && waiting() == 0, "handed over, and none is taken after the end");
    }
}
