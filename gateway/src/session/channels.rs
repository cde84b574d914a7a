//! What a session does about channels: subscribes, reads pages, writes what comes (docs/PROTOCOL.md "Channels").

use std::sync::Arc;

use tidegate_pipeline::store::{Bounds, Page, Range, StoreError};
use tidegate_proto::Refusal;
use tidegate_proto::id::ChannelName;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Code, HistoryGone, ServerFrame, Subscribe, Subscribed, Unsubscribed, server_frame};
use tracing::warn;

use super::delivery::{Entry, PAGE_ENTRIES, entries};
use super::end::{error_frame, frame};
use super::rate::Rate;
use super::request::rate_limited;
use super::subscriptions::{Done, Opened, State, Subscription};
use super::tally::FeedTally;
use super::worker::{Session, Work};
use crate::burst::Burst;
use crate::channels::rules;
use crate::feed::{Feed, PageResult};
use crate::gateway::{Shared, now_ms};
use crate::hub::mailbox::Posted;
use crate::transport::{Outgoing, Transport};

impl<T: Transport> Session<T> {
    pub(super) fn on_subscribe(&mut self, id: u32, subscribe: &Subscribe) -> Result<(), Refusal> {
        self.subscribes.try_take(self.clock.now()).map_err(|wait| rate_limited("subscriptions", wait))?;
        let channel = ChannelName::new(&subscribe.channel)?;
        let after = subscribe
            .after
            .map(|after| u64::try_from(after).map_err(|_| Refusal::invalid("after must be 0 or more")));
        let after = after.transpose()?;
        self.may_subscribe(&channel)?;
        if let Some(number) = self.subscriptions.number(&channel) {
            self.gateway.channels.count_again(channel);
            self.subscribed_again(id, number);
            return Ok(());
        }
        let most = self.gateway.parts.settings.max_subscriptions;
        if self.subscriptions.len() >= most {
            let message = format!("at most {most} channels a session; unsubscribe from one first");
            return Err(Refusal::new(Code::Limit, message));
        }
        let (channels, mailbox) = (&self.gateway.channels, &self.mailbox);
        let join = |channel, number| channels.join(channel, mailbox, number);
        self.subscriptions.add(channel, (id, after), join);
        Ok(())
    }

    /// Who subscribes already is told how the channel is now; his position stays.
    fn subscribed_again(&mut self, id: u32, number: u32) {
        let Some(subscription) = self.subscriptions.of.get_mut(&number) else { return };
        match &mut subscription.state {
            State::Opening { ids, .. } => ids.push(id),
            State::Open(feed, _) => {
                let bounds = Bounds { head: feed.head(), floor: subscription.floor };
                let answer = subscribed(&self.gateway, &subscription.channel, bounds, id);
                let timeline = subscription.timeline.clone();
                self.transport.send(Outgoing::OfChannel { timeline, frame: answer });
            }
        }
    }

    /// Errors: PERMISSION_DENIED.
    pub(super) fn may_subscribe(&self, channel: &ChannelName) -> Result<(), Refusal> {
        let (_, rule) = self.gateway.parts.settings.channels.of(channel);
        rules::may_subscribe(rule, &self.identity.grants, channel)
    }

    /// Takes one of what the session may publish to the channel.
    ///
    /// Errors: PERMISSION_DENIED, RATE_LIMITED.
    pub(super) fn try_publish(&mut self, channel: &ChannelName) -> Result<(), Refusal> {
        let (place, rule) = self.gateway.parts.settings.channels.of(channel);
        rules::may_publish(rule, &self.identity.grants, channel)?;
        let (Some(place), Some(rate)) = (place, rule.rate) else { return Ok(()) };
        let rate = self.publishes.entry(place).or_insert_with(|| Rate::new(rate.per_second, rate.burst));
        let taken = rate.try_take(self.clock.now());
        taken.map_err(|wait| rate_limited("messages to this channel", wait))
    }

    /// Ends the subscriptions that another token does not grant any more.
    pub(super) fn end_what_is_not_granted(&mut self) {
        let channels = self.subscriptions.of.values().map(|subscription| &subscription.channel);
        let lost = channels.filter_map(|channel| Some((channel.clone(), self.may_subscribe(channel).err()?)));
        for (channel, refusal) in lost.collect::<Vec<_>>() {
            let Some(Subscription { timeline, state, .. }) = self.subscriptions.remove(&channel) else {
                continue;
            };
            match state {
                State::Opening { ids, .. } => {
                    ids.into_iter().for_each(|id| self.answer(error_frame(id, refusal.clone())));
                }
                State::Open(..) => self.unsubscribed(0, timeline, &channel, refusal.message),
            }
        }
    }

    fn unsubscribed(&mut self, id: u32, timeline: Arc<str>, channel: &ChannelName, reason: String) {
        let unsubscribed = Unsubscribed { channel: channel.as_str().to_owned(), reason };
        let frame = ServerFrame { id, kind: Some(server_frame::Kind::Unsubscribed(unsubscribed)) };
        self.transport.send(Outgoing::OfChannel { timeline, frame });
    }

