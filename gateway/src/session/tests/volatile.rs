//! Volatile channels: past log and store to whoever subscribes at the moment.

use tidegate_pipeline::channels::{Access, Rule};
use tidegate_pipeline::store::{Bounds, Range};
use tidegate_proto::id::ChannelName;
use tidegate_proto::timeline::Timeline;

use super::channels::{hears, publish_all};
use super::rules::rules;
use super::*;

async fn world() -> World {
    let now = Rule { kept: None, ..Rule::default() };
    World::with(rules(&[("now/closed", Rule { publish: Access::Nobody, ..now }), ("now/*", now)])).await
}

impl Client {
    /// The one receipt of a message that is stored nowhere.
    async fn passed(&mut self) -> Receipt {
        let receipt = self.receipt().await;
        assert_eq!((receipt.status(), receipt.seq, receipt.conv_seq), (ReceiptStatus::Stored, 0, 0));
        assert!(receipt.send_time > 0 && receipt.server_id.len() == 32, "{receipt:?}");
        receipt
    }
}

#[tokio::test]
async fn who_subscribes_gets_it_and_nothing_is_kept() {
    let world = world().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    alice.publish("now/a", "before", "x").await;
    alice.passed().await;
    // A position is of a life of the channel in which it was stored.
    let subscribed = bob.subscribed("now/a", Some(7)).await;
    assert_eq!((subscribed.head, subscribed.floor, subscribed.count), (0, 1, 1));
    bob.subscribe("now/b", None).await;
    bob.subscribe("news", None).await;
    for _ in 0..2 {
        assert!(matches!(bob.next().await, Kind::Subscribed(subscribed) if subscribed.head == 0));
    }
    for text in ["1", "2", "3"] {
        alice.publish("now/a", text, text).await;
        assert_eq!(alice.passed().await.local_id, text);
        assert_eq!(bob.posted("now/a").await, (0, text.to_owned()));
    }
    publish_all(&mut alice, "news", 1..=2).await;
    hears(&mut bob, "news", 1..=2).await;

    // Sent again, its sender is told the same and nobody hears it twice.
    alice.publish("now/a", "3", "3").await;
    alice.passed().await;
    alice.publish("now/b", "4", "4").await;
    alice.passed().await;
    assert_eq!(bob.posted("now/b").await, (0, "4".to_owned()));
    world.shows(&["messages_total{stage=\"passed\"} 5", "messages_total{stage=\"stored\"} 2"]);
    let timeline = Timeline::channel(&ChannelName::new("now/a").unwrap());
    let store = &world.gateway.shared().parts.store;
    let page = store.page(&timeline, Range::After(0), 10, 1_000, now_ms()).await.unwrap();
    assert_eq!((page.bounds, page.entries.len()), (Bounds::default(), 0));
}

#[tokio::test]
async fn the_sender_is_a_subscriber_like_others_and_rights_hold() {
    let world = world().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    alice.subscribed("now/a", None).await;
    alice.publish("now/a", "1", "x").await;
    let (mut heard, mut told) = (false, false);
    while !(heard && told) {
        match alice.next().await {
            Kind::Deliver(deliver) => heard = deliver.seq == 0 && deliver.timeline == "c:now/a",
            Kind::Receipt(receipt) => told = receipt.status() == ReceiptStatus::Stored,
            other => panic!("{other:?}"),
        }
    }
    alice.publish("now/closed", "2", "x").await;
    assert_eq!(alice.receipt().await.code(), Code::PermissionDenied);

    // A backend's goes the same way.
    let submitter = world.gateway.submitter();
    let msg = Msg { channel: "now/a".into(), content: "y".into(), ..Msg::default() };
    submitter.submit(UserId::new("shop").unwrap(), msg).await.unwrap();
    assert_eq!(alice.posted("now/a").await, (0, "y".to_owned()));
}

#[tokio::test]
async fn a_subscriber_that_reads_slowly_misses_some_and_holds_up_nobody() {
    let now = Rule { kept: None, ..Rule::default() };
    let settings = Settings { outbox_bytes: 8 * 1024, messages_per_second: 0, ..rules(&[("now/*", now)]) };
    let world = World::with(settings).await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let mut slow = world.pipe(512);
    slow.send(from_client::Kind::Hello(world.hello("slow", "phone"))).await;
    assert!(matches!(slow.next().await, Kind::Welcome(_)));
    slow.subscribed("now/a", None).await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    bob.subscribed("now/a", None).await;
    let content = "x".repeat(1_000);
    for number in 1..=100_i64 {
        alice.publish("now/a", &number.to_string(), &content).await;
        alice.passed().await;
        assert_eq!(bob.posted("now/a").await.0, 0);
    }
    let mut text = String::new();
    encode(&mut text, &world.registry).unwrap();
    let behind = ["volatile_behind", "channel_full"].iter().map(|reason| {
        let line = format!("drops_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|shown| shown.strip_prefix(&*line)).unwrap().parse::<u64>().unwrap()
    });
    assert!(behind.sum::<u64>() > 50, "{text}");
    // When it reads again, what comes then reaches it.
    for number in 1.. {
        alice.publish("now/a", &format!("last-{number}"), "last").await;
        alice.passed().await;
        if slow.posted("now/a").await.1 == "last" {
            break;
        }
    }
}
