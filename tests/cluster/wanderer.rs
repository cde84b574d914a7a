//! A user who reconnects ten times a second between two gateways, while the closes of his old sessions arrive late.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tidegate_client::{Client, Event, Events, Start, Transport};
use tidegate_proto::id::UserId;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::Cluster;
use crate::scale::Scale;
use crate::shared::{spawn, text_to, within};

at_both_scales!(between_two_gateways);

async fn between_two_gateways(scale: Scale) {
    let cluster = Cluster::start(2, 1).await;
    let config = cluster.client(0, Transport::WebSocket, "friend", "desk");
    let (friend, friends_events) = within(Client::connect(config)).await.expect("a session");
    // It wants to hear nothing.
    drop(friends_events);

    let (sent, (last, mut events)) = tokio::join!(send(&friend, scale), wander(&cluster, scale));
    let begin = Instant::now();
    // Everything that was sent is there, each once and in order, and what is sent from now on finds the last session.
    let further = within(friend.send(text_to("wanderer", sent.to_string()))).await.unwrap();
    let texts = within(receive(&mut events, sent + 1)).await;
    assert!(texts.iter().copied().eq(0..=sent), "{texts:?}");
    let found = begin.elapsed();
    drop(further);

    let home = cluster.gateways[(reconnects(scale) - 1) as usize % 2].name.clone();
    let users = [UserId::new("wanderer").unwrap()];
    let right = async {
        loop {
            let routes = cluster.presence.lookup(&users).await.unwrap().remove(0);
            let gateways: HashSet<String> =
                routes.iter().map(|(_, route)| route.gateway.to_string()).collect();
            if routes.len() == 1 && gateways.contains(&home) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(3 * PRESENCE_LIMIT, right).await.expect("presence names the last gateway alone");
    // The late closes are all over, and the last session is still the one.
    within(last.ping()).await.unwrap();
    assert!(found < 3 * RECOVERY, "found after {found:?}");
    println!(
        "a user between two gateways: {} sessions, {} messages; found {:.1} s after the last, presence right {:.1} s",
        reconnects(scale),
        sent + 1,
        found.as_secs_f64(),
        begin.elapsed().as_secs_f64(),
    );
}

/// Numbers to the wanderer for as long as he wanders; how many.
async fn send(friend: &Client, scale: Scale) -> u64 {
    let mut ticks = interval(EVERY / 2);
    let count = 2 * u64::from(reconnects(scale));
    for number in 0..count {
        ticks.tick().await;
        within(friend.send(text_to("wanderer", number.to_string()))).await.unwrap();
    }
    count
}

/// One session after the other, each on the other gateway and with a higher attempt; the old ones are closed three
/// sessions later. The last one, which reads everything.
async fn wander(cluster: &Cluster, scale: Scale) -> (Client, Events) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut old: VecDeque<(Client, Events)> = VecDeque::new();
    let (mut attempt, mut closing) = (0, Vec::new());
    for number in 0..reconnects(scale) {
        ticks.tick().await;
        let transport = [Transport::WebSocket, Transport::Quic, Transport::WebTransport][number as usize % 3];
        let config = cluster.client(number as usize % 2, transport, "wanderer", "phone");
        let config = config.start(Start::Floor).raw_frames(false).last_attempt(attempt);
        let opened = within(Client::connect(config)).await.expect("a session");
        attempt = opened.0.attempt();
        old.push_back(opened);
        if old.len() > CLOSED_LATER {
            let (client, _events) = old.pop_front().expect("there are some");
            closing.push(spawn(async move { client.close().await }));
        }
    }
    let last = old.pop_back().expect("there was a session");
    closing.extend(old.into_iter().map(|(client, _events)| spawn(async move { client.close().await })));
    for closing in closing {
        within(closing).await.unwrap();
    }
    last
}

/// The numbers that come, until there are so many.
async fn receive(events: &mut Events, count: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while (numbers.len() as u64) < count {
        match events.recv().await.expect("the client lives") {
            Event::Message(message) => {
                numbers.push(std::str::from_utf8(&message.msg.content).unwrap().parse().unwrap());
            }
            Event::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    numbers
}

fn reconnects(scale: Scale) -> u32 {
    scale.times * 10
}

const EVERY: Duration = Duration::from_millis(100);
const CLOSED_LATER: usize = 3;
const RECOVERY: Duration = Duration::from_secs(5);
const PRESENCE_LIMIT: Duration = Duration::from_secs(12);
