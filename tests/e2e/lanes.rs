//! Deliveries on lanes: conversations overtake each other, each keeps its own order, and what is missing below what
//! has arrived comes after a reconnect, once.

use std::collections::{HashMap, HashSet};

use tidegate_client::{Message, Start, Transport};
use tidegate_proto::limits::MAX_LANES;

use crate::peer::{Peer, spawn, text, within};
use crate::server::Server;

mod quic {
    tests_over!(Quic: ten_thousand_messages_come_over_lanes_with_cuts, live_and_catching_up_at_once, a_new_life_begins_below_the_hole);
}
mod web_transport {
    tests_over!(WebTransport: ten_thousand_messages_come_over_lanes_with_cuts, live_and_catching_up_at_once, a_new_life_begins_below_the_hole);
}

/// Each has a conversation with bob: more than there are lanes.
const SENDERS: usize = 10;

/// What has arrived: each message once, each conversation in order.
#[derive(Default)]
struct Arrived {
    seqs: HashSet<i64>,
    by_sender: HashMap<String, i64>,
}

impl Arrived {
    /// Takes one in; whether it came above a hole.
    fn take(&mut self, message: &Message) -> bool {
        assert!(self.seqs.insert(message.seq), "{} came twice", message.seq);
        let last = self.by_sender.entry(message.msg.send_id.clone()).or_default();
        *last += 1;
        assert_eq!(message.msg.conv_seq, *last, "the conversation with {}", message.msg.send_id);
        assert_eq!(text(message), last.to_string());
        message.position.cursor < message.seq
    }

    /// Everything is there: the inbox is dense.
    fn check(&self, count: i64) {
        let mut seqs: Vec<i64> = self.seqs.iter().copied().collect();
        seqs.sort_unstable();
        assert!(seqs.into_iter().eq(1..=count), "a hole in the inbox");
    }
}

/// Sends `count` numbers from each sender to bob, all at once, and waits until all are stored.
async fn send_all(server: &Server, transport: Transport, count: i64) {
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let sender = Peer::connect(server, transport, &format!("sender-{number}"), "s").await;
        senders.push(spawn(async move {
            let mut handles = Vec::new();
            for number in 1..=count {
                handles.push(sender.send("bob", number.to_string()).await);
            }
            for mut handle in handles {
                within(handle.stored()).await.unwrap();
            }
        }));
    }
    for sender in senders {
        within(sender).await.unwrap();
    }
}

async fn ten_thousand_messages_come_over_lanes_with_cuts(transport: Transport) {
    const EACH: i64 = 1_000;
    let count = EACH * SENDERS as i64;
    let server = Server::start().await;
    send_all(&server, transport, EACH).await;

    let mut bob = Peer::connect_by(server.config(transport, "bob", "b").lanes(MAX_LANES)).await;
    let (mut arrived, mut since_cut, mut cuts) = (Arrived::default(), 0, 0);
    while (arrived.seqs.len() as i64) < count {
        let is_above_a_hole = arrived.take(&bob.message_over_reconnects().await);
        since_cut += 1;
        // A cut where something is missing below what was applied: it comes again, and what is above does not.
        if is_above_a_hole && since_cut > count / 8 {
            bob.client.drop_connection().await;
            (since_cut, cuts) = (0, cuts + 1);
        }
    }
    assert!(cuts > 1, "conversations never overtook each other");
    arrived.check(count);
}

async fn live_and_catching_up_at_once(transport: Transport) {
    const EACH: i64 = 200;
    let count = EACH * SENDERS as i64;
    let server = Server::start().await;
    let mut bob = Peer::connect_by(server.config(transport, "bob", "b").lanes(MAX_LANES)).await;
    let mut arrived = Arrived::default();
    let cutting = bob.client.clone();
    let receiving = spawn(async move {
        while (arrived.seqs.len() as i64) < count {
            arrived.take(&bob.message_over_reconnects().await);
            if arrived.seqs.len() as i64 % (count / 5) == 0 {
                cutting.drop_connection().await;
            }
        }
        arrived
    });
    send_all(&server, transport, EACH).await;
    within(receiving).await.unwrap().check(count);
}

/// The application kept its position, which knows only what is contiguous: in its next life what came above the hole
/// comes again, and nothing is missing.
async fn a_new_life_begins_below_the_hole(transport: Transport) {
    const EACH: i64 = 200;
    let count = EACH * SENDERS as i64;
    let server = Server::start().await;
    send_all(&server, transport, EACH).await;

    let mut bob = Peer::connect_by(server.config(transport, "bob", "b").lanes(MAX_LANES)).await;
    let mut first = Arrived::default();
    let position = loop {
        let message = bob.message().await;
        if first.take(&message) {
            break message.position;
        }
        assert!((first.seqs.len() as i64) < count, "conversations never overtook each other");
    };
    drop(bob);

    let cursor = position.cursor;
    let config = server.config(transport, "bob", "b").lanes(MAX_LANES).start(Start::At(position));
    let mut bob = Peer::connect_by(config).await;
    assert_eq!(bob.welcome.start, cursor);
    let mut seqs: HashSet<i64> = (1..=cursor).collect();
    while (seqs.len() as i64) < count {
        let message = bob.message().await;
        assert!(seqs.insert(message.seq), "{} came twice", message.seq);
    }
    assert!(first.seqs.iter().all(|seq| seqs.contains(seq)));
}
