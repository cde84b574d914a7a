//! Channels over processes: stored messages by the pipeline, volatile ones from gateway to gateway.

use tidegate_client::v1::Msg;
use tidegate_client::{Event, StartAt};
use tokio::time::timeout;

use crate::{Cluster, Device, LIMIT, Process, stop};

impl Device {
    async fn publish(&self, channel: &str, text: &str) -> i64 {
        let msg = Msg { channel: channel.into(), content: text.to_owned().into(), ..Msg::default() };
        let mut sent = self.client.send(msg).await.unwrap();
        timeout(LIMIT, sent.stored()).await.expect("an answer").unwrap().conv_seq
    }

    /// Reads what has come; whether a volatile message with that text is among it.
    fn has_heard(&mut self, text: &str) -> bool {
        let mut heard = false;
        while let Some(event) = self.events.try_recv() {
            if let Event::Message(message) = event {
                assert_eq!((message.seq, &*message.msg.content), (0, text.as_bytes()));
                heard = true;
            }
        }
        heard
    }

    async fn subscribe(&self, channel: &str) {
        let subscribed = self.client.subscribe(channel, StartAt::Head);
        timeout(LIMIT, subscribed).await.expect("an answer").unwrap();
    }
}

/// Subscribers on two gateways hear both kinds; `own` gateways push volatile messages by themselves.
async fn hear(cluster: &Cluster, one: &Process, two: &Process) {
    let (stored, volatile) = (format!("{}/news", cluster.name), format!("now/{}", cluster.name));
    let alice = cluster.connect(one, "alice", "phone").await;
    let mut bob = cluster.connect(two, "bob", "phone").await;
    let mut carol = cluster.connect(one, "carol", "phone").await;
    for device in [&bob, &carol] {
        device.subscribe(&stored).await;
        device.subscribe(&volatile).await;
    }
    // A pusher that asked for a channel's gateways before they were known asks again within a second. Both read all the
    // time: of what is stored nowhere, who does not read loses some.
    let mut heard = [false; 2];
    for n in 0.. {
        assert!(n < 100_000, "never heard on the other gateway");
        assert_eq!(alice.publish(&volatile, "hello").await, 0);
        heard[0] |= bob.has_heard("hello");
        heard[1] |= carol.has_heard("hello");
        if heard == [true; 2] {
            break;
        }
    }
    assert_eq!(alice.publish(&volatile, "last").await, 0);
    while bob.text().await != "last" {}
    while carol.text().await != "last" {}
    assert_eq!(alice.publish(&stored, "kept").await, 1);
    assert_eq!((bob.text().await, carol.text().await), ("kept".to_owned(), "kept".to_owned()));
}

const RULES: &str = r#"channels=[{pattern="now/*", stored=false}]"#;

#[tokio::test]
#[ignore = "needs Redis and PostgreSQL: scripts/test services"]
async fn volatile_messages_cross_two_processes() {
    let mut cluster = Cluster::new(false).await;
    cluster.settings.push(RULES.to_owned());
    let (one, two) = (cluster.gateway("serve", "one").await, cluster.gateway("serve", "two").await);
    hear(&cluster, &one, &two).await;
    stop([one, two]).await;
}

#[tokio::test]
#[ignore = "needs Kafka, Redis and PostgreSQL: scripts/test services"]
async fn volatile_messages_pass_from_gateway_to_gateway_while_no_pipeline_runs() {
    let mut cluster = Cluster::new(true).await;
    cluster.settings.push(RULES.to_owned());
    let (one, two) = (cluster.gateway("gateway", "one").await, cluster.gateway("gateway", "two").await);
    let volatile = format!("now/{}", cluster.name);
    let alice = cluster.connect(&one, "alice", "desk").await;
    let mut bob = cluster.connect(&two, "bob", "desk").await;
    bob.subscribe(&volatile).await;
    alice.publish(&volatile, "nobody puts anything in order").await;
    assert_eq!(bob.text().await, "nobody puts anything in order");
    // By a link of the gateway's own, and to nobody who has no subscriber.
    one.shows("tidegate_link_messages_total{gateway=\"two\"} 1").await;
    one.shows("tidegate_messages_total{stage=\"passed\"} 1").await;

    let pipeline = cluster.pipeline("pipeline").await;
    pipeline.shows("tidegate_kafka_partitions_held 4").await;
    hear(&cluster, &one, &two).await;
    stop([one, two, pipeline]).await;
}
