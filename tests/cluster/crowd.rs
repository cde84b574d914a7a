//! Thousands of subscribers of one channel on three gateways: each hears everything once and in order, each gateway
//! with subscribers is handed each message once, and one who reads slowly is nobody's concern but his.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tidegate_client::v1::Msg;
use tidegate_client::{Client, Event, Events, StartAt};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::scale::Scale;
use crate::shared::{spawn, within};
use crate::slow_reader::SlowReader;

at_both_scales!(one_channel);

async fn one_channel(scale: Scale) {
    let cluster = Cluster::start(3, 2).await;
    let heard = Arc::new(Heard::default());
    let (publisher, _) = within(Client::connect(cluster.light_client(1, "publisher"))).await.unwrap();
    let publisher = Publisher { client: publisher, heard: heard.clone(), published: AtomicU64::new(0) };

    // One subscriber: his gateway is handed what is published, the others nothing.
    let mut crowd = vec![subscribe(&cluster, 0, &heard).await];
    let before = handed(&cluster).await;
    publisher.publish(20, 1).await;
    assert_eq!(rises(before, handed(&cluster).await), [20, 0, 0]);

    crowd.extend(gather(&cluster, scale.crowd, &heard).await);
    let slow = SlowReader::subscribe(cluster.gateways[0].ws(), cluster.token("slow"), CHANNEL).await;
    // Pushers go by what they know for a second: until then the others find out by looking at the head.
    within(async {
        loop {
            let before = handed(&cluster).await;
            publisher.publish(1, crowd.len()).await;
            if rises(before, handed(&cluster).await) == [1, 1, 1] {
                return;
            }
        }
    })
    .await;

    let before = handed(&cluster).await;
    publisher.publish(COUNT, crowd.len()).await;
    let last = publisher.published.load(Ordering::Relaxed).cast_signed();
    assert!(slow.position() < last, "the slow one has everything already: he was not slow");
    let behind = catching_up(&cluster).await;
    assert!(behind[0] > 0, "what waits for the slow one would all fit: {behind:?}");
    assert_eq!(rises(before, handed(&cluster).await), [COUNT; 3]);

    let left = last - slow.position();
    slow.hurry();
    within(async {
        while slow.position() < last {
            sleep(LOOK_EVERY).await;
        }
    })
    .await;
    publisher.publish(5, crowd.len()).await;
    let defects = heard.defects.lock();
    assert!(defects.is_empty(), "{} defects: {:?}", defects.len(), &defects[..defects.len().min(10)]);
    println!(
        "{} subscribers on 3 gateways: {} deliveries, none lost, doubled or late in its order, one link message for \
         each gateway and message; one at 1 KiB/s was {left} behind and got them",
        crowd.len() + 1,
        heard.count.load(Ordering::Relaxed),
    );
}

/// What all subscribers together heard.
#[derive(Default)]
struct Heard {
    count: AtomicU64,
    defects: Mutex<Vec<String>>,
}

struct Publisher {
    client: Client,
    heard: Arc<Heard>,
    published: AtomicU64,
}

impl Publisher {
    /// Publishes, never further ahead of the crowd than a mailbox holds, and waits until everybody has everything.
    async fn publish(&self, count: u64, crowd: usize) {
        let (begin, crowd) = (self.heard.count.load(Ordering::Relaxed), crowd as u64);
        for number in 0..count {
            self.reach(begin + number.saturating_sub(AHEAD) * crowd).await;
            let conv_seq = self.published.fetch_add(1, Ordering::Relaxed) + 1;
            let content = vec![b'x'; CONTENT_BYTES].into();
            let msg = Msg { channel: CHANNEL.into(), content, ..Msg::default() };
            let mut handle = within(self.client.send(msg)).await.unwrap();
            let stored = within(handle.stored()).await.unwrap();
            assert_eq!(stored.conv_seq, conv_seq.cast_signed());
        }
        self.reach(begin + count * crowd).await;
    }

    /// Waits until so much is heard. Only standing still is an error.
    async fn reach(&self, count: u64) {
        let heard = || self.heard.count.load(Ordering::Relaxed);
        while heard() < count {
            let before = heard();
            within(async {
                while heard() == before {
                    sleep(LOOK_EVERY).await;
                }
            })
            .await;
        }
    }
}

/// A crowd, in turn on all gateways.
async fn gather(cluster: &Cluster, count: usize, heard: &Arc<Heard>) -> Vec<Client> {
    let coming = stream::iter(1..count).map(|number| subscribe(cluster, number, heard));
    coming.buffer_unordered(AT_A_TIME).collect().await
}

async fn subscribe(cluster: &Cluster, number: usize, heard: &Arc<Heard>) -> Client {
    let config = cluster.light_client(number % 3, &format!("crowd-{number}"));
    let (client, events) = within(async {
        loop {
            match Box::pin(Client::connect(config.clone())).await {
                Ok(connected) => return connected,
                // A busy machine.
                Err(error) if !error.is_final() => sleep(LOOK_EVERY).await,
                Err(error) => panic!("no session: {error}"),
            }
        }
    })
    .await;
    let subscribed = within(client.subscribe(CHANNEL, StartAt::Head)).await.expect("it may");
    drop(spawn(hear(events, subscribed.head, heard.clone())));
    client
}

async fn hear(mut events: Events, mut position: i64, heard: Arc<Heard>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Message(message) if message.seq == position + 1 => {
                position = message.seq;
                heard.count.fetch_add(1, Ordering::Relaxed);
            }
            Event::Message(message) => {
                heard.defects.lock().push(format!("{} after {position}", message.seq));
            }
            Event::Connected(_) => {}
            other => heard.defects.lock().push(format!("{other:?}")),
        }
    }
}

/// Messages handed to each gateway's links so far.
async fn handed(cluster: &Cluster) -> [u64; 3] {
    let mut handed = [0; 3];
    for pipeline in &cluster.pipelines {
        for (name, value) in pipeline.metrics().await {
            for (gateway, handed) in cluster.gateways.iter().zip(&mut handed) {
                if name == format!("link_messages_total{{gateway=\"{}\"}}", gateway.name) {
                    *handed += value as u64;
                }
            }
        }
    }
    handed
}

fn rises(before: [u64; 3], after: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|gateway| after[gateway] - before[gateway])
}

/// Subscriptions and inboxes of each gateway that read the store now.
async fn catching_up(cluster: &Cluster) -> Vec<u64> {
    let mut feeds = Vec::new();
    for gateway in &cluster.gateways {
        let metrics = gateway.metrics().await;
        feeds.push(metrics.iter().find(|(name, _)| name == "feeds_catching_up").unwrap().1 as u64);
    }
    feeds
}

const CHANNEL: &str = "crowd";
/// Together more than an outbox, a mailbox and all that small sockets hold.
const COUNT: u64 = 150;
const CONTENT_BYTES: usize = 4 << 10;
/// Half of what a mailbox takes.
const AHEAD: u64 = 16;
/// Handshakes under way: enough for all gateways.
const AT_A_TIME: usize = 24;
const LOOK_EVERY: Duration = Duration::from_millis(20);
