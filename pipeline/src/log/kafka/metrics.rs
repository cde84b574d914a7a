//! What is counted of the log on Kafka. The names and what they mean stand in docs/OPERATIONS.md.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::Counters;

/// The metrics of the log on Kafka. Cheap to clone; clones count together. Without Kafka all stay 0.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Records that this process holds the partitions of and has not done.
    pub lag: Gauge,
    /// Partitions that this process holds.
    pub held: Gauge,
    /// Of those, partitions that wait: for the store, for the dead letters' topic, or for a newer program.
    pub waiting: Gauge,
    /// Records that became dead letters, by reason.
    pub dead: Counters,
    /// Records whose append failed; their senders are told UNAVAILABLE.
    pub produce_failures: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let dead = Counters::default();
        for reason in REASONS {
            dead.get_or_create_owned(&[("reason", reason)]);
        }
        let [lag, held, waiting] = std::array::from_fn(|_| Gauge::default());
        Self { lag, held, waiting, dead, produce_failures: Counter::default() }
    }
}

impl Metrics {
    /// Makes them part of what is shown.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kafka");
        registry.register("lag_records", "Records to be done in the partitions held here", self.lag.clone());
        registry.register("partitions_held", "Partitions held by this process", self.held.clone());
        registry.register("partitions_waiting", "Held partitions that wait", self.waiting.clone());
        registry.register("dead_letters", "Records that became dead letters", self.dead.clone());
        registry.register(
            "produce_failures",
            "Records that Kafka did not take",
            self.produce_failures.clone(),
        );
    }
}

/// Why a record becomes a dead letter.
const REASONS: [&str; 3] = [UNDECODABLE, TOO_LARGE, REFUSED];
pub(super) const UNDECODABLE: &str = "undecodable";
pub(super) const TOO_LARGE: &str = "too_large";
pub(super) const REFUSED: &str = "refused";
