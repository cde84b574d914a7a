//! kill -9 at random moments under load, and again on the same data: what got a receipt is stored once, seqs are dense,
//! and every client has everything in order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tidegate_client::v1::deliver;
use tidegate_client::{Client, Event, Events, History, Message, SendHandle, Start, Stored, Transport};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::peer::{Peer, spawn, text_to, within};
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
    Box::pin(kill_under_load(4, 100, 100..600)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it by `cargo test --release --test e2e twenty_kills -- --ignored`"]
async fn twenty_kills_under_2000_messages_a_second() {
    Box::pin(kill_under_load(20, 500, 200..6_000)).await;
}

/// Who sends to whom, and over what; each recipient has two senders.
const PAIRS: [(&str, Transport, &str); 4] = [
    ("ann", Transport::Quic, "xaver"),
    ("ben", Transport::WebTransport, "xaver"),
    ("cem", Transport::WebSocket, "yara"),
    ("dan", Transport::Quic, "yara"),
];
const RECIPIENTS: [(&str, Transport); 2] =
    [("xaver", Transport::WebSocket), ("yara", Transport::WebTransport)];

/// Each of the senders sends `rate` messages a second; the next kill comes after a number of receipts of `receipts`.
async fn kill_under_load(kills: u32, rate: u32, receipts: Range<u64>) {
    let mut server = Server::start().await;
    let progress = Arc::new(Progress::default());
    let senders: Vec<_> = {
        let mut senders = Vec::new();
        for (user, transport, to) in PAIRS {
            let peer = Peer::connect(&server, transport, user, "sender").await;
            senders.push(start_sender(peer, to, rate, progress.clone()));
        }
        senders
    };
    let mut recipients = Vec::new();
    for (user, transport) in RECIPIENTS {
        recipients.push(Peer::connect(&server, transport, user, "recipient").await);
    }
    let received: Vec<_> = recipients.into_iter().map(start_recipient).collect();

    for _ in 0..kills {
        let more = rand::random_range(receipts.clone());
        within(progress.reaches(progress.accepted() + more)).await;
        server.kill().await;
        server.start_again().await;
    }
    within(progress.reaches(progress.accepted() + receipts.end)).await;
    progress.stop.store(true, Ordering::Relaxed);

    let mut sent = HashMap::new();
    for (sender, (user, _, _)) in senders.into_iter().zip(PAIRS) {
        sent.insert(user, within(sender).await.unwrap());
    }
    for ((recipient, transport), received) in RECIPIENTS.into_iter().zip(received) {
        let expected: usize =
            PAIRS.iter().filter(|(_, _, to)| *to == recipient).map(|(user, _, _)| sent[user].len()).sum();
        received.expected.store(expected as u64, Ordering::Relaxed);
        received.told.notify_one();
        let messages = within(received.task).await.unwrap();
        check_inbox(&messages, &sent);
        check_stored(&server, transport, recipient, &messages).await;
    }
}

/// How many receipts there are, over all senders.
#[derive(Default)]
struct Progress {
    accepted: AtomicU64,
    changed: Notify,
    stop: AtomicBool,
}

impl Progress {
    fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The one waiter there is waits here.
    async fn reaches(&self, count: u64) {
        while self.accepted() < count {
            self.changed.notified().await;
        }
    }
}

/// What a sender knows of a message: its number is its place in the list.
#[derive(Debug, PartialEq)]
struct Sent {
    local_id: String,
    stored: Stored,
}

/// Sends numbers until told to stop, then waits until all are stored.
fn start_sender(peer: Peer, to: &'static str, rate: u32, progress: Arc<Progress>) -> JoinHandle<Vec<Sent>> {
    let Peer { client, events, .. } = peer;
    // It wants no messages.
    drop(events);
    spawn(async move {
        let mut every = interval(Duration::from_secs(1) / rate);
        every.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut followed = Vec::new();
        while !progress.stop.load(Ordering::Relaxed) {
            every.tick().await;
            let handle = within(client.send(text_to(to, followed.len().to_string()))).await.unwrap();
            followed.push(spawn(follow(handle, progress.clone())));
        }
        let mut sent = Vec::new();
        for one in followed {
            sent.push(one.await.unwrap());
        }
        sent
    })
}

/// Both receipts, which must agree.
async fn follow(mut handle: SendHandle, progress: Arc<Progress>) -> Sent {
    let accepted = within(handle.accepted()).await.unwrap();
    progress.accepted.fetch_add(1, Ordering::Relaxed);
    progress.changed.notify_one();
    let stored = within(handle.stored()).await.unwrap();
    assert_eq!(accepted.server_id, stored.server_id);
    Sent { local_id: handle.local_id().to_owned(), stored }
}

struct Received {
    expected: Arc<AtomicU64>,
    told: Arc<Notify>,
    task: JoinHandle<Vec<Message>>,
}

/// Takes messages until as many are there as are expected.
fn start_recipient(peer: Peer) -> Received {
    let Peer { client, mut events, .. } = peer;
    let expected = Arc::new(AtomicU64::new(u64::MAX));
    let told = Arc::new(Notify::new());
    let (target, news) = (expected.clone(), told.clone());
    let task = spawn(async move {
        let mut messages = Vec::new();
        while (messages.len() as u64) < target.load(Ordering::Relaxed) {
            tokio::select! {
                event = events.recv() => match event.expect("the client lives") {
                    Event::Message(message) => messages.push(message),
                    Event::Connected(connected) => assert!(!connected.reset, "the data live on"),
                    Event::Disconnected(_) | Event::GoAway { .. } => {}
                    other => panic!("{other:?}"),
                },
                () = news.notified() => {}
            }
        }
        no_more(&client, &mut events).await;
        messages
    });
    Received { expected, told, task }
}

/// After the answer to a Ping, which comes after what was delivered before, nothing is there.
async fn no_more(client: &Client, events: &mut Events) {
    within(client.ping()).await.unwrap();
    if let Ok(Some(Event::Message(message))) = timeout(Duration::ZERO, events.recv()).await {
        panic!("one too many: {message:?}");
    }
}

/// Everything once: dense in the inbox and in each conversation, each sender's in his order, as the receipts say.
fn check_inbox(messages: &[Message], sent: &HashMap<&str, Vec<Sent>>) {
    let mut by_sender: HashMap<&str, Vec<&Message>> = HashMap::new();
    for (message, seq) in messages.iter().zip(1..) {
        assert_eq!(message.seq, seq, "the inbox is dense and in order");
        by_sender.entry(message.msg.send_id.as_str()).or_default().push(message);
    }
    for (sender, messages) in by_sender {
        let sent = &sent[sender];
        assert_eq!(messages.len(), sent.len(), "everything of {sender}");
        for ((message, sent), number) in messages.iter().zip(sent).zip(0_i64..) {
            let msg = &message.msg;
            assert_eq!(msg.content, number.to_string().as_bytes(), "the order of {sender}");
            assert_eq!(msg.conv_seq, number + 1, "the conversation is dense");
            let stored = (&msg.local_id, &msg.server_id, msg.send_time, msg.conv_seq);
            let Sent { local_id, stored: said } = sent;
            assert_eq!(stored, (local_id, &said.server_id, said.send_time, said.conv_seq));
            assert_eq!(said.seq, number + 1, "the sender's inbox is dense");
        }
    }
}

/// A new device pulls the whole inbox: it is what was received.
async fn check_stored(server: &Server, transport: Transport, user: &str, messages: &[Message]) {
    let config = server.config(transport, user, "auditor").start(Start::Head);
    let auditor = Peer::connect_by(config).await;
    let mut entries = Vec::new();
    loop {
        let after = History::After(entries.len() as i64);
        let page = within(auditor.client.pull("", after, 1_000)).await.unwrap();
        entries.extend(page.entries);
        if !page.more {
            break;
        }
    }
    assert_eq!(entries.len(), messages.len());
    for (entry, message) in entries.iter().zip(messages) {
        let Some(deliver::Entry::Msg(msg)) = &entry.entry else { panic!("{entry:?}") };
        assert_eq!((entry.seq, &msg.server_id), (message.seq, &message.msg.server_id));
    }
}
