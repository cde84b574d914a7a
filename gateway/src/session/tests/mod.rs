//! Whole sessions over pipes in memory, with the real log, sequencer, pusher, link and SQLite store behind them.

mod drain;
mod presence;
mod rpc;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use prost::Message as _;
use tempfile::TempDir;
use tidegate_pipeline::presence::{Presence, memory};
use tidegate_pipeline::pusher::Pusher;
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::link;
use tidegate_pipeline::sequencer::Sequencer;
use tidegate_pipeline::store::{Store, sqlite};
use tidegate_pipeline::{log, metrics as pipeline};
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::id::UserId;
use tidegate_proto::v1::{
    Ack, ClientFrame, CloseCode, Code, Head, Hello, Msg, Ping, Pong, Position, Pull, Receipt, ReceiptStatus,
    Refresh, Send, ServerFrame, Signal, Start, Welcome, client_frame as from_client, deliver, pull,
    server_frame::Kind, start,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

use super::worker::Session;
use crate::auth::Signer;
use crate::gateway::{Gateway, Parts, Shared, now_ms};
use crate::http::Stream;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::transport::pipe::Pipe;
use crate::transport::quic::Streams;
use crate::transport::websocket::WebSocket;
use crate::transport::{Accept as _, Transport};

/// A gateway with everything behind it.
struct World {
    folder: TempDir,
    signer: Signer,
    gateway: Gateway,
    registry: Registry,
    presence: Presence,
    stop: CancellationToken,
}

impl World {
    async fn new() -> Self {
        Self::with(Settings { message_burst: 10_000, ..Settings::default() }).await
    }

    async fn with(settings: Settings) -> Self {
        Self::of(settings, ("g", ""), Presence::Memory(memory::Presence::default())).await
    }

    /// A gateway of that id, reached by others at that address.
    #[expect(clippy::disallowed_methods, reason = "the assembly of these tests")]
    async fn of(settings: Settings, (id, address): (&str, &str), presence: Presence) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = sqlite::Config::new(folder.path().join("store.sqlite"));
        let store = Store::Sqlite(sqlite::Store::open(&config).await.unwrap());
        let (log, reader) = log::embedded::open();
        let counted = pipeline::Metrics::default();
        let metrics = Metrics::new(&counted);
        let mut registry = Registry::default();
        counted.register(&mut registry);
        metrics.register(&mut registry);
        let (local, receiver) = link::local(counted.link.clone());
        let own = Some((id.into(), local));
        let pusher = Pusher::new(presence.clone(), own, Dialer::default(), counted.pusher.clone());
        tokio::spawn(Sequencer::new(store.clone(), pusher, counted).run(log::Reader::Embedded(reader)));
        let signer = Signer::open_or_make(folder.path()).unwrap();
        let gateway = Gateway::new(Parts {
            id: id.into(),
            address: address.into(),
            public: "".into(),
            epoch: store.epoch().await.unwrap().into(),
            settings,
            auth: signer.auth().unwrap(),
            log: log::Log::Embedded(log),
            store,
            presence: presence.clone(),
            metrics,
        });
        let stop = CancellationToken::new();
        let (services, until) = (gateway.clone(), stop.clone());
        tokio::spawn(async move { services.run(receiver, until).await });
        Self { folder, signer, gateway, registry, presence, stop }
    }

    fn shows(&self, lines: &[&str]) {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        for line in lines {
            assert!(text.lines().any(|shown| shown == *line), "{line} is not in {text}");
        }
    }

    fn token(&self, user: &str, ttl: Duration) -> String {
        self.signer.sign(&UserId::new(user).unwrap(), None, ttl, now_ms()).unwrap()
    }

    fn pipe(&self, capacity: usize) -> Client {
        let (ours, theirs) = tokio::io::duplex(capacity);
        self.gateway.accept(Pipe::new(theirs));
        Client { io: ours, buf: BytesMut::new() }
    }

    fn hello(&self, user: &str, device: &str) -> Hello {
        let token = self.token(user, Duration::from_secs(600));
        Hello { token, device_id: device.into(), attempt: 1, ..Hello::default() }
    }

    async fn connect(&self, user: &str, device: &str) -> (Client, Welcome) {
        self.connect_with(self.hello(user, device)).await
    }

    async fn connect_with(&self, hello: Hello) -> (Client, Welcome) {
        let mut client = self.pipe(1 << 20);
        client.send(from_client::Kind::Hello(hello)).await;
        match client.next().await {
            Kind::Welcome(welcome) => (client, welcome),
            other => panic!("no Welcome: {other:?}"),
        }
    }
}

