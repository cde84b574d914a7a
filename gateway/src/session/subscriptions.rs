//! What a session subscribes to: a feed for each channel, all independent of each other and of the inbox.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use smallvec::{SmallVec, smallvec};
use tidegate_pipeline::store::{Bounds, Page, StoreError};
use tidegate_proto::id::ChannelName;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Head;

use super::delivery::Entry;
use super::tally::FeedTally;
use super::worker::Work;
use crate::channels::Place;
use crate::feed::Feed;

/// The subscriptions of a session.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub(super) of: BTreeMap<u32, Subscription>,
    numbers: HashMap<ChannelName, u32>,
    /// Those whose feed waits for something: a page, an earlier message.
    busy: BTreeSet<u32>,
    /// The number of the last one. Never one again: a message may still come for a subscription that has ended.
    last: u32,
    /// Those that were asked for and are not being opened yet.
    pub(super) waiting: Vec<u32>,
    /// Those that are being opened, all with one look at presence and one at the store.
    pub(super) opening: Option<Work<Opened>>,
    pub(super) pages: FuturesUnordered<PageWork>,
    /// The one whose page was read last: the next one has its turn.
    pub(super) turn: u32,
}

/// A channel that a session subscribes to.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) channel: ChannelName,
    /// As Deliver says it.
    pub(super) timeline: Arc<str>,
    /// As the store said last.
    pub(super) floor: u64,
    pub(super) state: State,
    _place: Place,
}

/// How far a subscription is.
#[derive(Debug)]
pub(super) enum State {
    /// Asked for: the ids of the requests, what the first of them said, and the highest seq that has come meanwhile.
    Opening { ids: SmallVec<[u32; 1]>, after: Option<u64>, head: u64 },
    /// Open, with its feed.
    Open(Feed<Entry>, FeedTally),
}

/// What a look at the store said of each, and why it said nothing of some.
pub(super) type Opened = (Vec<(u32, Option<Bounds>)>, Option<StoreError>);
type PageWork = Pin<Box<dyn Future<Output = (u32, Result<Page, StoreError>)> + Send>>;

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// The number of the subscription to a channel.
    pub(super) fn number(&self, channel: &ChannelName) -> Option<u32> {
        self.numbers.get(channel).copied()
    }

    /// Adds a subscription that a request has asked for; `join` takes its place in the channel under its number.
    pub(super) fn add(
        &mut self,
        channel: ChannelName,
        (id, after): (u32, Option<u64>),
        join: impl FnOnce(ChannelName, u32) -> Place,
    ) {
        self.last += 1;
        let subscription = Subscription {
            timeline: Timeline::channel(&channel).as_str().into(),
            floor: 1,
            state: State::Opening { ids: smallvec![id], after, head: 0 },
            _place: join(channel.clone(), self.last),
            channel: channel.clone(),
        };
        self.of.insert(self.last, subscription);
        self.numbers.insert(channel, self.last);
        self.waiting.push(self.last);
    }

    /// Whether a look at the store or a page is under way.
    pub(super) fn is_working(&self) -> bool {
        self.opening.is_some() || !self.pages.is_empty()
    }

    /// Whether a feed waits for something.
    pub(super) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// The next thing that is done. Cancel safe; waits for ever while nothing is being done.
    pub(super) async fn next(&mut self) -> Done {
        let Self { opening, pages, .. } = self;
        let opened = async {
            match opening {
                Some(work) => work.done().await,
                None => pending().await,
            }
        };
        tokio::select! {
            opened = opened => {
                self.opening = None;
                Done::Opened(opened)
            }
            Some((number, page)) = pages.next() => Done::Page(number, page),
        }
    }

    /// When a feed has something to do; of those that catch up only if a page may be read.
    pub(super) fn deadline(&self, may_read_page: bool) -> Option<u64> {
        let feeds = self.busy.iter().filter_map(|number| match &self.of.get(number)?.state {
            State::Open(feed, _) => Some(feed),
            State::Opening { .. } => None,
        });
        feeds.filter(|feed| feed.is_live() || may_read_page).filter_map(Feed::deadline).min()
    }

    pub(super) fn tick(&mut self, now: u64) {
        for number in self.busy.iter().copied().collect::<Vec<_>>() {
            if let Some((_, feed)) = self.feed(number) {
                feed.tick(now);
            }
            self.note(number);
        }
    }

    /// The heads, for Pong.
    pub(super) fn heads(&self) -> impl Iterator<Item = Head> + '_ {
        self.of.values().filter_map(|subscription| match &subscription.state {
            State::Open(feed, _) => {
                Some(Head { timeline: subscription.timeline.to_string(), head: feed.head().cast_signed() })
            }
            State::Opening { .. } => None,
        })
    }

    /// The feed of an open one, and its timeline.
    pub(super) fn feed(&mut self, number: u32) -> Option<(&Arc<str>, &mut Feed<Entry>)> {
        match self.of.get_mut(&number)? {
            Subscription { timeline, state: State::Open(feed, _), .. } => Some((timeline, feed)),
            Subscription { state: State::Opening { .. }, .. } => None,
        }
    }

    /// Ends a subscription; what still comes for it is for nobody.
    pub(super) fn remove(&mut self, channel: &ChannelName) -> Option<Subscription> {
        let number = self.numbers.remove(channel)?;
        self.waiting.retain(|waiting| *waiting != number);
        self.busy.remove(&number);
        self.of.remove(&number)
    }

    /// Notes how a feed is, after whatever happened to it.
    pub(super) fn note(&mut self, number: u32) {
        let Some(State::Open(feed, tally)) =
            self.of.get_mut(&number).map(|subscription| &mut subscription.state)
        else {
            return;
        };
        tally.note(feed.is_live());
        if feed.is_live() && feed.deadline().is_none() {
            self.busy.remove(&number);
        } else {
            self.busy.insert(number);
        }
    }

    /// The subscriptions whose feed may want a page, from the one after the last turn on.
    pub(super) fn turns(&self) -> Vec<u32> {
        self.busy.range(self.turn + 1..).chain(self.busy.range(..=self.turn)).copied().collect()
    }
}

/// What is done for subscriptions.
#[derive(Debug)]
pub(super) enum Done {
    Opened(Opened),
    Page(u32, Result<Page, StoreError>),
}
