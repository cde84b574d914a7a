//! The check of the heads: whatever was lost on the way, a session learns within 30 s what the store has, and a new
//! one 2 s after it came (ARCHITECTURE.md invariant 10).

use std::time::Duration;

use parking_lot::Mutex;
use tidegate_proto::timeline::{Timeline, TimelineKind};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Shared, link};

/// Timelines whose heads are to be checked out of turn.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    /// Registered since the last tick, and in the tick before it.
    came: Mutex<(Vec<Timeline>, Vec<Timeline>)>,
    all: Notify,
}

impl Fresh {
    /// The user's session, or the gateway's interest in the channel, was registered: a push may still go by what the
    /// pusher knew before.
    pub(crate) fn registered(&self, timeline: Timeline) {
        self.came.lock().0.push(timeline);
    }

    /// Any push may have been lost.
    pub(crate) fn check_all(&self) {
        self.all.notify_one();
    }

    /// Checks until `stop`.
    pub(crate) async fn run(&self, gateway: &Shared, stop: &CancellationToken) {
        let mut tick = interval(AFTER_REGISTRATION);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut all_at = Instant::now() + ALL_EVERY;
        let mut told_at = Instant::now();
        loop {
            let all = tokio::select! {
                () = stop.cancelled() => return,
                () = self.told(told_at) => true,
                _ = tick.tick() => Instant::now() >= all_at,
            };
            if all {
                all_at = Instant::now() + ALL_EVERY;
                let rules = &gateway.parts.settings.channels;
                for users in gateway.hub.users() {
                    check(&users.iter().map(Timeline::inbox).collect::<Vec<_>>(), gateway).await;
                }
                let channels = gateway.channels.names().flatten();
                let stored = channels.filter(|channel| !rules.is_volatile(channel));
                check(&stored.map(|channel| Timeline::channel(&channel)).collect::<Vec<_>>(), gateway).await;
                told_at = Instant::now() + TOLD_EVERY;
            } else {
                check(&self.due(), gateway).await;
            }
        }
    }

    /// Waits until any push may have been lost, and `from`: links that open or break together lead to one check. Cancel
    /// safe.
    pub(crate) async fn told(&self, from: Instant) {
        if from > Instant::now() {
            sleep_until(from).await;
        }
        self.all.notified().await;
    }

    /// Those who came before the last tick: so at least one period ago.
    fn due(&self) -> Vec<Timeline> {
        let mut came = self.came.lock();
        let last = std::mem::take(&mut came.0);
        std::mem::replace(&mut came.1, last)
    }
}

async fn check(timelines: &[Timeline], gateway: &Shared) {
    let mut later = Vec::new();
    for timelines in timelines.chunks(BATCH) {
        match gateway.parts.store.heads(timelines).await {
            Ok(bounds) => timelines.iter().zip(bounds).for_each(|(timeline, bounds)| match timeline.kind() {
                TimelineKind::Channel(_) => later.push((timeline, bounds.head)),
                _ => link::mark(timeline, bounds.head, gateway),
            }),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "heads are not checked"),
        }
    }
    if !later.is_empty() {
        // What was stored a moment ago is on its way, perhaps to thousands of subscribers.
        sleep(ON_ITS_WAY).await;
        later.into_iter().for_each(|(timeline, head)| link::mark(timeline, head, gateway));
    }
}

/// From the commit to the gateway.
const ON_ITS_WAY: Duration = Duration::from_millis(200);
const AFTER_REGISTRATION: Duration = Duration::from_secs(2);
const ALL_EVERY: Duration = Duration::from_secs(30);
/// The time between the checks that links ask for.
const TOLD_EVERY: Duration = Duration::from_millis(500);
/// Heads asked for at once.
const BATCH: usize = 500;
