//! Channels: who subscribes to what on this gateway, how a message reaches them, and that pushers know of it
//! (ARCHITECTURE.md "Channels").

mod fanout;
mod interest;
pub(crate) mod rules;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tidegate_pipeline::pusher::link::Post;
use tidegate_proto::id::ChannelName;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::hub::mailbox::Mailbox;
use crate::metrics::Metrics;
use interest::Shown;

/// The channels that have subscribers on this gateway, or had some a moment ago.
#[derive(Debug)]
pub(crate) struct Channels {
    shards: Box<[Mutex<HashMap<ChannelName, Channel>>]>,
    hasher: RandomState,
    fanout: fanout::Queue,
    /// Channels whose interest may have to be written.
    unsettled: Mutex<HashSet<ChannelName>>,
    /// Channels of which somebody has asked again how many subscribe to them.
    asked_again: Mutex<HashSet<ChannelName>>,
    /// Some of those cannot wait.
    due: Notify,
    /// Interests were written.
    settled: Notify,
    subscriptions: Gauge,
}

/// A channel with its subscribers.
#[derive(Debug, Default)]
struct Channel {
    subscribers: HashMap<Subscription, Arc<Mailbox>>,
    /// The subscribers as they are handed a message, without the lock; made anew after one came or went.
    snapshot: Option<Snapshot>,
    /// All who subscribe have been handed everything up to here, or a mark in its place, or will be.
    told: u64,
    shown: Shown,
}

/// A session's number, and its own number for the subscription.
type Subscription = (u64, u32);
type Snapshot = Arc<[(u32, Arc<Mailbox>)]>;

/// A subscriber's place in its channel; dropping it takes the subscriber out.
#[derive(Debug)]
pub(crate) struct Place {
    channels: Arc<Channels>,
    channel: ChannelName,
    subscription: Subscription,
}

impl Channels {
    /// Without subscribers.
    pub(crate) fn new(metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            fanout: fanout::Queue::new(metrics.fanout_full.clone()),
            unsettled: Mutex::default(),
            asked_again: Mutex::default(),
            due: Notify::new(),
            settled: Notify::new(),
            subscriptions: metrics.subscriptions.clone(),
        })
    }

    /// Adds a subscriber; `number` is the session's own for it. From now on it hears what the channel gets, once pushers
    /// know of the gateway's interest ([`Channels::known`]).
    pub(crate) fn join(self: &Arc<Self>, channel: ChannelName, mailbox: &Arc<Mailbox>, number: u32) -> Place {
        let subscription = (mailbox.session(), number);
        {
            let mut shard = self.shard(&channel).lock();
            let entry = shard.entry(channel.clone()).or_default();
            entry.subscribers.insert(subscription, mailbox.clone());
            entry.snapshot = None;
            entry.shown.subscribers_changed(entry.subscribers.len(), Instant::now());
        }
        self.subscriptions.inc();
        self.unsettle(&channel);
        Place { channels: self.clone(), channel, subscription }
    }

    /// Takes a message of a channel, to hand it to the subscribers. False if the channel has not had any for long.
    pub(crate) fn post(&self, post: Post) -> bool {
        let is_here = self.tell(&post.channel, post.seq).is_some();
        if is_here {
            self.fanout.put(post);
        }
        is_here
    }

    /// Tells a channel's subscribers that it has at least that head, unless what has that seq is on its way to them: else
    /// thousands would read from the store what they are about to get.
    pub(crate) fn mark(&self, channel: &ChannelName, head: u64) {
        if self.tell(channel, head) == Some(true) {
            self.mark_all(channel, head);
        }
    }

    /// Notes that subscribers are told of a seq; whether they were not yet. `None` for a channel without any for long.
    fn tell(&self, channel: &ChannelName, seq: u64) -> Option<bool> {
        let mut shard = self.shard(channel).lock();
        let Channel { told, .. } = shard.get_mut(channel)?;
        let is_new = seq > *told;
        *told = seq.max(*told);
        Some(is_new)
    }

    fn mark_all(&self, channel: &ChannelName, head: u64) {
        for (number, mailbox) in self.snapshot(channel).iter().flat_map(|snapshot| snapshot.iter()) {
            mailbox.mark_channel(*number, head);
        }
    }

    /// The channels with subscribers, a shard at a time, so that no lock is held for long.
    pub(crate) fn names(&self) -> impl Iterator<Item = Vec<ChannelName>> + '_ {
        self.shards.iter().map(|shard| {
            let shard = shard.lock();
            let with_subscribers = shard.iter().filter(|(_, channel)| !channel.subscribers.is_empty());
            with_subscribers.map(|(name, _)| name.clone()).collect()
        })
    }

    /// About how many subscribe to a channel: those here, and those on other gateways as they said last.
    pub(crate) fn count(&self, channel: &ChannelName) -> u64 {
        let shard = self.shard(channel).lock();
        shard.get(channel).map_or(0, |channel| channel.subscribers.len() as u64 + channel.shown.elsewhere())
    }

    /// Somebody who subscribes to a channel has asked how many do: those on other gateways are counted anew soon.
    pub(crate) fn count_again(&self, channel: ChannelName) {
        self.asked_again.lock().insert(channel);
    }

    fn snapshot(&self, channel: &ChannelName) -> Option<Snapshot> {
        let mut shard = self.shard(channel).lock();
        let Channel { subscribers, snapshot, .. } = shard.get_mut(channel)?;
        let made = || {
            let of = subscribers.iter().map(|((_, number), mailbox)| (*number, mailbox.clone()));
            of.collect()
        };
        Some(snapshot.get_or_insert_with(made).clone())
    }

    fn unsettle(&self, channel: &ChannelName) {
        self.unsettled.lock().insert(channel.clone());
        self.due.notify_one();
    }

    fn shard(&self, channel: &ChannelName) -> &Mutex<HashMap<ChannelName, Channel>> {
        &self.shards[self.hasher.hash_one(channel) as usize % SHARDS]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { channels, channel, subscription } = self;
        if let Some(entry) = channels.shard(channel).lock().get_mut(&*channel) {
            entry.subscribers.remove(subscription);
            entry.snapshot = None;
            entry.shown.subscribers_changed(entry.subscribers.len(), Instant::now());
        }
        channels.subscriptions.dec();
        channels.unsettled.lock().insert(channel.clone());
    }
}

/// Enough that two cores seldom meet.
const SHARDS: usize = 64;
