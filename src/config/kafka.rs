//! `[kafka]`: the log on Kafka.

use anyhow::anyhow;
use tidegate_pipeline::log::kafka::Settings;

use super::list::List;
use super::secret::Secret;
use super::section::{Invalid, in_range, section};

section! {
    /// Without brokers the log is a queue within the process.
    Kafka {
        /// `host:port` of some of the brokers; the others are heard of from them.
        brokers: List<String> = List::default(),
        /// Where accepted messages go. All gateways and pipelines of an installation have the same.
        topic: String = "tidegate.messages".to_owned(),
        /// Where those go that cannot be decoded or stored.
        dead_topic: String = "tidegate.dead".to_owned(),
        /// The consumer group that pipelines share the partitions in.
        group: String = "tidegate.sequencer".to_owned(),
        /// Of the topic, when it is made; the order of messages hangs on it, so it stays what it was.
        partitions: u32 = 16,
        /// Whether missing topics are made.
        create_topics: bool = true,
        /// `key=value` as librdkafka takes them, for SASL and TLS.
        properties: List<Secret> = List::default(),
    }
}

impl Kafka {
    /// Whether the log is on Kafka.
    pub(crate) fn is_used(&self) -> bool {
        !self.brokers.is_empty()
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        for broker in self.brokers.iter() {
            let (host, port) = broker.rsplit_once(':').unwrap_or_default();
            if host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0) || broker.contains(',') {
                return Err(Invalid::new(BROKERS, anyhow!("{broker:?} is no host:port")));
            }
        }
        for (key, name) in [("kafka.topic", &self.topic), ("kafka.dead_topic", &self.dead_topic)] {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_good) {
                let text = "a topic has 1 to 249 letters, digits, dots, hyphens and underscores";
                return Err(Invalid::new(key, anyhow!("{name:?}: {text}")));
            }
        }
        if self.topic == self.dead_topic {
            return Err(Invalid::new("kafka.dead_topic", anyhow!("it must be another one than kafka.topic")));
        }
        if self.group.is_empty() {
            return Err(Invalid::new("kafka.group", anyhow!("give the group a name")));
        }
        in_range("kafka.partitions", self.partitions.into(), 1..=PARTITIONS_MAX)?;
        // What is left to be wrong are the properties.
        let settings = Settings { brokers: vec!["localhost:9092".to_owned()], ..self.settings() };
        settings.validate().map_err(|error| {
            let text = error.to_string();
            Invalid::new(PROPERTIES, anyhow!("{}", text.trim_start_matches("kafka.properties: ")))
        })
    }

    /// As the log takes them.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            brokers: self.brokers.to_vec(),
            topic: self.topic.clone(),
            dead_topic: self.dead_topic.clone(),
            group: self.group.clone(),
            partitions: self.partitions,
            create_topics: self.create_topics,
            properties: self.properties.iter().map(|property| property.reveal().to_owned()).collect(),
        }
    }
}

const PROPERTIES: &str = "kafka.properties";
pub(super) const BROKERS: &str = "kafka.brokers";
/// Kafka's own limit.
const MAX_NAME_BYTES: usize = 249;
/// A consumer has a queue for each.
const PARTITIONS_MAX: u64 = 10_000;