struct Client {
    io: DuplexStream,
    buf: BytesMut,
}

impl Client {
    async fn send(&mut self, kind: from_client::Kind) {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, &ClientFrame { id: 7, kind: Some(kind) });
        self.io.write_all(&bytes).await.unwrap();
    }

    async fn message(&mut self, to: &str, local_id: &str, content: &str) {
        let msg = Msg {
            receiver_id: to.into(),
            local_id: local_id.into(),
            content: content.to_owned().into(),
            ..Msg::default()
        };
        self.send(from_client::Kind::Send(Send { msg: Some(msg) })).await;
    }

    /// The next frame; `None` when the gateway has closed.
    async fn try_next(&mut self) -> Option<Kind> {
        loop {
            if let Some(frame) = split_frame(&mut self.buf, 1 << 20).unwrap() {
                return ServerFrame::decode(frame).unwrap().kind;
            }
            if self.io.read_buf(&mut self.buf).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn next(&mut self) -> Kind {
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, self.try_next()).await.expect("a frame in time").expect("not closed")
    }

    async fn receipt(&mut self) -> Receipt {
        match self.next().await {
            Kind::Receipt(receipt) => receipt,
            other => panic!("no receipt: {other:?}"),
        }
    }

    /// ACCEPTED, then STORED.
    async fn stored(&mut self) -> Receipt {
        let accepted = self.receipt().await;
        assert_eq!(accepted.status(), ReceiptStatus::Accepted, "{accepted:?}");
        let stored = self.receipt().await;
        assert_eq!(stored.status(), ReceiptStatus::Stored);
        assert_eq!((&accepted.local_id, &accepted.server_id), (&stored.local_id, &stored.server_id));
        assert_eq!(accepted.send_time, stored.send_time);
        stored
    }

    /// The next entry of the inbox: its seq and its message.
    async fn delivered(&mut self) -> (i64, Msg) {
        match self.next().await {
            Kind::Deliver(deliver) => match deliver.entry {
                Some(deliver::Entry::Msg(msg)) => (deliver.seq, msg),
                other => panic!("no message: {other:?}"),
            },
            other => panic!("no Deliver: {other:?}"),
        }
    }

    /// The code of the last frame, after which the gateway closes.
    async fn closed(&mut self) -> CloseCode {
        let code = match self.next().await {
            Kind::Error(error) => error.close,
            Kind::GoAway(go_away) => go_away.reason,
            other => panic!("no last frame: {other:?}"),
        };
        assert_eq!(self.try_next().await, None, "the control stream is finished after the last frame");
        CloseCode::try_from(code).unwrap()
    }
}

#[tokio::test]
async fn two_users_exchange_messages() {
    let world = World::new().await;
    let (mut alice, welcome) = world.connect("alice", "phone").await;
    assert_eq!((&*welcome.user_id, welcome.start, welcome.head, welcome.floor), ("alice", 0, 0, 1));
    let (mut bob, _) = world.connect("bob", "phone").await;

    alice.message("bob", "1", "hello").await;
    let stored = alice.stored().await;
    assert_eq!((stored.seq, stored.conv_seq), (1, 1));
    let (seq, msg) = bob.delivered().await;
    assert_eq!((seq, &*msg.send_id, &msg.content[..], msg.conv_seq), (1, "alice", &b"hello"[..], 1));
    assert_eq!((msg.seq, &*msg.conversation), (0, "d:alice:bob"));
    assert_eq!((msg.server_id, msg.send_time), (stored.server_id, stored.send_time));

    bob.message("alice", "1", "hi").await;
    assert_eq!((bob.stored().await.seq, alice.delivered().await.0), (2, 2));
}

