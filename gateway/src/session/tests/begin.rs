//! How a session begins: its Hello, where it starts, which of a device's sessions stays, and its token.

use super::*;

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
    let folder = world.end().await;

    let again = tidegate_proto::id::DeviceId::new("phone").unwrap();
    let config = sqlite::Config::new(folder.path().join("store.sqlite"));
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
