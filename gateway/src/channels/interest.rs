//! That pushers know which channels have subscribers here: written to presence before a subscriber relies on it, and for a
//! while after the last one went, so that coming and going costs nothing.
//!
//! One worker writes, so a channel's writes follow each other.

use std::time::Duration;

use futures_util::future::join_all;
use tidegate_pipeline::presence::Unreachable;
use tidegate_pipeline::presence::interest::Interest;
use tidegate_proto::id::ChannelName;
use tidegate_proto::timeline::Timeline;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Channel, Channels};
use crate::gateway::Shared;

/// What presence has been told of a channel.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// How many subscribers there are.
    subscribers: u64,
    /// Since when there is none.
    empty_since: Option<Instant>,
    /// What presence has confirmed, and when.
    written: Option<Written>,
    /// To be written although nothing has changed: presence may have lost it since the last write began.
    again: bool,
    /// Subscribers on other gateways, as those said when this one last asked.
    elsewhere: u64,
    asked_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    incarnation: u64,
    subscribers: u64,
    at: Instant,
}

/// What is to be done about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Not yet.
    Later,
    /// To be written.
    Show,
    Drop,
}

impl Shown {
    pub(super) fn subscribers_changed(&mut self, subscribers: usize, now: Instant) {
        self.subscribers = subscribers as u64;
        self.empty_since = (subscribers == 0).then_some(now);
    }

    /// Subscribers on other gateways, as those said when this one last asked.
    pub(super) fn elsewhere(&self) -> u64 {
        self.elsewhere
    }

    /// A write begins: what presence loses from here on is to be written again.
    fn begin_write(&mut self) {
        self.again = false;
    }

    /// The write that was begun has ended; `None`: presence did not answer.
    fn end_write(&mut self, written: Option<Written>) {
        match written {
            Some(_) => self.written = written,
            None => self.again = true,
        }
    }

    /// Whether pushers know of an incarnation's interest.
    fn is_known(&self, incarnation: u64) -> bool {
        self.written.is_some_and(|written| written.incarnation == incarnation)
    }

    /// Whether the subscribers elsewhere may be counted anew.
    fn is_count_old(&self, now: Instant) -> bool {
        self.asked_at.is_none_or(|at| now >= at + COUNT_EVERY)
    }

    /// An idle channel is kept for so long.
    fn due(&self, incarnation: u64, now: Instant, kept_for: Duration) -> Due {
        let written = self.written.filter(|written| written.incarnation == incarnation);
        let is_number_old =
            |written: Written| written.subscribers != self.subscribers && now >= written.at + COUNT_EVERY;
        match (self.empty_since, written) {
            (Some(since), _) if now >= since + kept_for => Due::Drop,
            (_, Some(written)) if is_number_old(written) => Due::Show,
            (Some(_), _) => Due::Later,
            (None, None) => Due::Show,
            (None, Some(_)) if self.again => Due::Show,
            (None, Some(written)) if written.subscribers == self.subscribers => Due::Nothing,
            (None, Some(_)) => Due::Later,
        }
    }
}

impl Channels {
    /// Writes what is due until `stop`.
    pub(crate) async fn run_interest(&self, gateway: &Shared, stop: &CancellationToken) {
        let look = async {
            loop {
                tokio::select! {
                    () = self.due.notified() => {}
                    () = sleep(LOOK_EVERY) => {}
                }
                self.settle(gateway).await;
                self.count_asked_again(gateway).await;
            }
        };
        stop.run_until_cancelled(look).await;
    }

    /// Waits until pushers know that these channels have subscribers here. Not for long, and not while presence does not
    /// answer: then what they get is found by the checks of heads.
    pub(crate) async fn known(&self, gateway: &Shared, channels: &[ChannelName]) {
        let incarnation = gateway.incarnation();
        let is_known = |channel: &ChannelName| {
            self.shard(channel).lock().get(channel).is_none_or(|entry| entry.shown.is_known(incarnation))
        };
        let all = async {
            loop {
                let settled = self.settled.notified();
                if !gateway.parts.presence.answers() || channels.iter().all(is_known) {
                    return;
                }
                settled.await;
            }
        };
        // Whoever waits in vain goes on.
        let _ = timeout(KNOWN_LIMIT, all).await;
    }