#[tokio::test]
async fn the_senders_other_devices_get_the_message() {
    let world = World::new().await;
    let (mut phone, _) = world.connect("alice", "phone").await;
    let (mut laptop, _) = world.connect("alice", "laptop").await;
    phone.message("alice", "note", "to myself").await;
    assert_eq!(phone.stored().await.seq, 1);
    assert_eq!(laptop.delivered().await.0, 1);
}

#[tokio::test]
async fn a_retry_is_the_same_message_and_another_body_a_conflict() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    alice.message("bob", "1", "hello").await;
    let first = alice.stored().await;
    alice.message("bob", "1", "hello").await;
    assert_eq!(alice.stored().await, first);
    alice.message("bob", "1", "other").await;
    let conflict = alice.receipt().await;
    assert_eq!((conflict.status(), conflict.code()), (ReceiptStatus::Rejected, Code::Conflict));

    alice.message("bob", "2", "next").await;
    assert_eq!((bob.delivered().await.0, bob.delivered().await.0), (1, 2), "one message, then the next");
}

#[tokio::test]
async fn the_metrics_follow_a_message() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    for _ in 0..2 {
        alice.message("bob", "1", "hello").await;
        alice.stored().await;
    }
    alice.message("bob", "1", "other").await;
    alice.receipt().await;
    bob.delivered().await;
    // Read from the store: bob's other device, which comes later.
    let (mut tablet, _) = world.connect("bob", "tablet").await;
    tablet.delivered().await;
    bob.send(from_client::Kind::Bye(tidegate_proto::v1::Bye {})).await;
    assert_eq!(bob.closed().await, CloseCode::Normal);
    let mut stranger = world.pipe(1 << 20);
    stranger.send(from_client::Kind::Ping(Ping {})).await;
    assert_eq!(stranger.closed().await, CloseCode::ProtocolError);
    world.shows(&["sessions{transport=\"pipe\"} 2"]);
    world.gateway.drain(1).await;
    world.shows(&[
        "messages_total{stage=\"received\"} 3",
        "messages_total{stage=\"accepted\"} 2",
        "messages_total{stage=\"stored\"} 1",
        "messages_total{stage=\"repeated\"} 1",
        "messages_total{stage=\"confirmed\"} 1",
        "messages_total{stage=\"delivered\"} 2",
        "messages_rejected_total{code=\"CONFLICT\"} 1",
        "receipt_seconds_count 2",
        "delivery_seconds_count 1",
        "pages_total{result=\"read\"} 1",
        "feed_turns_total{to=\"catch_up\"} 1",
        "feed_turns_total{to=\"live\"} 1",
        "feeds_catching_up 0",
        "sessions{transport=\"pipe\"} 0",
        "sessions_opened_total{transport=\"pipe\"} 3",
        "sessions_ended_total{code=\"NORMAL\"} 1",
        "sessions_ended_total{code=\"DRAINING\"} 2",
        "sessions_not_begun_total{code=\"PROTOCOL_ERROR\"} 1",
    ]);
}

#[tokio::test]
async fn a_device_resumes_from_its_cursor() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    for n in 0..1_200 {
        alice.message("bob", &n.to_string(), "x").await;
        alice.stored().await;
    }
    let (mut bob, welcome) = world.connect("bob", "phone").await;
    for seq in 1..=1_200 {
        assert_eq!(bob.delivered().await.0, seq);
    }
    bob.send(from_client::Kind::Ack(Ack { cursor: 700 })).await;
    bob.send(from_client::Kind::Ping(Ping {})).await;
    assert!(matches!(bob.next().await, Kind::Pong(pong) if pong.heads[0].head == 1_200));
    bob.send(from_client::Kind::Bye(tidegate_proto::v1::Bye {})).await;
    assert_eq!(bob.closed().await, CloseCode::Normal);
    world.stop.cancel();
    world.gateway.drain(1).await;

    let again = tidegate_proto::id::DeviceId::new("phone").unwrap();
    let config = sqlite::Config::new(world.folder.path().join("store.sqlite"));
    let store = sqlite::Store::open(&config).await.unwrap();
    let stored = Store::Sqlite(store).inbox(&UserId::new("bob").unwrap(), &again).await.unwrap();
    assert_eq!((stored.cursor, stored.bounds.head), (Some(700), 1_200));
    assert_eq!(welcome.start, 0);
}

