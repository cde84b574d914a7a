//! What is counted of sessions and their messages. The names and what they mean stand in docs/OPERATIONS.md.
//!
//! What is counted for every message has its handle here; only what is counted for a session or a refused request is
//! looked up by its label.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tidegate_pipeline::metrics::{self as pipeline, Counters, Histogram, Label, Rejected, SECONDS_BOUNDS};

use crate::admission::Full;
use crate::hub::mailbox;
use crate::transport::{Kind, quic};

/// The metrics of a gateway. Cheap enough to clone at start; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    pipeline: pipeline::Metrics,
    /// Live sessions by transport.
    pub(crate) sessions: Family<Label, Gauge>,
    opened: Counters,
    ended: Counters,
    not_begun: Counters,
    /// Messages that came from clients and backends.
    pub(crate) received: Counter,
    /// Messages answered ACCEPTED.
    pub(crate) accepted: Counter,
    /// Messages queued for a client.
    pub(crate) delivered: Counter,
    /// Messages whose sender was told STORED.
    pub(crate) confirmed: Counter,
    /// Messages refused.
    pub(crate) rejected: Rejected,
    /// From a send's arrival to its ACCEPTED.
    pub(crate) receipt_seconds: Histogram,
    /// From send_time to the transport of a recipient, of live pushes.
    pub(crate) delivery_seconds: Histogram,
    /// Channels that sessions subscribe to, each as often as it is.
    pub(crate) subscriptions: Gauge,
    /// Messages of channels for which there was no room on the way to the subscribers.
    pub(crate) fanout_full: Counter,
    /// Feeds that read the store.
    pub(crate) catching_up: Gauge,
    turns: Counters,
    /// Of `turns`.
    pub(crate) turned_live: Counter,
    /// Of `turns`.
    pub(crate) turned_to_catch_up: Counter,
    pages: Counters,
    /// Of `pages`.
    pub(crate) page_read: Counter,
    /// Of `pages`.
    pub(crate) page_failed: Counter,
    /// What mailboxes did not take.
    pub(crate) mailbox: Arc<mailbox::Drops>,
    /// Messages stored nowhere for clients that are behind.
    pub(crate) passing_behind: Counter,
    /// Signals for users at other gateways that found no room on their way there.
    pub(crate) signal_full: Counter,
    /// Signals for clients that are behind.
    pub(crate) signal_behind: Counter,
    /// Times that presence did not answer.
    pub(crate) presence_unreachable: Counter,
    connections: Gauge,
    http_refused: Counters,
    quic_refused: Counters,
    quic: quic::Counters,
    /// Smoothed round-trip times, sampled.
    pub(crate) rtt_seconds: Histogram,
    /// Packets of QUIC sent.
    pub(crate) packets_sent: Counter,
    /// Packets of QUIC declared lost.
    pub(crate) packets_lost: Counter,
}

impl Metrics {
    /// Nothing counted yet. Stages of messages and drops are counted in the pipeline's families.
    pub fn new(pipeline: &pipeline::Metrics) -> Self {
        let stage = |stage| pipeline.messages.get_or_create_owned(&[("stage", stage)]);
        let [turns, pages, quic_refused] = std::array::from_fn(|_| Counters::default());
        let turn = |to| turns.get_or_create_owned(&[("to", to)]);
        let page = |result| pages.get_or_create_owned(&[("result", result)]);
        let drop = |reason| pipeline.drops.get_or_create_owned(&[("reason", reason)]);
        let quic = |reason| quic_refused.get_or_create_owned(&[("reason", reason)]);
        Self {
            pipeline: pipeline.clone(),
            sessions: Family::default(),
            opened: Counters::default(),
            ended: Counters::default(),
            not_begun: Counters::default(),
            received: pipeline.received.clone(),
            accepted: pipeline.accepted.clone(),
            delivered: stage("delivered"),
            confirmed: stage("confirmed"),
            rejected: pipeline.rejected.clone(),
            receipt_seconds: Histogram::new(SECONDS_BOUNDS),
            delivery_seconds: Histogram::new(SECONDS_BOUNDS),
            subscriptions: Gauge::default(),
            fanout_full: drop("fanout_full"),
            catching_up: Gauge::default(),
            turned_live: turn("live"),
            turned_to_catch_up: turn("catch_up"),
            turns,
            page_read: page("read"),
            page_failed: page("failed"),
            pages,
            mailbox: Arc::new(mailbox::Drops {
                pushes: drop("mailbox_full"),
                signals: drop("signal_overtaken"),
                passing: drop("volatile_full"),
                posts: drop("channel_full"),
                receipts: drop("receipt"),
            }),
            passing_behind: drop("volatile_behind"),
            signal_full: drop("signal_full"),
            signal_behind: drop("signal_behind"),
            presence_unreachable: Counter::default(),
            connections: Gauge::default(),
            http_refused: Counters::default(),
            quic: quic::Counters {
                full: quic(Full::Process.label()),
                address_full: quic(Full::Address.label()),
                half_open: quic("half_open"),
                stopping: quic("stopping"),
                retried: quic("retry"),
                handshake_failed: quic("handshake"),
                no_session: quic("no_session"),
                rejected: quic("rejected"),
            },
            quic_refused,
            rtt_seconds: Histogram::new(SECONDS_BOUNDS),
            packets_sent: Counter::default(),
            packets_lost: Counter::default(),
        }
    }

