//! The topics: made at the start where that is allowed, and checked against what the log relies on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::asker::Asker;
use super::settings::{Settings, SettingsError};

/// Why Kafka cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The settings are wrong.
    #[error("the settings of Kafka are wrong")]
    Settings(#[from] SettingsError),
    /// No broker answers.
    #[error("no broker of kafka.brokers ({brokers}) answers within {} s{complaint}", LIMIT.as_secs())]
    Unreachable {
        /// Whom was asked.
        brokers: String,
        /// What was wrong with the last connection.
        complaint: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// A topic is missing.
    #[error("there is no topic {0}: make it, or allow it by kafka.create_topics = true")]
    NoTopic(String),
    /// A topic cannot be made.
    #[error("the topic {topic} cannot be made")]
    NotMade {
        /// Its name.
        topic: String,
        /// What Kafka says.
        #[source]
        source: KafkaError,
    },
    /// The work was broken off.
    #[error("the check was broken off")]
    BrokenOff,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Brokers that there are.
    pub brokers: usize,
    /// Partitions of the messages' topic; 0 if it is not there yet and may be made.
    pub partitions: usize,
    /// How long the messages' topic keeps records, in ms; below 0: for ever; `None`: it does not say.
    pub retention_ms: Option<i64>,
    /// What works and should be otherwise, a sentence each.
    pub warnings: Vec<String>,
}

/// Makes the topics that are missing, if that is allowed, and checks as [`check`] does. For the start; each warning is
/// logged.
pub async fn prepare(settings: &Settings) -> Result<Report, CheckError> {
    settings.validate()?;
    let (admin, asker) = (admin(settings)?, Arc::new(Asker::new(settings)?));
    let metadata = Asked::ask(&asker, settings).await?;
    for (topic, new) in wanted(settings, metadata.brokers) {
        if metadata.partitions(topic).is_none() {
            if !settings.create_topics {
                return Err(CheckError::NoTopic(topic.to_owned()));
            }
            make(&admin, topic, &new).await?;
            known(&asker, settings, topic).await?;
        }
    }
    let report = check(settings).await?;
    for warning in &report.warnings {
        warn!(warning, "Kafka should be set otherwise");
    }
    Ok(report)
}

/// Looks whether Kafka is there and is as the log needs it; changes nothing.
pub async fn check(settings: &Settings) -> Result<Report, CheckError> {
    settings.validate()?;
    let admin = admin(settings)?;
    let asked = Asked::ask(&Arc::new(Asker::new(settings)?), settings).await?;
    let mut warnings = Vec::new();
    for topic in [&settings.topic, &settings.dead_topic] {
        if asked.partitions(topic).is_none() {
            if !settings.create_topics {
                return Err(CheckError::NoTopic(topic.clone()));
            }
            warnings.push(format!("the topic {topic} is not there; the next start makes it"));
        }
    }
    let partitions = asked.partitions(&settings.topic);
    let mut retention_ms = None;
    if let Some(partitions) = partitions {
        match values(&admin, &settings.topic).await {
            Ok(values) => {
                retention_ms = number(&values, RETENTION);
                warnings.extend(judge(settings, &asked, partitions, &values));
            }
            Err(error) => {
                warnings.push(format!("the settings of {} cannot be read: {error}", settings.topic))
            }
        }
    }
    Ok(Report { brokers: asked.brokers, partitions: partitions.unwrap_or(0), retention_ms, warnings })
}

/// What a topic's settings should be otherwise; pure.
fn judge(
    settings: &Settings,
    asked: &Asked,
    partitions: usize,
    values: &HashMap<String, String>,
) -> Vec<String> {
    let topic = &settings.topic;
    let number = |name: &str| number(values, name);
    let mut warnings = Vec::new();
    if partitions != settings.partitions as usize {
        warnings.push(format!(
            "{topic} has {partitions} partitions, kafka.partitions says {}: it stays so, since the order of \
             conversations hangs on it",
            settings.partitions
        ));
    }
    if number(RETENTION).is_some_and(|ms| (0..WEEK_MS).contains(&ms)) {
        warnings.push(format!("{topic} keeps records for less than 7 days (retention.ms): messages that pipelines do not take in that time are lost"));
    }
    if number("retention.bytes").is_some_and(|bytes| bytes >= 0) {
        warnings.push(format!("{topic} has a limit of size (retention.bytes): messages beyond it are lost even if no pipeline has taken them"));
    }
    if values.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        warnings.push(format!(
            "{topic} is compacted (cleanup.policy): all but the last message of a conversation are lost"
        ));
    }
    if values.get("unclean.leader.election.enable").is_some_and(|value| value == "true") {
        warnings.push(format!("{topic} may lose accepted messages (unclean.leader.election.enable)"));
    }
    if asked.brokers >= REPLICAS {
        let in_sync = number("min.insync.replicas").unwrap_or(1);
        if asked.replicas < REPLICAS || in_sync < 2 {
            warnings.push(format!("{topic} has {} replicas and min.insync.replicas={in_sync}: with 3 and 2 a message outlives a broker", asked.replicas));
        }
    } else {
        warnings.push("there are fewer than 3 brokers: no message outlives the loss of one".to_owned());
    }
    warnings
}

fn number(values: &HashMap<String, String>, name: &str) -> Option<i64> {
    values.get(name).and_then(|value| value.parse().ok())
}

/// What the brokers say of themselves and our topics.
#[derive(Debug, Default)]
struct Asked {
    brokers: usize,
    topics: HashMap<String, usize>,
    /// Of the messages' topic, the least of a partition.
    replicas: usize,
}