/// With lanes a client has seqs above a hole; the next session fills the hole, and the client is further than what that
/// session was sent.
#[tokio::test]
async fn what_an_earlier_session_was_sent_is_acknowledged_on_the_next() {
    let world =
        World::with(Settings { outbox_bytes: 4_096, message_burst: 10_000, ..Settings::default() }).await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    for n in 0..100 {
        alice.message("bob", &n.to_string(), &"x".repeat(1_024)).await;
        alice.stored().await;
    }
    // So little fits on the way that the session has by far not sent everything.
    let mut bob = world.pipe(1_024);
    bob.send(from_client::Kind::Hello(world.hello("bob", "phone"))).await;
    assert!(matches!(bob.next().await, Kind::Welcome(_)));
    bob.send(from_client::Kind::Ack(Ack { cursor: 100 })).await;
    for seq in 1..=100 {
        assert_eq!(bob.delivered().await.0, seq);
    }
    bob.send(from_client::Kind::Ack(Ack { cursor: 101 })).await;
    let Kind::Error(error) = bob.next().await else { panic!("no Error") };
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_device_that_comes_back_at_once_goes_on_where_it_was() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    for n in 0..10 {
        alice.message("bob", &n.to_string(), "x").await;
        alice.stored().await;
        bob.delivered().await;
    }
    // Faster than the cursors are written, again and again.
    for cursor in 1..=10 {
        bob.send(from_client::Kind::Ack(Ack { cursor })).await;
        bob.send(from_client::Kind::Bye(tidegate_proto::v1::Bye {})).await;
        assert_eq!(bob.closed().await, CloseCode::Normal);
        let (back, welcome) = world.connect("bob", "phone").await;
        assert_eq!(welcome.start, cursor);
        bob = back;
        for seq in cursor + 1..=10 {
            assert_eq!(bob.delivered().await.0, seq);
        }
    }
}

#[tokio::test]
async fn where_a_session_starts() {
    let world = World::new().await;
    let (mut alice, welcome) = world.connect("alice", "phone").await;
    for n in 0..5 {
        alice.message("bob", &n.to_string(), "x").await;
        alice.stored().await;
    }
    let position =
        |epoch: &str, cursor| Some(start::From::Position(Position { epoch: epoch.into(), cursor }));
    let epoch = welcome.epoch;
    for (from, expected) in [
        (position(&epoch, 3), 3),
        (position(&epoch, 5), 5),
        (position(&epoch, 6), 0),
        (position("other", 3), 0),
        (Some(start::From::Head(true)), 5),
        (Some(start::From::Floor(true)), 0),
        (None, 0),
    ] {
        let device = format!("{}", now_ms() % 1_000_000);
        let hello = Hello { start: Some(Start { from: from.clone() }), ..world.hello("bob", &device) };
        let (mut bob, welcome) = world.connect_with(hello).await;
        assert_eq!((welcome.start, welcome.head), (expected, 5), "{from:?}");
        if expected < 5 {
            assert_eq!(bob.delivered().await.0, expected + 1);
        }
        bob.send(from_client::Kind::Bye(tidegate_proto::v1::Bye {})).await;
    }
}

#[tokio::test]
async fn the_higher_attempt_replaces_and_the_lower_is_replaced() {
    let world = World::new().await;
    let (mut old, _) = world.connect_with(Hello { attempt: 5, ..world.hello("alice", "phone") }).await;
    let (mut new, _) = world.connect_with(Hello { attempt: 6, ..world.hello("alice", "phone") }).await;
    assert_eq!(old.closed().await, CloseCode::Replaced);

    let mut late = world.pipe(1 << 16);
    late.send(from_client::Kind::Hello(Hello { attempt: 4, ..world.hello("alice", "phone") })).await;
    assert_eq!(late.closed().await, CloseCode::Replaced);

    new.message("alice", "1", "still here").await;
    assert_eq!(new.stored().await.seq, 1);
}

#[tokio::test]
async fn devices_of_a_user_are_limited() {
    let world = World::with(Settings { max_devices: 2, ..Settings::default() }).await;
    let _live = (world.connect("alice", "1").await, world.connect("alice", "2").await);
    let mut third = world.pipe(1 << 16);
    third.send(from_client::Kind::Hello(world.hello("alice", "3"))).await;
    assert_eq!(third.closed().await, CloseCode::Limit);
}

