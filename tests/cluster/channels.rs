//! What was published to channels, and what their subscribers were given: written by the users' tasks, and what must be
//! true of it. Pure: no clock, no server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tidegate_client::v1::Msg;

/// Everything about channels. Messages and subscribers have numbers, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    posts: Vec<Post>,
    subscribers: Vec<Subscriber>,
    /// What stands at which seq of a channel, as the first one who was told said.
    places: BTreeMap<(u32, i64), usize>,
    /// Messages that are not everywhere yet.
    open: BTreeSet<usize>,
    /// What must never happen and was seen.
    seen: Vec<String>,
}

/// A message of a channel, as its publisher knows it.
#[derive(Debug)]
pub(crate) struct Post {
    channel: u32,
    accepted: Option<Instant>,
    stored: bool,
    /// When every subscriber had it.
    complete: Option<Instant>,
    /// Subscribers that do not have it yet.
    missing: usize,
}

/// One who has everything of a channel up to a seq.
#[derive(Debug)]
struct Subscriber {
    channel: u32,
    position: i64,
}

impl Channels {
    /// What a channel is called on the wire.
    pub(crate) fn name(channel: u32) -> String {
        format!("trial/{channel}")
    }

    /// What a message is called on the wire; its content is the same.
    pub(crate) fn local_id(post: usize) -> String {
        format!("post-{post}")
    }

    /// Somebody subscribes from the beginning, before anything is published.
    pub(crate) fn subscribe(&mut self, channel: u32) -> usize {
        self.subscribers.push(Subscriber { channel, position: 0 });
        self.subscribers.len() - 1
    }

    /// A message is about to be published.
    pub(crate) fn publish(&mut self, channel: u32) -> usize {
        let subscribers = self.subscribers.iter().filter(|subscriber| subscriber.channel == channel).count();
        let post = self.posts.len();
        self.posts.push(Post {
            channel,
            accepted: None,
            stored: false,
            complete: None,
            missing: subscribers,
        });
        self.open.insert(post);
        post
    }

    /// ACCEPTED has come.
    pub(crate) fn accept(&mut self, post: usize, now: Instant) {
        self.posts[post].accepted = Some(now);
    }

    /// STORED has come.
    pub(crate) fn store(&mut self, post: usize, (seq, conv_seq): (i64, i64)) {
        if seq != 0 {
            self.seen.push(format!("post {post} is in the inbox of its publisher, at {seq}"));
        }
        self.posts[post].stored = true;
        self.stands(post, conv_seq);
        self.look_at(post);
    }

    /// A subscriber has been given a message.
    pub(crate) fn arrive(&mut self, subscriber: usize, seq: i64, msg: &Msg, now: Instant) {
        let Subscriber { channel, position } = &mut self.subscribers[subscriber];
        let (channel, before) = (*channel, std::mem::replace(position, seq));
        if seq != before + 1 {
            self.seen.push(format!("subscriber {subscriber} of {channel} was given {seq} after {before}"));
        }
        let post = msg.local_id.strip_prefix("post-").and_then(|post| post.parse().ok());
        let is_one = |post: &usize| self.posts.get(*post).is_some_and(|post| post.channel == channel);
        let is_whole = msg.content == msg.local_id.as_bytes();
        match post.filter(is_one).filter(|_| is_whole && msg.conv_seq == seq) {
            None => self.seen.push(format!("subscriber {subscriber} of {channel} was given {seq}: {msg:?}")),
            Some(post) => {
                self.stands(post, seq);
                if seq > before {
                    self.one_less(post, now);
                }
            }
        }
    }

    /// Where a subscriber is.
    pub(crate) fn position(&self, subscriber: usize) -> i64 {
        self.subscribers[subscriber].position
    }

    /// How many are not everywhere yet. Where `until` is given, only of those accepted by then, and not whether their
    /// publishers know: a receipt that is lost comes when they ask again, after 30 s (docs/PROTOCOL.md "Sending").
    pub(crate) fn incomplete(&self, until: Option<Instant>) -> usize {
        let Some(until) = until else { return self.open.len() };
        let is_counted = |post: &&usize| {
            let Post { accepted, missing, .. } = self.posts[**post];
            missing > 0 && accepted.is_some_and(|accepted| accepted <= until)
        };
        self.open.iter().filter(is_counted).count()
    }

    /// Some of those, and where the subscribers are.
    pub(crate) fn some_incomplete(&self) -> String {
        let posts: Vec<_> = self.open.iter().take(4).map(|post| (post, &self.posts[*post])).collect();
        if posts.is_empty() { String::new() } else { format!("{posts:#?} {:?}", self.subscribers) }
    }

    /// As with messages between users.
    pub(crate) fn recovery(&self, end: Instant, until: Instant) -> Duration {
        let taken = self.posts.iter().filter_map(|post| {
            let accepted = post.accepted.filter(|accepted| *accepted <= until)?;
            Some(post.complete?.saturating_duration_since(accepted.max(end)))
        });
        taken.max().unwrap_or_default()
    }

