//! Clients that take slowly or say nothing, and what an idle session costs.

use super::*;

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
        alice.stored().await;
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
async fn a_client_that_says_nothing_is_closed() {
    let world = World::new().await;
    // Not before: a paused clock runs on while the store's thread works, and the store has limits.
    tokio::time::pause();
    let mut silent = world.pipe(1 << 16);
    assert_eq!(silent.closed().await, CloseCode::Unauthenticated);
}

/// What [`crate::session::run`] makes for a connection, which a thousand idle ones hold a thousand times.
fn task_bytes<T: Transport, F>(_: impl FnOnce(Arc<Shared>, T) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn the_task_of_an_idle_session_is_small() {
    assert!(task_bytes(crate::session::run::<Streams>) <= 512);
    assert!(task_bytes(crate::session::run::<WebSocket<Stream>>) <= 512);
    assert!(size_of::<Session<Streams>>() <= 1_536);
    assert!(size_of::<Session<WebSocket<Stream>>>() <= 1_536);
}