#[tokio::test]
async fn what_comes_before_hello_or_instead_of_it() {
    let world = World::new().await;
    for (kind, expected) in [
        (from_client::Kind::Ping(Ping {}), CloseCode::ProtocolError),
        (
            from_client::Kind::Hello(Hello { token: "x".into(), ..world.hello("a", "d") }),
            CloseCode::Unauthenticated,
        ),
        (from_client::Kind::Hello(Hello { attempt: 0, ..world.hello("a", "d") }), CloseCode::ProtocolError),
        (from_client::Kind::Hello(Hello { lanes: 9, ..world.hello("a", "d") }), CloseCode::ProtocolError),
        (from_client::Kind::Hello(world.hello("a", "d d")), CloseCode::ProtocolError),
        (
            from_client::Kind::Hello(Hello { agent: "x".repeat(9_000), ..world.hello("a", "d") }),
            CloseCode::TooLarge,
        ),
    ] {
        let mut client = world.pipe(1 << 16);
        client.send(kind).await;
        assert_eq!(client.closed().await, expected);
    }
    let (mut client, _) = world.connect("a", "d").await;
    client.send(from_client::Kind::Hello(world.hello("a", "d"))).await;
    assert_eq!(client.closed().await, CloseCode::ProtocolError);
}

#[tokio::test]
async fn a_token_expires_unless_it_is_refreshed() {
    let world = World::new().await;
    let short = || world.token("alice", Duration::from_secs(1));
    let (mut lapsed, _) = world.connect_with(Hello { token: short(), ..world.hello("alice", "1") }).await;
    let (mut kept, _) = world.connect_with(Hello { token: short(), ..world.hello("alice", "2") }).await;
    let token = world.token("bob", Duration::from_secs(600));
    kept.send(from_client::Kind::Refresh(Refresh { token })).await;
    assert!(matches!(kept.next().await, Kind::Error(error) if error.code() == Code::Unauthenticated));
    let token = world.token("alice", Duration::from_secs(600));
    kept.send(from_client::Kind::Refresh(Refresh { token })).await;

    assert_eq!(lapsed.closed().await, CloseCode::Unauthenticated);
    kept.send(from_client::Kind::Ping(Ping {})).await;
    assert!(matches!(kept.next().await, Kind::Pong(_)));
}

#[tokio::test]
async fn refusals_leave_the_session_alive() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    alice.message("not an id", "1", "x").await;
    assert_eq!(alice.receipt().await.code(), Code::InvalidArgument);
    alice.message("bob", "2", &"x".repeat(65_537)).await;
    assert_eq!(alice.receipt().await.code(), Code::TooLarge);
    for (kind, expected) in [
        (from_client::Kind::Ack(Ack { cursor: 1 }), Code::InvalidArgument),
        (from_client::Kind::Ack(Ack { cursor: -1 }), Code::InvalidArgument),
        (pull_of("i:bob", 10), Code::PermissionDenied),
        (pull_of("nonsense", 10), Code::InvalidArgument),
        (pull_of("", 1 << 31), Code::InvalidArgument),
        (pull_of("", -1), Code::InvalidArgument),
        (from_client::Kind::Subscribe(Default::default()), Code::Unimplemented),
        (from_client::Kind::Mark(Default::default()), Code::Unimplemented),
        (from_client::Kind::Presence(Default::default()), Code::Unimplemented),
    ] {
        alice.send(kind).await;
        let Kind::Error(error) = alice.next().await else { panic!("no Error") };
        assert_eq!((error.code(), error.id), (expected, 7), "{}", error.message);
    }
    alice.message("bob", "3", "x").await;
    assert_eq!(alice.stored().await.seq, 1);
}

fn pull_of(timeline: &str, limit: i64) -> from_client::Kind {
    from_client::Kind::Pull(Pull { timeline: timeline.into(), from: Some(pull::From::After(0)), limit })
}

