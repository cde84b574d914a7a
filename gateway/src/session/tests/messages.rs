//! Messages, history and signals between sessions, and what is refused of them.

use super::*;

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