impl Asked {
    async fn ask(asker: &Arc<Asker>, settings: &Settings) -> Result<Self, CheckError> {
        let (asking, settings) = (asker.clone(), settings.clone());
        let brokers = settings.brokers.join(", ");
        // The library waits for the answer in this thread.
        let asked = spawn_blocking(move || {
            let mut asked = Self::default();
            for topic in [&settings.dead_topic, &settings.topic] {
                let metadata = asking.metadata(topic, LIMIT)?;
                asked.brokers = metadata.brokers().len();
                let there = metadata.topics().iter().find(|one| one.name() == topic);
                if let Some(there) = there.filter(|one| !one.partitions().is_empty()) {
                    let replicas = there.partitions().iter().map(|one| one.replicas().len());
                    asked.replicas = replicas.min().unwrap_or(0);
                    asked.topics.insert(topic.clone(), there.partitions().len());
                }
            }
            Ok(asked)
        });
        let asked = asked.await.map_err(|_| CheckError::BrokenOff)?;
        asked.map_err(|source| CheckError::Unreachable { brokers, complaint: asker.complaint(), source })
    }

    fn partitions(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic).copied()
    }
}

type Admin = AdminClient<DefaultClientContext>;

fn admin(settings: &Settings) -> Result<Admin, SettingsError> {
    settings.client()?.create().map_err(|error| SettingsError::Unknown(error.to_string()))
}

/// A topic as it is made here.
struct New {
    partitions: i32,
    replicas: i32,
    values: &'static [(&'static str, &'static str)],
}

fn wanted(settings: &Settings, brokers: usize) -> [(&str, New); 2] {
    let replicas = if brokers >= REPLICAS { REPLICAS as i32 } else { 1 };
    let partitions = i32::try_from(settings.partitions).unwrap_or(i32::MAX);
    let messages = New { partitions, replicas, values: MESSAGES };
    let dead = New { partitions: 1, replicas, values: DEAD };
    [(&settings.topic, messages), (&settings.dead_topic, dead)]
}

async fn make(admin: &Admin, topic: &str, new: &New) -> Result<(), CheckError> {
    let mut wanted = NewTopic::new(topic, new.partitions, TopicReplication::Fixed(new.replicas));
    wanted.config.extend(new.values);
    if new.replicas as usize == REPLICAS {
        wanted = wanted.set("min.insync.replicas", "2");
    }
    let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
    let made = admin.create_topics([&wanted], &options).await.map(|results| results.into_iter().next());
    let source = match made {
        // Another process was faster.
        Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => return Ok(()),
        Ok(Some(Err((_, code)))) => KafkaError::AdminOp(code),
        Err(error) => error,
        Ok(_) => {
            info!(topic, partitions = new.partitions, replicas = new.replicas, "a topic is made");
            return Ok(());
        }
    };
    Err(CheckError::NotMade { topic: topic.to_owned(), source })
}

/// Waits until the brokers name a topic that was made, which takes them a moment.
async fn known(asker: &Arc<Asker>, settings: &Settings, topic: &str) -> Result<(), CheckError> {
    let asking = async {
        while Asked::ask(asker, settings).await?.partitions(topic).is_none() {
            sleep(ASK_AGAIN).await;
        }
        Ok(())
    };
    timeout(LIMIT, asking).await.map_err(|_| CheckError::NoTopic(topic.to_owned()))?
}

/// The settings of a topic, by name.
async fn values(admin: &Admin, topic: &str) -> Result<HashMap<String, String>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(LIMIT));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await?;
    let described = described.into_iter().next().ok_or(KafkaError::Canceled)?.map_err(KafkaError::AdminOp)?;
    let entries = described.entries.into_iter();
    Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// What the messages' topic is made with: seven days, without a limit of size.
const MESSAGES: &[(&str, &str)] =
    &[(RETENTION, "604800000"), ("retention.bytes", "-1"), ("cleanup.policy", "delete")];
/// And that of the dead letters: for as long as trying again is harmless (ARCHITECTURE.md invariant 4), and for letters
/// larger than any record.
const DEAD: &[(&str, &str)] = &[
    ("retention.ms", "2592000000"),
    ("retention.bytes", "-1"),
    ("cleanup.policy", "delete"),
    ("max.message.bytes", "8388608"),
];
const RETENTION: &str = "retention.ms";
const REPLICAS: usize = 3;
const WEEK_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// How long a broker has for an answer.
const LIMIT: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(brokers: usize, replicas: usize, partitions: usize, values: &[(&str, &str)]) -> String {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let asked = Asked { brokers, replicas, ..Asked::default() };
        judge(&Settings::default(), &asked, partitions, &values).join("\n")
    }

    #[test]
    fn a_topic_as_it_is_made_is_good() {
        let mut values = MESSAGES.to_vec();
        values.extend([("min.insync.replicas", "2"), ("unclean.leader.election.enable", "false")]);
        assert_eq!(judged(3, 3, 16, &values), "");
    }

    #[test]
    fn what_may_lose_messages_is_warned_of() {
        assert!(judged(3, 3, 8, &[]).contains("8 partitions"));
        assert!(judged(3, 3, 16, &[("retention.ms", "604799999")]).contains("7 days"));
        assert!(!judged(3, 3, 16, &[("retention.ms", "-1")]).contains("7 days"));
        assert!(judged(3, 3, 16, &[("retention.bytes", "1")]).contains("retention.bytes"));
        assert!(judged(3, 3, 16, &[("cleanup.policy", "compact,delete")]).contains("compacted"));
        assert!(judged(3, 3, 16, &[("unclean.leader.election.enable", "true")]).contains("unclean"));
        assert!(judged(3, 1, 16, &[]).contains("1 replicas and min.insync.replicas=1"));
        assert!(judged(1, 1, 16, &[]).contains("fewer than 3 brokers"));
    }
}