    /// Asks how many subscribers of these channels there are elsewhere, unless that was asked a moment ago.
    pub(crate) async fn count_elsewhere(&self, gateway: &Shared, channels: &[ChannelName]) {
        if !gateway.parts.presence.answers() {
            return;
        }
        let now = Instant::now();
        let is_old = |channel: &&ChannelName| {
            let mut shard = self.shard(channel).lock();
            let Some(shown) = shard.get_mut(*channel).map(|entry| &mut entry.shown) else { return false };
            let is_old = shown.is_count_old(now);
            if is_old {
                shown.asked_at = Some(now);
            }
            is_old
        };
        let asked: Vec<_> = channels.iter().filter(is_old).cloned().collect();
        if asked.is_empty() {
            return;
        }
        let answer = timeout(COUNT_LIMIT, gateway.parts.presence.interests(&asked)).await;
        let Ok(Ok(interests)) = answer else { return };
        for (channel, interests) in asked.iter().zip(interests) {
            let elsewhere = interests.iter().filter(|interest| interest.gateway != gateway.parts.id);
            let elsewhere = elsewhere.map(|interest| interest.subscribers).sum();
            if let Some(entry) = self.shard(channel).lock().get_mut(channel) {
                entry.shown.elsewhere = elsewhere;
            }
        }
    }

    /// What was counted a moment ago stays asked for.
    async fn count_asked_again(&self, gateway: &Shared) {
        let now = Instant::now();
        let is_old = |channel: &ChannelName| {
            self.shard(channel).lock().get(channel).is_none_or(|entry| entry.shown.is_count_old(now))
        };
        let asked: Vec<_> = self.asked_again.lock().extract_if(|channel| is_old(channel)).collect();
        for some in asked.chunks(AT_ONCE) {
            self.count_elsewhere(gateway, some).await;
        }
    }

    /// Every interest is to be written again: a lease began, or presence may have lost some.
    pub(crate) fn show_all(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.values_mut().for_each(|entry| entry.shown.again = true);
            self.unsettled.lock().extend(shard.keys().cloned());
        }
        self.due.notify_one();
    }

    /// The gateway stops: drops what presence has been told. What cannot be dropped counts for nobody without the lease.
    pub(crate) async fn drop_all(&self, gateway: &Shared) {
        let (gateway, presence) = (gateway.parts.id.clone(), &gateway.parts.presence);
        for shard in &self.shards {
            let written = |(channel, entry): (&ChannelName, &Channel)| {
                Some((channel.clone(), entry.shown.written.as_ref()?.incarnation))
            };
            let written: Vec<_> = shard.lock().iter().filter_map(written).collect();
            for some in written.chunks(AT_ONCE) {
                let drops = some.iter().map(async |(channel, incarnation)| {
                    let (gateway, incarnation) = (gateway.clone(), *incarnation);
                    presence.drop_interest(channel, &Interest { gateway, incarnation, subscribers: 0 }).await
                });
                if join_all(drops).await.iter().any(Result::is_err) {
                    return;
                }
            }
        }
    }

    async fn settle(&self, gateway: &Shared) {
        let unsettled: Vec<_> = self.unsettled.lock().drain().collect();
        let kept_for = if unsettled.len() > MAX_IDLE { Duration::ZERO } else { KEPT_FOR };
        for some in unsettled.chunks(AT_ONCE) {
            let written =
                join_all(some.iter().map(|channel| self.settle_one(gateway, channel, kept_for))).await;
            self.settled.notify_waiters();
            if let Some(error) = written.into_iter().find_map(Result::err) {
                gateway.parts.metrics.presence_unreachable.inc();
                warn!(error = &error as &dyn std::error::Error, "interests in channels are written later");
            }
        }
    }

    /// What could not be written is tried again at the next look.
    async fn settle_one(
        &self,
        gateway: &Shared,
        channel: &ChannelName,
        kept_for: Duration,
    ) -> Result<(), Unreachable> {
        let incarnation = gateway.incarnation();
        let (due, subscribers, before) = {
            let mut shard = self.shard(channel).lock();
            let Some(entry) = shard.get_mut(channel) else { return Ok(()) };
            let shown = &mut entry.shown;
            let due = shown.due(incarnation, Instant::now(), kept_for);
            let before = shown.written.map(|written| written.incarnation);
            match due {
                // From here on a new subscriber waits until it is written again.
                Due::Drop => shown.written = None,
                Due::Show => shown.begin_write(),
                Due::Nothing | Due::Later => {}
            }
            (due, shown.subscribers, before)
        };
        let interest = Interest { gateway: gateway.parts.id.clone(), incarnation, subscribers };
        let result = match due {
            Due::Nothing => return Ok(()),
            Due::Later => Ok(()),
            Due::Show => self.show(gateway, channel, &interest, before).await,
            Due::Drop => {
                let dropped = gateway.parts.presence.drop_interest(channel, &interest).await;
                dropped.map(|()| self.dropped(channel))
            }
        };
        let is_to_be_dropped = due == Due::Show && subscribers == 0;
        if due == Due::Later || is_to_be_dropped || result.is_err() {
            self.unsettled.lock().insert(channel.clone());
        }
        result
    }

    /// Writes an interest that was written `before` under that incarnation, if at all.
    async fn show(
        &self,
        gateway: &Shared,
        channel: &ChannelName,
        interest: &Interest,
        before: Option<u64>,
    ) -> Result<(), Unreachable> {
        let result = gateway.parts.presence.show_interest(channel, interest).await;
        let Interest { incarnation, subscribers, .. } = *interest;
        let at = Instant::now();
        let written = result.is_ok().then_some(Written { incarnation, subscribers, at });
        if let Some(entry) = self.shard(channel).lock().get_mut(channel) {
            entry.shown.end_write(written);
        }
        result?;
        if before == Some(incarnation) || gateway.parts.settings.channels.is_volatile(channel) {
            return Ok(());
        }
        // A push may still have gone by what the pusher knew before.
        gateway.heads.registered(Timeline::channel(channel));
        if before.is_some() {
            // With its lease the gateway lost the interest: nothing was pushed until now.
            gateway.heads.check_all();
        }
        Ok(())
    }

    fn dropped(&self, channel: &ChannelName) {
        let mut shard = self.shard(channel).lock();
        if shard.get(channel).is_some_and(|entry| entry.subscribers.is_empty()) {
            shard.remove(channel);
        }
    }
}