#[tokio::test]
async fn history_is_pulled_in_pages() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    for n in 0..10 {
        alice.message("bob", &n.to_string(), "x").await;
        alice.stored().await;
    }
    for (from, seqs, more) in [
        (pull::From::After(0), 1..=4, true),
        (pull::From::After(8), 9..=10, false),
        (pull::From::Before(0), 7..=10, true),
        (pull::From::Before(3), 1..=2, false),
    ] {
        alice
            .send(from_client::Kind::Pull(Pull {
                timeline: "d:alice:bob".into(),
                from: Some(from),
                limit: 4,
            }))
            .await;
        let Kind::Page(page) = alice.next().await else { panic!("no Page") };
        assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), seqs.collect::<Vec<_>>());
        assert_eq!((page.head, page.floor, page.more), (10, 1, more));
    }
}

#[tokio::test]
async fn a_flood_is_limited_and_nothing_accepted_is_lost() {
    let settings = Settings { messages_per_second: 1, message_burst: 10, ..Settings::default() };
    let world = World::with(settings).await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    for n in 0..30 {
        alice.message("bob", &n.to_string(), "x").await;
    }
    let (mut limited, mut stored) = (0, 0);
    while limited + stored < 30 {
        let receipt = alice.receipt().await;
        match receipt.status() {
            ReceiptStatus::Stored => stored += 1,
            ReceiptStatus::Rejected => {
                assert_eq!(receipt.code(), Code::RateLimited);
                assert!(receipt.retry_after_ms > 0);
                limited += 1;
            }
            _ => {}
        }
    }
    assert!((10..=12).contains(&stored), "{stored}");
}

#[tokio::test]
async fn signals_reach_the_user_and_are_stored_nowhere() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    let signal =
        Signal { user: "bob".into(), kind: "typing".into(), from: "eve".into(), ..Signal::default() };
    alice.send(from_client::Kind::Signal(signal)).await;
    assert!(
        matches!(bob.next().await, Kind::Signal(signal) if signal.from == "alice" && signal.kind == "typing")
    );
    let large = Signal { user: "bob".into(), content: vec![0; 1_001].into(), ..Signal::default() };
    alice.send(from_client::Kind::Signal(large)).await;
    assert!(matches!(alice.next().await, Kind::Error(error) if error.code() == Code::TooLarge));
}

#[tokio::test]
async fn a_slow_client_has_a_bounded_outbox_and_gets_everything() {
    let world =
        World::with(Settings { outbox_bytes: 20_000, message_burst: 10_000, ..Settings::default() }).await;
    let mut bob = world.pipe(500);
    bob.send(from_client::Kind::Hello(world.hello("bob", "phone"))).await;
    assert!(matches!(bob.next().await, Kind::Welcome(_)));
    let (mut alice, _) = world.connect("alice", "phone").await;
    for n in 0..500 {
        alice.message("bob", &n.to_string(), &"x".repeat(1_000)).await;
        alice.stored().await;
    }
    for seq in 1..=500 {
        assert_eq!(bob.delivered().await.0, seq);
    }
}

