//! Clients that read 1 KiB a second, among others: the server's memory stays within their outboxes, the others get
//! theirs meanwhile, and in the end the slow ones have everything.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

use tidegate_client::v1::Msg;
use tidegate_client::{ReadRate, StartAt, Transport};

use crate::peer::{Peer, spawn, text, within};
use crate::server::Server;

over_each_transport!(
    slow_clients_get_everything_and_cost_an_outbox,
    slow_subscribers_get_everything_and_cost_an_outbox,
);

/// Far more for each of them than its outbox and all buffers on the way hold.
const COUNT: i64 = 600;
const CONTENT_BYTES: usize = 8 * 1024;
const SLOW: usize = 4;
const CHANNEL: &str = "news";
const AN_HOUR: Duration = Duration::from_secs(3600);
/// The outbox, the mailbox before it and the page that goes into it: 640 KiB; what QUIC may have under way: 256 KiB.
const MAX_KIB_EACH: u64 = 1_024;
/// What else moves in the meantime.
const MAX_KIB_OF_THE_REST: u64 = 4_096;

/// How messages come to the slow ones and to carol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To each his own.
    Inbox,
    /// To all the same.
    Channel,
}

async fn slow_clients_get_everything_and_cost_an_outbox(transport: Transport) {
    get_everything_and_cost_an_outbox(transport, Way::Inbox).await;
}

async fn slow_subscribers_get_everything_and_cost_an_outbox(transport: Transport) {
    get_everything_and_cost_an_outbox(transport, Way::Channel).await;
}

async fn get_everything_and_cost_an_outbox(transport: Transport, way: Way) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    let mut carol = Peer::connect(&server, transport, "carol", "c").await;
    if way == Way::Channel {
        within(carol.client.subscribe(CHANNEL, StartAt::Head)).await.unwrap();
    }
    let rate = ReadRate::default();
    let mut reading = Vec::new();
    for number in 0..SLOW {
        let config = server.config(transport, &format!("slow-{number}"), "s").read_rate(rate.clone());
        // A Pong stands behind all that waits.
        let peer = Peer::connect_by(config.heartbeat(AN_HOUR, AN_HOUR)).await;
        if way == Way::Channel {
            within(peer.client.subscribe(CHANNEL, StartAt::Head)).await.unwrap();
        }
        reading.push(spawn(read(peer, 1..=COUNT)));
    }
    // The same load twice: what the server's caches grow by while all keep up is not what slow clients cost.
    let start = rss_kib(&server);
    send(&alice, &mut carol, way, 1..=COUNT).await;
    let mut peers = Vec::new();
    for one in reading {
        peers.push(within(one).await.unwrap());
    }
    let keeping_up = rss_kib(&server).saturating_sub(start);

    rate.limit(1_024);
    let reading: Vec<_> = peers.into_iter().map(|peer| spawn(read(peer, COUNT + 1..=2 * COUNT))).collect();
    let start = rss_kib(&server);
    send(&alice, &mut carol, way, COUNT + 1..=2 * COUNT).await;
    let slow = rss_kib(&server).saturating_sub(start);
    let sent_kib = (COUNT as usize * SLOW * CONTENT_BYTES / 1_024) as u64;
    let allowed = SLOW as u64 * MAX_KIB_EACH + MAX_KIB_OF_THE_REST;
    assert!(allowed < sent_kib / 2, "so little waits that all of it would fit");
    println!("{transport:?}, {way:?}: {keeping_up} KiB with clients that keep up, {slow} KiB with slow ones");
    assert!(slow <= keeping_up + allowed, "{slow} KiB, {keeping_up} KiB before; {sent_kib} KiB were sent");

    assert!(reading.iter().all(|reading| !reading.is_finished()), "they were not slow");
    rate.unlimit();
    for one in reading {
        within(one).await.unwrap();
    }
}

/// The numbers to all; carol gets hers while the others may be late.
async fn send(alice: &Peer, carol: &mut Peer, way: Way, numbers: RangeInclusive<i64>) {
    for number in numbers {
        let text = match way {
            Way::Inbox => {
                for recipient in 0..SLOW {
                    alice.send(&format!("slow-{recipient}"), content(number)).await;
                }
                alice.send("carol", number.to_string()).await;
                number.to_string()
            }
            Way::Channel => {
                let msg = Msg { channel: CHANNEL.into(), content: content(number).into(), ..Msg::default() };
                within(alice.client.send(msg)).await.unwrap();
                content(number)
            }
        };
        assert_eq!(carol.text().await, text);
    }
}

/// Reads the numbers, in order, once, and in the session it has.
async fn read(mut peer: Peer, numbers: RangeInclusive<i64>) -> Peer {
    for number in numbers {
        let message = peer.message().await;
        assert_eq!((message.seq, text(&message)), (number, content(number)));
    }
    peer
}

fn content(number: i64) -> String {
    format!("{number} {}", "x".repeat(CONTENT_BYTES))
}

/// What the server's process has in RAM.
fn rss_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