    /// How many were published.
    pub(crate) fn published(&self) -> usize {
        self.posts.len()
    }

    /// Everything that is wrong once all has come to rest.
    pub(crate) fn defects(&self) -> Vec<String> {
        let mut found = self.seen.clone();
        for (number, post) in self.posts.iter().enumerate().filter(|(_, post)| !post.stored) {
            found.push(format!("post {number} is not stored: {post:?}"));
        }
        let mut once = BTreeSet::new();
        found.extend(
            self.places
                .iter()
                .filter(|(_, post)| !once.insert(**post))
                .map(|(place, post)| format!("post {post} stands at {place:?} and before")),
        );
        for (number, subscriber) in self.subscribers.iter().enumerate() {
            let head = self.stored(subscriber.channel).len() as i64;
            if subscriber.position != head {
                found.push(format!("subscriber {number} ends at {subscriber:?}, and the head is {head}"));
            }
        }
        let channels: BTreeSet<u32> = self.posts.iter().map(|post| post.channel).collect();
        for channel in channels {
            let seqs = self.places.range((channel, i64::MIN)..=(channel, i64::MAX)).map(|((_, seq), _)| *seq);
            if !seqs.eq(1..=self.stored(channel).len() as i64) {
                found.push(format!("channel {channel} is not dense"));
            }
        }
        found
    }

    /// The local ids of a channel's messages, in its order.
    pub(crate) fn stored(&self, channel: u32) -> Vec<String> {
        let places = self.places.range((channel, i64::MIN)..=(channel, i64::MAX));
        places.map(|(_, post)| Self::local_id(*post)).collect()
    }

    fn stands(&mut self, post: usize, seq: i64) {
        let channel = self.posts[post].channel;
        let first = *self.places.entry((channel, seq)).or_insert(post);
        if first != post {
            self.seen.push(format!("posts {first} and {post} both stand at {seq} of {channel}"));
        }
    }

    fn one_less(&mut self, post: usize, now: Instant) {
        let Post { missing, complete, .. } = &mut self.posts[post];
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            complete.get_or_insert(now);
        }
        self.look_at(post);
    }

    fn look_at(&mut self, post: usize) {
        let Post { missing, stored, .. } = self.posts[post];
        if missing == 0 && stored {
            self.open.remove(&post);
        }
    }
}

/// Channels of a trial.
pub(crate) const CHANNELS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    type Given = Vec<Vec<(i64, usize)>>;

    /// Two subscribers of a channel, three messages, stored and given as `change` makes it.
    fn play(change: impl Fn(&mut Vec<(usize, i64)>, &mut Given)) -> Vec<String> {
        let mut channels = Channels::default();
        let mut given: Given = vec![(1..).zip(0..3).collect(); 2];
        let mut stored: Vec<_> = (0..3).zip(1..).collect();
        change(&mut stored, &mut given);
        let subscribers: Vec<_> = given.iter().map(|_| channels.subscribe(0)).collect();
        for post in 0..3 {
            assert_eq!(channels.publish(0), post);
        }
        for (post, conv_seq) in stored {
            channels.accept(post, Instant::now());
            channels.store(post, (0, conv_seq));
        }
        for (subscriber, given) in subscribers.iter().zip(&given) {
            for (seq, post) in given {
                channels.arrive(*subscriber, *seq, &msg(*seq, *post), Instant::now());
            }
        }
        let defects = channels.defects();
        assert!(!defects.is_empty() || channels.incomplete(None) == 0, "what is right is complete");
        defects
    }

    fn msg(conv_seq: i64, post: usize) -> Msg {
        let local_id = Channels::local_id(post);
        Msg { content: local_id.clone().into(), local_id, conv_seq, ..Msg::default() }
    }

    #[test]
    fn every_defect_is_found() {
        assert_eq!(play(|_, _| {}), Vec::<String>::new());
        type Change = fn(&mut Vec<(usize, i64)>, &mut Given);
        let changes: [(&str, Change, &str); 7] = [
            ("one is lost on its way", |_, given| _ = given[0].remove(1), "was given 3 after 1"),
            ("the last one is", |_, given| _ = given[1].pop(), "ends at"),
            ("one comes twice", |_, given| given[0].insert(2, (2, 1)), "was given 2 after 2"),
            ("another order for one", |_, given| given[1] = vec![(1, 1), (2, 0), (3, 2)], "both stand at"),
            ("one is never stored", |stored, _| _ = stored.pop(), "is not stored"),
            ("the publisher is told another place", |stored, _| stored[2].1 = 4, "stands at"),
            ("it is nobody's", |_, given| given[0].push((4, 7)), "was given 4: Msg"),
        ];
        for (what, change, words) in changes {
            let found = play(change);
            assert!(found.iter().any(|defect| defect.contains(words)), "{what}: {found:#?}");
        }
    }
}