    /// What the pipeline counts, and the gateway with it.
    pub(crate) fn pipeline(&self) -> &pipeline::Metrics {
        &self.pipeline
    }

    /// Live connections of clients, sessions or not.
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// What the QUIC listeners count.
    pub fn quic(&self) -> &quic::Counters {
        &self.quic
    }

    /// Makes them part of what is shown.
    pub fn register(&self, to: &mut Registry) {
        to.register("sessions", "Live sessions", self.sessions.clone());
        to.register("sessions_opened", "Sessions that began", self.opened.clone());
        to.register("sessions_ended", "Sessions that ended, by close code", self.ended.clone());
        to.register(
            "sessions_not_begun",
            "Connections that ended before Welcome, by close code",
            self.not_begun.clone(),
        );
        to.register("receipt_seconds", "From a send to its ACCEPTED", self.receipt_seconds.clone());
        to.register(
            "delivery_seconds",
            "From send_time to a recipient's transport, live pushes",
            self.delivery_seconds.clone(),
        );
        to.register("subscriptions", "Subscriptions of sessions to channels", self.subscriptions.clone());
        to.register("feeds_catching_up", "Feeds that read the store", self.catching_up.clone());
        to.register("feed_turns", "Feeds that turned live or to the store", self.turns.clone());
        to.register("pages", "Pages read for feeds", self.pages.clone());
        to.register(
            "presence_unreachable",
            "Times that presence did not answer",
            self.presence_unreachable.clone(),
        );
        to.register("connections", "Live connections of clients", self.connections.clone());
        to.register("http_refused", "HTTP requests and connections refused", self.http_refused.clone());
        to.register("quic_refused", "QUIC connections that became no session", self.quic_refused.clone());
        to.register(
            "quic_rtt_seconds",
            "Round-trip times of QUIC sessions, sampled",
            self.rtt_seconds.clone(),
        );
        to.register("quic_packets_sent", "Packets sent to QUIC sessions", self.packets_sent.clone());
        to.register("quic_packets_lost", "Packets of those declared lost", self.packets_lost.clone());
    }

    /// A session began; the gauge that counts it while it lives.
    pub(crate) fn session_opened(&self, kind: Kind) -> Gauge {
        let label = [("transport", kind.as_str())];
        self.opened.get_or_create(&label).inc();
        self.sessions.get_or_create_owned(&label)
    }

    /// A session ended.
    pub(crate) fn session_ended(&self, code: &'static str) {
        self.ended.get_or_create(&[("code", code)]).inc();
    }

    /// A connection ended without having become a session.
    pub(crate) fn session_not_begun(&self, code: &'static str) {
        self.not_begun.get_or_create(&[("code", code)]).inc();
    }

    /// A request or connection of HTTP was refused.
    pub(crate) fn http_refused(&self, reason: &'static str) {
        self.http_refused.get_or_create(&[("reason", reason)]).inc();
    }
}