/// How long a channel without subscribers is kept (ARCHITECTURE.md "Presence and links").
const KEPT_FOR: Duration = Duration::from_secs(60);
/// So many of those at most, some 5 MiB; with more none is.
const MAX_IDLE: usize = 10_000;
/// How old the number of subscribers may be.
const COUNT_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Channels written together.
const AT_ONCE: usize = 256;
/// How long a subscriber waits for presence.
const KNOWN_LIMIT: Duration = Duration::from_secs(1);
/// How long he waits for a number that only decorates.
const COUNT_LIMIT: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn due(shown: &Shown, after: Duration, start: Instant) -> Due {
        shown.due(7, start + after, KEPT_FOR)
    }

    #[test]
    fn it_is_written_before_the_first_subscriber_and_dropped_a_minute_after_the_last() {
        let (mut shown, start) = (Shown::default(), Instant::now());
        shown.subscribers_changed(1, start);
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Show);
        assert!(!shown.is_known(7));
        shown.written = Some(Written { incarnation: 7, subscribers: 1, at: start });
        assert!(shown.is_known(7) && !shown.is_known(8));
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Nothing);
        assert_eq!(shown.due(8, start, KEPT_FOR), Due::Show, "another incarnation has said nothing yet");

        shown.subscribers_changed(2, start);
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Later, "a number can wait");
        assert_eq!(due(&shown, COUNT_EVERY, start), Due::Show);

        shown.subscribers_changed(0, start);
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Later);
        assert_eq!(due(&shown, COUNT_EVERY, start), Due::Show, "that it is none is a number too");
        shown.written = Some(Written { incarnation: 7, subscribers: 0, at: start + COUNT_EVERY });
        assert_eq!(due(&shown, KEPT_FOR / 2, start), Due::Later);
        assert_eq!(due(&shown, KEPT_FOR, start), Due::Drop);
        shown.subscribers_changed(1, start);
        assert_ne!(due(&shown, KEPT_FOR, start), Due::Drop, "one has come");
    }

    #[test]
    fn what_presence_may_have_lost_is_written_again() {
        let (mut shown, start) = (Shown::default(), Instant::now());
        shown.subscribers_changed(1, start);
        let written = Some(Written { incarnation: 7, subscribers: 1, at: start });
        shown.end_write(written);
        shown.again = true;
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Show);
        assert!(shown.is_known(7), "until then it counts as it was");

        shown.begin_write();
        shown.end_write(None);
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Show, "presence did not answer");
        shown.begin_write();
        // It was written, lost, and then the answer came.
        shown.again = true;
        shown.end_write(written);
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Show);
        shown.begin_write();
        shown.end_write(written);
        assert_eq!(due(&shown, Duration::ZERO, start), Due::Nothing);
    }
}
