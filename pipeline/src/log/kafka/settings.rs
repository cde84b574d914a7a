//! Where Kafka is and how it is used: what the configuration says, checked, and what the program sets itself.

use std::fmt;

use rdkafka::ClientConfig;

/// Where Kafka is, and what of it is ours.
#[derive(Clone)]
pub struct Settings {
    /// `host:port` of some of the brokers.
    pub brokers: Vec<String>,
    /// The topic of the messages.
    pub topic: String,
    /// The topic of what cannot be decoded or stored.
    pub dead_topic: String,
    /// The consumer group of the sequencers.
    pub group: String,
    /// Partitions of the messages' topic, when it is made here.
    pub partitions: u32,
    /// Whether missing topics are made.
    pub create_topics: bool,
    /// `key=value` for librdkafka: TLS, SASL, tuning. Secret.
    pub properties: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topic: "tidegate.messages".to_owned(),
            dead_topic: "tidegate.dead".to_owned(),
            group: "tidegate.sequencer".to_owned(),
            partitions: 16,
            create_topics: true,
            properties: Vec::new(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The properties may hold passwords.
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No broker is named.
    #[error("kafka.brokers is empty: name at least one host:port")]
    NoBrokers,
    /// A name is empty, or both topics have the same.
    #[error("kafka.{0} must be set, and kafka.topic and kafka.dead_topic must differ")]
    Name(&'static str),
    /// No partition.
    #[error("kafka.partitions must be 1 to 10000")]
    Partitions,
    /// Not `key=value`. The text itself may be a secret.
    #[error("kafka.properties: entry {0} is not key=value")]
    NotAPair(usize),
    /// The program sets that one itself.
    #[error("kafka.properties: {0} is set by tidegate itself, which relies on it: remove it")]
    Ours(String),
    /// The program was built without what the property needs.
    #[error("kafka.properties: {0} needs a tidegate that is built with the feature kafka-tls")]
    NoTls(String),
    /// librdkafka does not take it.
    #[error("kafka.properties: librdkafka does not take it: {0}")]
    Unknown(String),
}

impl Settings {
    /// Checks everything that can be checked without a broker.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if self.brokers.iter().all(|broker| broker.trim().is_empty()) {
            return Err(SettingsError::NoBrokers);
        }
        let names = [("topic", &self.topic), ("dead_topic", &self.dead_topic), ("group", &self.group)];
        if let Some((name, _)) = names.iter().find(|(_, value)| value.trim().is_empty()) {
            return Err(SettingsError::Name(name));
        }
        if self.topic == self.dead_topic {
            return Err(SettingsError::Name("dead_topic"));
        }
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) {
            return Err(SettingsError::Partitions);
        }
        let config = self.client()?;
        let taken = config.create_native_config().map(|_| ());
        taken.map_err(|error| SettingsError::Unknown(error.to_string()))
    }

    /// What every client has in common, the given properties included.
    pub(super) fn client(&self) -> Result<ClientConfig, SettingsError> {
        let mut config = ClientConfig::new();
        for (key, value) in COMMON {
            config.set(*key, *value);
        }
        config.set("bootstrap.servers", self.brokers.join(","));
        for (number, property) in self.properties.iter().enumerate() {
            let (key, value) = pair(property).ok_or(SettingsError::NotAPair(number + 1))?;
            if OURS.contains(&key) {
                return Err(SettingsError::Ours(key.to_owned()));
            }
            if !cfg!(feature = "kafka-tls") && needs_tls(key, value) {
                return Err(SettingsError::NoTls(key.to_owned()));
            }
            config.set(key, value);
        }
        Ok(config)
    }
}

fn pair(property: &str) -> Option<(&str, &str)> {
    let (key, value) = property.split_once('=')?;
    let key = key.trim();
    (!key.is_empty()).then_some((key, value.trim()))
}

fn needs_tls(key: &str, value: &str) -> bool {
    key.starts_with("ssl.")
        || key.starts_with("sasl.")
        || key.starts_with("enable.ssl")
        || (key == "security.protocol" && !value.eq_ignore_ascii_case("plaintext"))
}

/// A connection that is lost is made again within a second: what waits for it are people.
const COMMON: &[(&str, &str)] = &[
    ("client.id", "tidegate"),
    ("allow.auto.create.topics", "false"),
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("log.connection.close", "false"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "1000"),
    ("retry.backoff.ms", "50"),
    ("retry.backoff.max.ms", "1000"),
];
/// What invariants rest on (ARCHITECTURE.md "Invariants").
const OURS: &[&str] = &[
    "acks",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "request.required.acks",
    "session.timeout.ms",
    "statistics.interval.ms",
    "transactional.id",
];
const MAX_PARTITIONS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[&str]) -> Settings {
        Settings {
            brokers: vec!["127.0.0.1:9092".into()],
            properties: properties.iter().map(|property| (*property).to_owned()).collect(),
            ..Settings::default()
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(settings(&["fetch.max.bytes = 1000000"]).validate(), Ok(()));
        let wrong = |property: &str| settings(&[property]).validate().unwrap_err().to_string();
        assert!(wrong("secret").ends_with("entry 1 is not key=value"));
        assert!(wrong("acks=1").contains("acks is set by tidegate"));
        assert!(wrong("no.such.thing=1").contains("no.such.thing"));
        assert_eq!(Settings::default().validate(), Err(SettingsError::NoBrokers));
        let same = Settings { dead_topic: "tidegate.messages".into(), ..settings(&[]) };
        assert_eq!(same.validate(), Err(SettingsError::Name("dead_topic")));
        assert_eq!(Settings { partitions: 0, ..settings(&[]) }.validate(), Err(SettingsError::Partitions));
    }

    #[cfg(not(feature = "kafka-tls"))]
    #[test]
    fn tls_and_sasl_need_the_feature() {
        for property in ["security.protocol=SASL_SSL", "sasl.username=u", "ssl.ca.location=/x"] {
            let error = settings(&[property]).validate().unwrap_err().to_string();
            assert!(error.contains("kafka-tls") && error.contains(property.split('=').next().unwrap()));
        }
        assert_eq!(settings(&["security.protocol=plaintext"]).validate(), Ok(()));
    }

    #[test]
    fn settings_show_no_properties() {
        assert!(!format!("{:?}", settings(&["sasl.password=secret"])).contains("secret"));
    }
}
