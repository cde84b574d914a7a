//! Channels whose beginning retention has cut off: before somebody subscribes, and while he reads.

use tidegate_pipeline::store::Retention;
use tidegate_proto::v1::Subscribe;

use super::*;

impl World {
    /// Retention keeps so many entries of a channel.
    async fn keep_last(&self, entries: u64) {
        let (remember_ms, cursor_ms) = (u64::MAX >> 1, u64::MAX >> 1);
        let retention = Retention { max_age_ms: None, max_entries: Some(entries), remember_ms, cursor_ms };
        let store = &self.gateway.shared().parts.store;
        while store.retain(retention, now_ms(), 1_000).await.unwrap().entries > 0 {}
    }
}

async fn publish(client: &mut Client, number: i64, content: &str) {
    let msg = Msg { channel: "news".into(), local_id: number.to_string(), ..Msg::default() };
    let msg = Some(Msg { content: content.to_owned().into(), ..msg });
    client.send(from_client::Kind::Send(Send { msg })).await;
    assert_eq!(client.stored().await.conv_seq, number);
}

async fn subscribe(client: &mut Client, after: i64) {
    let subscribe = Subscribe { channel: "news".into(), after: Some(after) };
    client.send(from_client::Kind::Subscribe(subscribe)).await;
    assert!(matches!(client.next().await, Kind::Subscribed(_)));
}

fn seq(kind: Kind) -> i64 {
    match kind {
        Kind::Deliver(deliver) => deliver.seq,
        other => panic!("no entry: {other:?}"),
    }
}

#[tokio::test]
async fn a_position_below_the_floor_is_told_and_goes_on_from_it() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    for number in 1..=10 {
        publish(&mut alice, number, "x").await;
    }
    world.keep_last(3).await;
    for (after, is_told) in [(0, true), (6, true), (7, false)] {
        let (mut bob, _) = world.connect("bob", &format!("phone-{after}")).await;
        subscribe(&mut bob, after).await;
        if is_told {
            let gone = bob.next().await;
            assert!(
                matches!(&gone, Kind::HistoryGone(gone) if gone.floor == 8 && gone.timeline == "c:news"),
                "{gone:?}"
            );
        }
        for number in 8..=10 {
            assert_eq!(seq(bob.next().await), number);
        }
    }
}

#[tokio::test]
async fn a_slow_subscriber_whom_retention_overtakes_gets_what_it_keeps() {
    let world =
        World::with(Settings { outbox_bytes: 8 * 1024, messages_per_second: 0, ..Settings::default() }).await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let mut slow = world.pipe(512);
    slow.send(from_client::Kind::Hello(world.hello("slow", "phone"))).await;
    assert!(matches!(slow.next().await, Kind::Welcome(_)));
    subscribe(&mut slow, 0).await;
    let content = "x".repeat(1_000);
    for number in 1..=600 {
        publish(&mut alice, number, &content).await;
    }
    world.keep_last(100).await;
    let (mut next, mut told) = (1, 0);
    while next <= 600 {
        match slow.next().await {
            Kind::HistoryGone(gone) => {
                told += 1;
                assert!(gone.floor == 501 && next < 501, "{gone:?} where {next} is due");
                next = gone.floor;
            }
            other => {
                assert_eq!(seq(other), next);
                next += 1;
            }
        }
    }
    assert_eq!(told, 1, "once, and before what is left");
}