/// Waits until the metrics have the line. While time is paused, it goes on by this alone.
async fn shown(world: &World, line: &str) {
    for _ in 0..100_000 {
        let mut text = String::new();
        encode(&mut text, &world.registry).unwrap();
        if text.lines().any(|shown| shown == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{line} is never shown");
}

/// Sends to a client that reads nothing until its outbox is full and stays so.
async fn fill(world: &World, alice: &mut Client, to: &str) {
    for n in 0..30 {
        alice.message(to, &n.to_string(), &"x".repeat(1_000)).await;
        assert_eq!(alice.receipt().await.status(), ReceiptStatus::Accepted);
        // STORED; or the message itself, where a check of the heads was faster (docs/PROTOCOL.md "Sending").
        alice.next().await;
    }
    shown(world, "feeds_catching_up 1").await;
}

#[tokio::test]
async fn who_takes_nothing_for_a_minute_is_closed_and_not_before() {
    let world = World::with(Settings { outbox_bytes: 20_000, ..Settings::default() }).await;
    let mut bob = world.pipe(500);
    bob.send(from_client::Kind::Hello(world.hello("bob", "phone"))).await;
    assert!(matches!(bob.next().await, Kind::Welcome(_)));
    let (mut alice, _) = world.connect("alice", "phone").await;
    tokio::time::pause();
    // It has long been quiet: that does not count as taking nothing.
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    tokio::time::resume();
    fill(&world, &mut alice, "bob").await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert_eq!(world.gateway.hub().live(), 2);
    // A byte taken is a new minute.
    bob.io.read_u8().await.unwrap();
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert_eq!(world.gateway.hub().live(), 2);
    shown(&world, "sessions_ended_total{code=\"SLOW\"} 1").await;
    world.shows(&["feeds_catching_up 0", "sessions{transport=\"pipe\"} 1"]);
}

#[tokio::test]
async fn a_client_that_had_nothing_to_take_has_its_minute_from_then_on() {
    let world = World::new().await;
    let pong = ServerFrame { id: 7, kind: Some(Kind::Pong(Pong { heads: vec![Head::default()] })) };
    let mut framed = BytesMut::new();
    put_frame(&mut framed, &pong);
    // Filled to the brim by what is written: nothing waits, and not a byte more will be taken.
    let mut bob = world.pipe(20 * framed.len());
    bob.send(from_client::Kind::Hello(world.hello("bob", "phone"))).await;
    assert!(matches!(bob.next().await, Kind::Welcome(_)));
    for _ in 0..20 {
        bob.send(from_client::Kind::Ping(Ping {})).await;
    }
    let (mut alice, _) = world.connect("alice", "phone").await;
    alice.message("carol", "0", "x").await;
    alice.stored().await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(5_000)).await;
    tokio::time::resume();
    alice.message("bob", "1", "x").await;
    alice.stored().await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(55)).await;
    assert_eq!(world.gateway.hub().live(), 2);
    shown(&world, "sessions_ended_total{code=\"SLOW\"} 1").await;
}

#[tokio::test]
async fn a_flood_of_signals_is_dropped_by_its_own_budget() {
    let settings = Settings { signals_per_second: 1, signal_burst: 10, ..Settings::default() };
    let world = World::with(settings).await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    for _ in 0..500 {
        let signal = Signal { user: "bob".into(), kind: "typing".into(), ..Signal::default() };
        alice.send(from_client::Kind::Signal(signal)).await;
    }
    alice.message("bob", "1", "x").await;
    let (mut refused, mut receipt) = (0, None);
    while receipt.is_none() {
        match alice.next().await {
            Kind::Error(error) => {
                assert_eq!(error.code(), Code::RateLimited);
                assert!(error.retry_after_ms > 0);
                refused += 1;
            }
            Kind::Receipt(stored) if stored.status() == ReceiptStatus::Stored => receipt = Some(stored),
            Kind::Receipt(accepted) => assert_eq!(accepted.status(), ReceiptStatus::Accepted),
            other => panic!("{other:?}"),
        }
    }
    assert!((480..=490).contains(&refused), "{refused}");
    let mut signals = 0;
    loop {
        match bob.next().await {
            Kind::Signal(_) => signals += 1,
            Kind::Deliver(deliver) => break assert_eq!(deliver.seq, 1),
            other => panic!("{other:?}"),
        }
    }
    assert!(signals <= 500 - refused, "{signals}");
}

#[tokio::test]
async fn a_drain_says_when_to_come_back_and_frees_everything() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let gateway = world.gateway.clone();
    let (code, ()) = tokio::join!(
        async {
            let code = alice.closed().await;
            drop(alice);
            code
        },
        gateway.drain(1_000)
    );
    assert_eq!(code, CloseCode::Draining);
    assert_eq!(world.gateway.hub().live(), 0);
    assert!(!world.gateway.is_ready());
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let world = World::new().await;
    // Not before: a paused clock runs on while the store's thread works, and the store has limits.
    tokio::time::pause();
    let mut silent = world.pipe(1 << 16);
    assert_eq!(silent.closed().await, CloseCode::Unauthenticated);
}

/// What [`super::run`] makes for a connection, which a thousand idle ones hold a thousand times.
fn task_bytes<T: Transport, F>(_: impl FnOnce(Arc<Shared>, T) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn the_task_of_an_idle_session_is_small() {
    assert!(task_bytes(super::run::<Streams>) <= 512);
    assert!(task_bytes(super::run::<WebSocket<Stream>>) <= 512);
    assert!(size_of::<Session<Streams>>() <= 1_536);
    assert!(size_of::<Session<WebSocket<Stream>>>() <= 1_536);
}
