//! kill -9 at random moments under load, and again on the same data: what got a receipt is stored once, seqs are dense,
//! and every client has everything in order.

mod audit;
mod load;

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use tidegate_client::v1::Msg;
use tidegate_client::{StartAt, Transport};
use tokio::time::sleep;

use self::audit::{check_channel, check_inbox, check_stored};
use self::load::{Measured, Progress, Received, Sent, start_recipient, start_sender};
use crate::peer::{Peer, text_to, within};
use crate::server::Server;

over_each_transport!(a_request_is_answered_over_a_kill);

/// The killed server said no goodbye: the client finds out when it says something itself.
async fn a_request_is_answered_over_a_kill(transport: Transport) {
    let mut server = Server::start().await;
    let bob = Peer::connect(&server, transport, "bob", "b").await;
    server.kill().await;
    server.start_again().await;
    within(bob.client.ping()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_kills() {
    Box::pin(kill_under_load(4, 400, 100..600)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "wants a machine of its own and a build for release: run it by `scripts/test faults`"]
async fn twenty_kills_under_2000_messages_a_second() {
    Box::pin(kill_under_load(20, 2_000, 200..6_000)).await;
}

/// Who receives, over what, on how many lanes; each has two senders.
pub(crate) const RECIPIENTS: [(&str, Transport, u32); 5] = [
    ("quirin", Transport::Quic, 0),
    ("quentin", Transport::Quic, 8),
    ("wendy", Transport::WebTransport, 0),
    ("wilma", Transport::WebTransport, 8),
    ("sandra", Transport::WebSocket, 0),
];
const CHANNEL: &str = "kills";
const SENDERS: usize = 2 * RECIPIENTS.len();

/// The number of a sender says over what it sends, and to whom.
fn sender(number: usize) -> (String, Transport, &'static str) {
    let transports = [Transport::Quic, Transport::WebTransport, Transport::WebSocket];
    (format!("sender-{number}"), transports[number % 3], RECIPIENTS[number / 2].0)
}

/// The senders send `rate` messages a second together; a kill comes a random time after a number of receipts out of
/// `receipts`.
async fn kill_under_load(kills: u32, rate: u32, receipts: Range<u64>) {
    let mut server = Server::start().await;
    let received = start_recipients(&server).await;
    let progress = Progress::start();
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let (user, transport, to) = sender(number);
        let peer = Peer::connect(&server, transport, &user, "sender").await;
        senders.push(start_sender(peer, text_to(to, ""), rate / SENDERS as u32, progress.clone()));
    }
    let subscribers = start_subscribers(&server).await;
    let publisher = Peer::connect(&server, Transport::Quic, "publisher", "publisher").await;
    let to = Msg { channel: CHANNEL.into(), ..Msg::default() };
    let publisher = start_sender(publisher, to, rate / 20, progress.clone());

    let mut measured = Measured::begin();
    for _ in 0..kills {
        within(progress.reaches(progress.accepted() + rand::random_range(receipts.clone()))).await;
        // Receipts come in batches: not always right after one.
        sleep(Duration::from_micros(rand::random_range(0..20_000))).await;
        let killed = Instant::now();
        server.kill().await;
        server.start_again().await;
        measured.was_down(killed.elapsed());
    }
    within(progress.reaches(progress.accepted() + receipts.end)).await;
    measured.end(&progress);

    let mut sent = HashMap::new();
    for (number, task) in senders.into_iter().enumerate() {
        sent.insert(sender(number).0, within(task).await.unwrap());
    }
    println!("{measured} {kills} kills, {} stored", sent.values().map(Vec::len).sum::<usize>());
    let published = within(publisher).await.unwrap();
    for subscriber in subscribers {
        check_channel(&within(subscriber.all(published.len())).await, &published);
    }
    for ((recipient, transport, lanes), received) in RECIPIENTS.into_iter().zip(received) {
        let (expected, messages) = collect(recipient, received, &sent).await;
        check_inbox(&messages, &expected, lanes > 0);
        check_stored(&server, transport, recipient, &messages).await;
    }
}

async fn start_recipients(server: &Server) -> Vec<Received> {
    let mut received = Vec::new();
    for (user, transport, lanes) in RECIPIENTS {
        let config = server.config(transport, user, "recipient").lanes(lanes);
        received.push(start_recipient(Peer::connect_by(config).await));
    }
    received
}

/// They listen to a channel over what the recipients do.
async fn start_subscribers(server: &Server) -> Vec<Received> {
    let mut received = Vec::new();
    for (user, transport, lanes) in RECIPIENTS {
        let config = server
            .config(transport, &format!("{user}-2"), "subscriber")
            .lanes(lanes)
            // Over QUIC who only listens finds out by this that the server was killed. In the usual 25 s more is
            // published than a channel keeps.
            .heartbeat(Duration::from_secs(2), Duration::from_secs(3));
        let peer = Peer::connect_by(config).await;
        within(peer.client.subscribe(CHANNEL, StartAt::Floor)).await.unwrap();
        received.push(start_recipient(peer));
    }
    received
}

/// What was sent to `recipient`, by sender, and what he has received once that is all there.
async fn collect<'a>(
    recipient: &str,
    received: Received,
    sent: &'a HashMap<String, Vec<Sent>>,
) -> (HashMap<String, &'a [Sent]>, Vec<tidegate_client::Message>) {
    let expected: HashMap<String, &[Sent]> = (0..SENDERS)
        .map(sender)
        .filter(|(_, _, to)| *to == recipient)
        .map(|(user, _, _)| (user.clone(), &sent[&user][..]))
        .collect();
    let count: usize = expected.values().map(|sent| sent.len()).sum();
    let messages = within(received.all(count)).await;
    (expected, messages)
}