    pub(super) fn on_unsubscribe(&mut self, id: u32, channel: &str) -> Result<(), Refusal> {
        let channel = ChannelName::new(channel)?;
        let Some(Subscription { timeline, state, .. }) = self.subscriptions.remove(&channel) else {
            return Err(Refusal::new(Code::NotFound, "not subscribed to this channel"));
        };
        if let State::Opening { ids, .. } = state {
            for id in ids {
                let refusal = Refusal::new(Code::NotFound, "unsubscribed before it was open");
                self.answer(error_frame(id, refusal));
            }
        }
        self.unsubscribed(id, timeline, &channel, String::new());
        Ok(())
    }

    /// Opens what was asked for, and reads the next pages, in turn.
    pub(super) fn pump_subscriptions(&mut self, now: u64) {
        if self.subscriptions.opening.is_none() && !self.subscriptions.waiting.is_empty() {
            self.open_subscriptions();
        }
        if !self.subscriptions.is_busy() || !self.has_room_for_page() {
            return;
        }
        for number in self.subscriptions.turns() {
            if self.subscriptions.pages.len() >= MAX_PAGES {
                return;
            }
            let Some((timeline, feed)) = self.subscriptions.feed(number) else { continue };
            let Some(after) = feed.try_read(now) else { continue };
            let timeline = Timeline::parse(timeline).expect("it is a channel's");
            let store = self.gateway.parts.store.clone();
            let max_bytes = self.gateway.parts.settings.outbox_bytes / PAGE_PART;
            self.subscriptions.pages.push(Box::pin(async move {
                (number, store.page(&timeline, Range::After(after), PAGE_ENTRIES, max_bytes, now_ms()).await)
            }));
            self.subscriptions.turn = number;
        }
    }

    /// Interest first, then the look at the store: what is stored before is read, what is stored after is pushed.
    fn open_subscriptions(&mut self) {
        let numbers = std::mem::take(&mut self.subscriptions.waiting);
        let channel = |number: u32| Some((number, self.subscriptions.of.get(&number)?.channel.clone()));
        let wanted: Vec<_> = numbers.into_iter().filter_map(channel).collect();
        let gateway = self.gateway.clone();
        self.subscriptions.opening = Some(Work::new(async move {
            let channels: Vec<_> = wanted.iter().map(|(_, channel)| channel.clone()).collect();
            gateway.channels.known(&gateway, &channels).await;
            gateway.channels.count_elsewhere(&gateway, &channels).await;
            look(&gateway, wanted).await
        }));
    }

    pub(super) fn on_subscriptions(&mut self, done: Done) {
        match done {
            Done::Opened((opened, error)) => {
                if let Some(error) = error {
                    warn!(error = &error as &dyn std::error::Error, "channels are not subscribed to");
                }
                for (number, bounds) in opened {
                    match bounds {
                        Some(bounds) => self.opened(number, bounds),
                        None => self.not_opened(number),
                    }
                }
            }
            Done::Page(number, page) => self.on_channel_page(number, page),
        }
    }

    fn opened(&mut self, number: u32, bounds: Bounds) {
        // Unsubscribed meanwhile, perhaps.
        let Some(subscription) = self.subscriptions.of.get_mut(&number) else { return };
        let State::Opening { ids, after, head } = &mut subscription.state else { return };
        let (ids, after, seen) = (std::mem::take(ids), *after, *head);
        let from_floor = bounds.floor - 1;
        // A position beyond the head is of another life of the data.
        let start = after.map_or(bounds.head, |after| if after <= bounds.head { after } else { from_floor });
        let mut feed = Feed::new(start.max(from_floor), bounds.head);
        feed.mark(seen, self.clock.now());
        subscription.floor = bounds.floor;
        subscription.state = State::Open(feed, FeedTally::new(self.gateway.clone()));
        let (channel, timeline) = (subscription.channel.clone(), subscription.timeline.clone());
        self.subscriptions.note(number);
        for id in ids {
            let frame = subscribed(&self.gateway, &channel, bounds, id);
            self.transport.send(Outgoing::OfChannel { timeline: timeline.clone(), frame });
        }
        if start < from_floor {
            self.history_gone(&timeline, bounds.floor);
        }
    }

    fn not_opened(&mut self, number: u32) {
        let Some(subscription) = self.subscriptions.of.get(&number) else { return };
        let channel = subscription.channel.clone();
        if let Some(Subscription { state: State::Opening { ids, .. }, .. }) =
            self.subscriptions.remove(&channel)
        {
            for id in ids {
                let refusal = Refusal::new(Code::Unavailable, "the store does not answer; subscribe again");
                self.answer(error_frame(id, refusal));
            }
        }
    }

