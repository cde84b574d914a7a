//! A gateway that stops: whoever is on the way in goes too, and the links of others live until its lease has ended.

use tidegate_pipeline::presence::redis;

use super::rpc::Asked;
use super::*;

/// Until a metric of a world is as it should be.
async fn until_shown(world: &World, line: &str) {
    let shown = async || {
        let mut text = String::new();
        encode(&mut text, &world.registry).unwrap();
        text.lines().any(|shown| shown == line).then_some(())
    };
    world.eventually(shown).await;
}

#[tokio::test]
async fn a_link_lives_until_the_lease_has_ended_and_then_ends_in_order() {
    let (one, two) = Asked::two().await;
    let (mut alice, _) = one.world.connect("alice", "phone").await;
    let (mut bob, _) = two.world.connect("bob", "phone").await;
    alice.message("bob", "m1", "over a link").await;
    alice.stored().await;
    assert_eq!(bob.delivered().await.1.content, "over a link");
    until_shown(&one.world, "links_open 1").await;

    let (left, ()) = tokio::join!(bob.closed(), two.world.gateway.drain(1));
    assert_eq!(left, CloseCode::Draining);
    // Pushes by routes that are not dropped yet find the link, and that nobody is there.
    one.world.presence.forget("two");
    alice.message("bob", "m2", "too late").await;
    alice.stored().await;
    one.world.shows(&["links_open 1", "link_breaks_total 0"]);
    two.world.stop.cancel();
    until_shown(&one.world, "links_open 0").await;
    one.world.shows(&["link_breaks_total 0", "link_openings_total{result=\"opened\"} 1"]);
    let leases = one.world.presence.leases().await.unwrap();
    assert!(leases.iter().all(|lease| &*lease.id == "one"), "{leases:?}");
}

#[tokio::test]
async fn a_connection_without_a_hello_holds_up_no_stop() {
    let world = World::new().await;
    let mut silent = world.pipe(1 << 20);
    tokio::join!(
        async {
            assert_eq!(silent.closed().await, CloseCode::Draining);
        },
        world.gateway.drain(1)
    );
}

#[tokio::test]
async fn who_registers_while_all_are_sent_away_goes_too() {
    // Registering waits for a presence that accepts and is silent: longer than it takes to tell everybody to go.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let presence =
        redis::Presence::connect(redis::Settings { url, prefix: "t:".into(), ca_file: None }).unwrap();
    let world = World::of(Settings::default(), ("g", ""), Presence::Redis(presence)).await;
    let mut alice = world.pipe(1 << 20);
    let mut number = world.gateway.shared().draw_session();
    alice.send(from_client::Kind::Hello(world.hello("alice", "phone"))).await;
    // It has its number, and asks presence.
    loop {
        let next = world.gateway.shared().draw_session();
        if next != number + 1 {
            break;
        }
        number = next;
        tokio::task::yield_now().await;
    }
    tokio::join!(
        async {
            assert_eq!(alice.closed().await, CloseCode::Draining);
        },
        world.gateway.drain(1)
    );
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
