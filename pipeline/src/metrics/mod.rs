//! What is counted of messages on their way behind the edge. The names and what they mean stand in docs/OPERATIONS.md.
//!
//! Handles are made once and kept by whoever counts: a message costs some additions and no look-up.

mod histogram;
mod rejected;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub use self::histogram::Histogram;
pub use self::rejected::Rejected;
use crate::log::{Log, kafka};
use crate::pusher::{self, link};
use crate::rpc;

/// Counters by one label.
pub type Counters = Family<Label, Counter>;
/// A label with its value, both of a small fixed set.
pub type Label = [(&'static str, &'static str); 1];

/// The metrics of log, sequencer, store and pusher. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Messages by the stage they have reached, those of the edge too.
    pub messages: Counters,
    /// What was dropped, by reason, by the edge too.
    pub drops: Counters,
    /// Of `messages`: came from clients and backends.
    pub received: Counter,
    /// Of `messages`: answered ACCEPTED.
    pub accepted: Counter,
    /// Messages refused.
    pub rejected: Rejected,
    /// Of `messages`: on disk for the first time.
    pub stored: Counter,
    /// Of `messages`: sent again, and found stored.
    pub repeated: Counter,
    /// Of `messages`: of volatile channels, handed over.
    pub passed: Counter,
    /// Of the link to the gateway of this process.
    pub link: link::Counters,
    /// Of the pusher and all its links.
    pub pusher: pusher::metrics::Metrics,
    /// Records of an append.
    pub batch_records: Histogram,
    /// How long an append took, its commit included.
    pub append_seconds: Histogram,
    /// Appends that were tried again, or given up.
    pub append_failures: Counters,
    /// Of `append_failures`: tried again.
    pub append_retried: Counter,
    /// Of `append_failures`: given up.
    pub append_given_up: Counter,
    /// Of the gRPC server.
    pub rpc: rpc::Metrics,
    /// Of the log on Kafka.
    pub kafka: kafka::Metrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let [messages, drops, append_failures] = std::array::from_fn(|_| Counters::default());
        let stage = |stage| messages.get_or_create_owned(&[("stage", stage)]);
        let failure = |then| append_failures.get_or_create_owned(&[("then", then)]);
        let link = link::Counters {
            pushed: stage("pushed"),
            full: drops.get_or_create_owned(&[("reason", "link_full")]),
        };
        Self {
            received: stage("received"),
            accepted: stage("accepted"),
            rejected: Rejected::default(),
            stored: stage("stored"),
            repeated: stage("repeated"),
            passed: stage("passed"),
            pusher: pusher::metrics::Metrics::new(link.clone()),
            link,
            batch_records: Histogram::new(BATCH_BOUNDS),
            append_seconds: Histogram::new(SECONDS_BOUNDS),
            append_retried: failure("retried"),
            append_given_up: failure("given_up"),
            rpc: rpc::Metrics::default(),
            kafka: kafka::Metrics::default(),
            messages,
            drops,
            append_failures,
        }
    }
}

impl Metrics {
    /// Makes them part of what is shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("messages", "Messages by the stage they reached", self.messages.clone());
        self.rejected.register(registry);
        self.rpc.register(registry);
        registry.register("drops", "What was dropped, by reason", self.drops.clone());
        registry.register("store_batch_records", "Records of an append", self.batch_records.clone());
        registry.register(
            "store_append_seconds",
            "Duration of an append with its commit",
            self.append_seconds.clone(),
        );
        registry.register(
            "store_append_failures",
            "Appends that failed, by what followed",
            self.append_failures.clone(),
        );
        self.pusher.register(registry);
        self.kafka.register(registry);
    }
}

/// How much waits between the parts, read when somebody asks.
#[derive(Debug)]
pub struct Depths {
    /// The log; it does not end before this is dropped.
    pub log: Log,
    /// The link to the gateway.
    pub link: link::Depth,
}

impl Collector for Depths {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Records or deliveries that wait, by queue";
        let mut family = encoder.encode_descriptor("queue_depth", help, None, MetricType::Gauge)?;
        for (queue, depth) in [("log", self.log.depth()), ("link", self.link.now())] {
            let depth = ConstGauge::new(i64::try_from(depth).unwrap_or(i64::MAX));
            depth.encode(family.encode_family(&[("queue", queue)])?)?;
        }
        Ok(())
    }
}

/// Bounds of durations, from a commit on a fast disk to the wait after which a sender is answered anyway.
pub const SECONDS_BOUNDS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Up to the log's largest batch.
const BATCH_BOUNDS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0];

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_is_counted_and_what_waits_is_shown() {
        let metrics = Metrics::default();
        let mut registry = Registry::with_prefix("tidegate");
        metrics.register(&mut registry);
        let (log, _reader) = crate::log::embedded::open();
        let (_link, receiver) = link::local(metrics.link.clone());
        let depths = Depths { log: Log::Embedded(log), link: receiver.depth() };
        registry.register_collector(Box::new(depths));
        metrics.stored.inc_by(3);
        metrics.link.pushed.inc();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "tidegate_messages_total{stage=\"stored\"} 3",
            "tidegate_messages_total{stage=\"pushed\"} 1",
            "tidegate_queue_depth{queue=\"log\"} 0",
            "tidegate_queue_depth{queue=\"link\"} 0",
        ] {
            assert!(text.lines().any(|given| given == line), "{line} is not in {text}");
        }
    }
}
