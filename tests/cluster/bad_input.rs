//! What stands in Kafka and is no message of ours, or one that the store does not take: dead letters with reasons, and
//! everybody else's messages go on. A record of a newer version is not skipped: its partition waits and says so.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tidegate_client::v1::{Code, Msg};
use tidegate_client::{Client, Event, Events, SendError, Transport};
use tidegate_pipeline::log::kafka::{Settings, dead};
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::process::Process;
use crate::scale::Scale;
use crate::services;
use crate::shared::{text_to, within};

at_both_scales!(dead_letters, a_newer_record);

async fn dead_letters(_: Scale) {
    let cluster = Cluster::start(1, 1).await;
    cluster.database.refuse_messages_called(REFUSED).await;
    let (alice, _) = connect(&cluster, "alice").await;
    let (_bob, mut events) = connect(&cluster, "bob").await;
    let topic = Topic::of(&cluster);

    let mut texts = send(&alice, "before", 10).await;
    for value in [&b"no record"[..], b"", &[0x0d, 0x65, 0x64, 0x69, 0x74], &vec![b'x'; 200_000]] {
        topic.put(value).await;
    }
    texts.extend(send(&alice, "between", 10).await);
    // In the middle of what is in flight together.
    let mut handles = Vec::new();
    for number in 0..40 {
        let mut msg = text_to("bob", format!("together {number}"));
        if number == 20 {
            REFUSED.clone_into(&mut msg.local_id);
        }
        handles.push(within(alice.send(msg)).await.unwrap());
    }
    for (number, mut handle) in handles.into_iter().enumerate() {
        match within(handle.stored()).await {
            Ok(_) => texts.push(format!("together {number}")),
            Err(SendError::Rejected(refusal)) => {
                assert_eq!((number, refusal.code), (20, Code::Internal), "{refusal}");
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert_eq!(texts.len(), 59);
    assert_eq!(receive(&mut events, texts.len()).await, texts);

    let letters = dead::list(&topic.settings, None, 100).await.unwrap();
    let reasons: Vec<&str> = letters.iter().map(|letter| &*letter.reason).collect();
    assert_eq!(letters.len(), 5, "{reasons:#?}");
    for words in ["over the limit", "the mark of a record", "no version", "not here"] {
        assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:#?}");
    }
    let from = format!("{}.messages/", cluster.name);
    assert!(letters.iter().all(|letter| letter.from.starts_with(&from)), "{letters:#?}");
    let refused = letters.iter().find(|letter| letter.reason.contains("not here")).unwrap();
    assert_eq!(refused.record().unwrap().local_id.as_str(), REFUSED);
    let counted = total(&cluster.pipelines[0], "kafka_dead_letters_total{").await;
    assert!((counted - 5.0).abs() < f64::EPSILON, "{counted} counted");
}

async fn a_newer_record(_: Scale) {
    let cluster = Cluster::start(1, 1).await;
    let (alice, _) = connect(&cluster, "alice").await;
    let (_bob, mut events) = connect(&cluster, "bob").await;
    let topic = Topic::of(&cluster);
    let texts = send(&alice, "before", 3).await;
    assert_eq!(receive(&mut events, 3).await, texts);

    // The mark, then version 2, then what this version knows nothing of.
    topic.put(&[0x0d, 0x65, 0x64, 0x69, 0x74, 0x10, 0x02, 0x18, 0x01]).await;
    let mut stuck = within(alice.send(text_to("bob", "behind it"))).await.unwrap();
    within(stuck.accepted()).await.unwrap();
    let waits = async {
        while total(&cluster.pipelines[0], "kafka_partitions_waiting").await < 1.0 {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(WAITS, waits).await.expect("the metric says that the partition waits");
    let log = cluster.pipelines[0].log();
    assert!(log.contains("ERROR") && log.contains("upgrade"), "the log says what to do: {log}");

    // Other conversations, by their partitions, go on.
    let mut stored = 0;
    for number in 0..8 {
        let msg = Msg { content: "hello".into(), receiver_id: format!("carol-{number}"), ..Msg::default() };
        let mut handle = within(alice.send(msg)).await.unwrap();
        within(handle.accepted()).await.unwrap();
        stored += u32::from(timeout(STORED, handle.stored()).await.is_ok_and(|stored| stored.is_ok()));
    }
    assert!(stored >= 4, "{stored} of 8 conversations go on");
    assert!(timeout(Duration::ZERO, stuck.stored()).await.is_err(), "what is behind it waits");
    assert!(dead::list(&topic.settings, None, 10).await.unwrap().is_empty(), "it is no dead letter");
}

async fn connect(cluster: &Cluster, user: &str) -> (Client, Events) {
    let config = cluster.client(0, Transport::Quic, user, "desk").raw_frames(false);
    within(Client::connect(config)).await.expect("a session")
}

/// Sends texts to bob, one stored after the other.
async fn send(alice: &Client, what: &str, count: usize) -> Vec<String> {
    let texts: Vec<String> = (0..count).map(|number| format!("{what} {number}")).collect();
    for text in &texts {
        let mut handle = within(alice.send(text_to("bob", text.clone()))).await.unwrap();
        within(handle.stored()).await.unwrap();
    }
    texts
}

async fn receive(events: &mut Events, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        match within(events.recv()).await.expect("the client lives") {
            Event::Message(message) => {
                texts.push(String::from_utf8(message.msg.content.to_vec()).unwrap());
            }
            Event::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    texts
}

/// The sum of a process's metrics whose names begin so.
async fn total(process: &Process, name: &str) -> f64 {
    let metrics = process.metrics().await;
    metrics.iter().filter(|(metric, _)| metric.starts_with(name)).map(|(_, value)| value).sum()
}

/// The messages' topic, past the gateways.
struct Topic {
    settings: Settings,
    producer: FutureProducer,
}

impl Topic {
    fn of(cluster: &Cluster) -> Self {
        let settings = Settings {
            brokers: vec![services::kafka()],
            topic: format!("{}.messages", cluster.name),
            dead_topic: format!("{}.dead", cluster.name),
            ..Settings::default()
        };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", services::kafka()).set("partitioner", "murmur2");
        Self { settings, producer: config.create().unwrap() }
    }

    /// Puts a record where those of alice and bob are.
    async fn put(&self, value: &[u8]) {
        let record = FutureRecord::to(&self.settings.topic).key("d:alice:bob").payload(value);
        self.producer.send(record, WAITS).await.unwrap();
    }
}

const REFUSED: &str = "the-refused-one";
const LOOK_EVERY: Duration = Duration::from_millis(100);
const WAITS: Duration = Duration::from_secs(60);
/// Only for what may be behind the record that waits.
const STORED: Duration = Duration::from_secs(5);
