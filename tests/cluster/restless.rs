//! Subscribers that stay nowhere: by another gateway and another transport each time, from where they were.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_client::{Client, Config, Event, StartAt, Transport};
use tokio::time::sleep;

use crate::channels::Channels;
use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::shared::spawn;

/// One for each of some channels; they are restless for as long as the test runs.
pub(crate) fn start(cluster: &Cluster, ledger: &Arc<Mutex<Ledger>>) {
    for channel in 0..RESTLESS {
        let subscriber = ledger.lock().channels.subscribe(channel);
        let places = (0..TRANSPORTS.len() * cluster.gateways.len()).map(|number| {
            let transport = TRANSPORTS[number % TRANSPORTS.len()];
            // The number of transports may be that of gateways.
            let home = number + number / TRANSPORTS.len();
            cluster.client(home, transport, &format!("restless-{channel}"), "phone")
        });
        drop(spawn(wander(channel, subscriber, places.collect(), ledger.clone())));
    }
}

async fn wander(channel: u32, subscriber: usize, places: Vec<Config>, ledger: Arc<Mutex<Ledger>>) {
    for config in places.into_iter().cycle() {
        if stay(&config, channel, subscriber, &ledger).await.is_none() {
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// For some messages; what has come and is not taken by then is taken at the next place. `None`: it did not work.
async fn stay(config: &Config, channel: u32, subscriber: usize, ledger: &Mutex<Ledger>) -> Option<()> {
    let (client, mut events) = Box::pin(Client::connect(config.clone())).await.ok()?;
    let after = ledger.lock().channels.position(subscriber);
    client.subscribe(&Channels::name(channel), StartAt::After(after)).await.ok()?;
    for _ in 0..rand::random_range(1..=LONGEST_STAY) {
        let message = loop {
            match events.recv().await? {
                Event::Message(message) => break message,
                Event::Connected(_) | Event::Disconnected(_) | Event::GoAway { .. } | Event::Frame(_) => {}
                other => ledger.lock().complain(format!("subscriber {subscriber}: {other:?}")),
            }
        };
        ledger.lock().channels.arrive(subscriber, message.seq, &message.msg, Instant::now());
    }
    client.close().await;
    Some(())
}

const RESTLESS: u32 = 3;
/// In messages.
const LONGEST_STAY: u32 = 12;
const AGAIN_AFTER: Duration = Duration::from_millis(100);
const TRANSPORTS: [Transport; 3] = [Transport::Quic, Transport::WebTransport, Transport::WebSocket];
