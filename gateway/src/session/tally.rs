//! What the metrics show of a session while it lives; however it ends, nothing is left of it there.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

use crate::gateway::Shared;
use crate::transport::{Kind, PathStats};

/// A session in the metrics; dropping it takes the session out.
#[derive(Debug)]
pub(super) struct Tally {
    gateway: Arc<Shared>,
    sessions: Gauge,
    /// When the path is looked at next, in ms on the session's clock.
    path_at: u64,
    sent_packets: u64,
    lost_packets: u64,
}

impl Tally {
    /// A session that begins.
    pub(super) fn new(gateway: Arc<Shared>, kind: Kind) -> Self {
        let sessions = gateway.parts.metrics.session_opened(kind);
        sessions.inc();
        Self { gateway, sessions, path_at: PATH_EVERY_MS, sent_packets: 0, lost_packets: 0 }
    }

    /// Whether the path is to be looked at again.
    pub(super) fn wants_path(&self, now: u64) -> bool {
        now >= self.path_at
    }

    /// Notes how the path does; a transport that does not know is not asked again.
    pub(super) fn path(&mut self, path: Option<PathStats>, now: u64) {
        let Some(path) = path else {
            self.path_at = u64::MAX;
            return;
        };
        self.path_at = now + PATH_EVERY_MS;
        let metrics = &self.gateway.parts.metrics;
        metrics.rtt_seconds.observe(path.rtt.as_secs_f64());
        // A path that changed counts from 0 again.
        metrics.packets_sent.inc_by(path.sent_packets.saturating_sub(self.sent_packets));
        metrics.packets_lost.inc_by(path.lost_packets.saturating_sub(self.lost_packets));
        (self.sent_packets, self.lost_packets) = (path.sent_packets, path.lost_packets);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.sessions.dec();
    }
}

/// A feed in the metrics; dropping it takes the feed out.
#[derive(Debug)]
pub(super) struct FeedTally {
    gateway: Arc<Shared>,
    is_live: bool,
}

impl FeedTally {
    /// A live feed.
    pub(super) fn new(gateway: Arc<Shared>) -> Self {
        Self { gateway, is_live: true }
    }

    /// Notes the feed's state.
    pub(super) fn note(&mut self, is_live: bool) {
        if std::mem::replace(&mut self.is_live, is_live) == is_live {
            return;
        }
        let metrics = &self.gateway.parts.metrics;
        if is_live {
            metrics.turned_live.inc();
            metrics.catching_up.dec();
        } else {
            metrics.turned_to_catch_up.inc();
            metrics.catching_up.inc();
        }
    }
}

impl Drop for FeedTally {
    fn drop(&mut self) {
        if !self.is_live {
            self.gateway.parts.metrics.catching_up.dec();
        }
    }
}

/// Seldom, since it takes the connection's lock.
const PATH_EVERY_MS: u64 = 30_000;