    /// Messages of channels, then the marks for those that were dropped.
    pub(super) fn on_posts(&mut self, posts: Vec<Posted>, marks: Vec<(u32, u64)>) {
        if posts.is_empty() && marks.is_empty() {
            return;
        }
        let (now, wall_ms) = (self.clock.now(), now_ms());
        for Posted { subscription: number, burst } in posts {
            let has_room = self.has_room();
            let Some(subscription) = self.subscriptions.of.get_mut(&number) else { continue };
            match &mut subscription.state {
                State::Opening { head, .. } => *head = (*head).max(burst.last()),
                State::Open(..) if burst.is_volatile() && has_room => self.write_burst(burst, None),
                State::Open(..) if burst.is_volatile() => {
                    self.gateway.parts.metrics.passing_behind.inc_by(burst.count());
                }
                State::Open(feed, _) => {
                    if !has_room {
                        feed.outbox_full(now);
                    }
                    if feed.try_pass(burst.first(), burst.count()) {
                        self.write_burst(burst, Some(wall_ms));
                        continue;
                    }
                    let mut out = Vec::new();
                    for (seq, body) in burst.messages() {
                        feed.push(seq, Entry::Msg(body.clone()), now, &mut out);
                    }
                    self.write(burst.timeline(), &mut out, Some(wall_ms));
                    self.subscriptions.note(number);
                }
            }
        }
        for (number, seq) in marks {
            match self.subscriptions.of.get_mut(&number).map(|subscription| &mut subscription.state) {
                Some(State::Opening { head, .. }) => *head = (*head).max(seq),
                Some(State::Open(feed, _)) => feed.mark(seq, now),
                None => {}
            }
            self.subscriptions.note(number);
        }
    }

    /// Gives messages to the transport as they are; `live_at`, in ms since 1970, is the time for those that are stored.
    fn write_burst(&mut self, burst: Arc<Burst>, live_at: Option<i64>) {
        let metrics = &self.gateway.parts.metrics;
        metrics.delivered.inc_by(burst.count());
        if let Some(now) = live_at {
            for (sent, count) in burst.sent() {
                metrics.delivery_seconds.observe_times((now - sent) as f64 / 1_000.0, *count);
            }
            burst.trace();
        }
        self.transport.send(Outgoing::Burst(burst));
    }

    fn on_channel_page(&mut self, number: u32, page: Result<Page, StoreError>) {
        let now = self.clock.now();
        let Some((timeline, feed)) = self.subscriptions.feed(number) else { return };
        let timeline = timeline.clone();
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                feed.page_failed(now);
                self.subscriptions.note(number);
                warn!(error = &error as &dyn std::error::Error, "a page is read again later");
                self.gateway.parts.metrics.page_failed.inc();
                return;
            }
        };
        let Bounds { head, floor } = page.bounds;
        let mut out = Vec::new();
        let result = feed.page(entries(page), (head, floor), now, &mut out);
        self.gateway.parts.metrics.page_read.inc();
        if let Some(subscription) = self.subscriptions.of.get_mut(&number) {
            subscription.floor = floor;
        }
        self.subscriptions.note(number);
        if let PageResult::HistoryGone(floor) = result {
            self.history_gone(&timeline, floor);
        }
        self.write(&timeline, &mut out, None);
    }

    fn history_gone(&mut self, timeline: &Arc<str>, floor: u64) {
        let gone = HistoryGone { timeline: timeline.to_string(), floor: floor.cast_signed() };
        let frame = frame(server_frame::Kind::HistoryGone(gone));
        self.transport.send(Outgoing::OfChannel { timeline: timeline.clone(), frame });
    }
}

/// What the store has of channels; it is not asked about those that keep nothing.
async fn look(gateway: &Shared, wanted: Vec<(u32, ChannelName)>) -> Opened {
    let rules = &gateway.parts.settings.channels;
    let (volatile, stored): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|(_, channel)| rules.is_volatile(channel));
    let mut opened: Vec<_> =
        volatile.into_iter().map(|(number, _)| (number, Some(Bounds::default()))).collect();
    if stored.is_empty() {
        return (opened, None);
    }
    let timelines: Vec<_> = stored.iter().map(|(_, channel)| Timeline::channel(channel)).collect();
    let (bounds, error) = match gateway.parts.store.heads(&timelines).await {
        Ok(bounds) => (bounds.into_iter().map(Some).collect(), None),
        Err(error) => (vec![None; stored.len()], Some(error)),
    };
    opened.extend(stored.into_iter().map(|(number, _)| number).zip(bounds));
    (opened, error)
}

fn subscribed(gateway: &Shared, channel: &ChannelName, bounds: Bounds, id: u32) -> ServerFrame {
    let subscribed = Subscribed {
        channel: channel.as_str().to_owned(),
        head: bounds.head.cast_signed(),
        floor: bounds.floor.cast_signed(),
        count: gateway.channels.count(channel).cast_signed(),
    };
    ServerFrame { id, kind: Some(server_frame::Kind::Subscribed(subscribed)) }
}

/// Pages of channels that a session reads at once: a slow one does not hold up the others.
const MAX_PAGES: usize = 4;
/// A page is at most this part of the outbox.
const PAGE_PART: usize = 4;
