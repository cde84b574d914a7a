//! Channels in a whole gateway: live, after a seq, twice, too many, and what they leave of each other.

use tidegate_pipeline::presence::interest::Interest;
use tidegate_proto::v1::{Subscribe, Subscribed, Unsubscribe};

use super::*;

impl Client {
    pub(super) async fn publish(&mut self, channel: &str, local_id: &str, content: &str) {
        let msg = Msg { channel: channel.into(), local_id: local_id.into(), ..Msg::default() };
        let msg = Some(Msg { content: content.to_owned().into(), ..msg });
        self.send(from_client::Kind::Send(Send { msg })).await;
    }

    pub(super) async fn subscribe(&mut self, channel: &str, after: Option<i64>) {
        self.send(from_client::Kind::Subscribe(Subscribe { channel: channel.into(), after })).await;
    }

    pub(super) async fn subscribed(&mut self, channel: &str, after: Option<i64>) -> Subscribed {
        self.subscribe(channel, after).await;
        match self.next().await {
            Kind::Subscribed(subscribed) => subscribed,
            other => panic!("not subscribed: {other:?}"),
        }
    }

    /// The next message of a channel: its seq and its content.
    pub(super) async fn posted(&mut self, channel: &str) -> (i64, String) {
        match self.next().await {
            Kind::Deliver(Deliver { timeline, seq, entry: Some(deliver::Entry::Msg(msg)) }) => {
                assert_eq!((timeline, msg.conv_seq), (format!("c:{channel}"), seq));
                (seq, String::from_utf8(msg.content.to_vec()).unwrap())
            }
            other => panic!("no message of a channel: {other:?}"),
        }
    }

    pub(super) async fn refused(&mut self) -> Code {
        match self.next().await {
            Kind::Error(error) => Code::try_from(error.code).unwrap(),
            other => panic!("no error: {other:?}"),
        }
    }
}

/// Publishes `from` to `to`, each confirmed before the next.
pub(super) async fn publish_all(client: &mut Client, channel: &str, numbers: std::ops::RangeInclusive<i64>) {
    for number in numbers {
        client.publish(channel, &format!("{channel}-{number}"), &number.to_string()).await;
        let stored = client.stored().await;
        assert_eq!((stored.seq, stored.conv_seq), (0, number), "a channel's message is in no inbox");
    }
}

pub(super) async fn hears(client: &mut Client, channel: &str, numbers: std::ops::RangeInclusive<i64>) {
    for number in numbers {
        assert_eq!(client.posted(channel).await, (number, number.to_string()));
    }
}

#[tokio::test]
async fn a_subscriber_hears_what_comes_from_now_on_or_from_a_seq_on() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    publish_all(&mut alice, "news/sport", 1..=5).await;

    let (mut bob, _) = world.connect("bob", "phone").await;
    let now = bob.subscribed("news/sport", None).await;
    assert_eq!((now.head, now.floor, now.count), (5, 1, 1));
    let (mut carol, _) = world.connect("carol", "phone").await;
    let later = carol.subscribed("news/sport", Some(2)).await;
    assert_eq!((later.head, later.count), (5, 2));
    hears(&mut carol, "news/sport", 3..=5).await;

    publish_all(&mut alice, "news/sport", 6..=8).await;
    hears(&mut bob, "news/sport", 6..=8).await;
    hears(&mut carol, "news/sport", 6..=8).await;

    bob.send(from_client::Kind::Unsubscribe(Unsubscribe { channel: "news/sport".into() })).await;
    assert!(matches!(bob.next().await, Kind::Unsubscribed(ended) if ended.channel == "news/sport"));
    publish_all(&mut alice, "news/sport", 9..=10).await;
    hears(&mut carol, "news/sport", 9..=10).await;
    let again = bob.subscribed("news/sport", Some(8)).await;
    assert_eq!((again.head, again.count), (10, 2));
    hears(&mut bob, "news/sport", 9..=10).await;
}

#[tokio::test]
async fn who_asks_again_and_again_hears_of_subscribers_that_come_elsewhere() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    assert_eq!(alice.subscribed("@all", None).await.count, 1);
    let channel = tidegate_proto::id::ChannelName::new("@all").unwrap();
    for (subscribers, count) in [(5, 6), (2, 3)] {
        let there = Interest { gateway: "elsewhere".into(), incarnation: 1, subscribers };
        world.presence.show_interest(&channel, &there).await.unwrap();
        alice.subscribed("@all", None).await;
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(7)).await;
        tokio::time::resume();
        assert_eq!(alice.subscribed("@all", None).await.count, count);
    }
}

#[tokio::test]
async fn who_publishes_hears_it_as_a_subscriber_too() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    alice.subscribed("@all", None).await;
    alice.publish("@all", "one", "1").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(match alice.next().await {
            Kind::Receipt(receipt) => receipt.status().as_str_name().to_owned(),
            Kind::Deliver(deliver) => format!("{} {}", deliver.timeline, deliver.seq),
            other => panic!("{other:?}"),
        });
    }
    seen.sort();
    assert_eq!(seen, ["ACCEPTED", "STORED", "c:@all 1"]);
    alice.publish("@all", "one", "1").await;
    assert_eq!(alice.stored().await.conv_seq, 1, "sent again it is answered like the first time");
}

#[tokio::test]
async fn a_position_beyond_the_head_begins_at_the_floor() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    publish_all(&mut alice, "news", 1..=3).await;
    let subscribed = alice.subscribed("news", Some(99)).await;
    assert_eq!(subscribed.head, 3);
    hears(&mut alice, "news", 1..=3).await;
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_said() {
    let settings = Settings { max_subscriptions: 2, ..Settings::default() };
    let world = World::with(settings).await;
    let (mut alice, welcome) = world.connect("alice", "phone").await;
    assert_eq!(welcome.limits.unwrap().max_subscriptions, 2);
    for (channel, after, code) in [
        ("", None, Code::InvalidArgument),
        ("a b", None, Code::InvalidArgument),
        ("news", Some(-1), Code::InvalidArgument),
        ("@system", None, Code::PermissionDenied),
    ] {
        alice.subscribe(channel, after).await;
        assert_eq!(alice.refused().await, code, "{channel}");
    }
    alice.subscribed("one", None).await;
    alice.subscribed("two", None).await;
    alice.subscribe("three", None).await;
    assert_eq!(alice.refused().await, Code::Limit);
    assert_eq!(alice.subscribed("two", Some(0)).await.head, 0, "who subscribes already is told how it is");
    alice.send(from_client::Kind::Unsubscribe(Unsubscribe { channel: "three".into() })).await;
    assert_eq!(alice.refused().await, Code::NotFound);
    alice.publish("@system", "x", "x").await;
    assert_eq!(alice.receipt().await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn many_channels_come_each_in_its_order_beside_the_inbox() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    let channel = |number: usize| format!("c/{number}");
    for number in 0..200 {
        bob.subscribe(&channel(number), Some(0)).await;
    }
    for _ in 0..200 {
        assert!(matches!(bob.next().await, Kind::Subscribed(_)));
    }
    for round in 0..3 {
        for number in 0..200 {
            alice.publish(&channel(number), &format!("{round}-{number}"), "x").await;
            alice.stored().await;
        }
        alice.message("bob", &format!("to bob {round}"), "x").await;
        alice.stored().await;
    }
    let mut heads = std::collections::HashMap::<String, i64>::new();
    for _ in 0..603 {
        let Kind::Deliver(deliver) = bob.next().await else { panic!("no Deliver") };
        let head = heads.entry(deliver.timeline).or_default();
        assert_eq!(deliver.seq, *head + 1);
        *head = deliver.seq;
    }
    assert_eq!(heads.len(), 201);
}

#[tokio::test]
async fn a_subscriber_that_reads_slowly_gets_everything_and_holds_up_nobody() {
    let world =
        World::with(Settings { outbox_bytes: 8 * 1024, messages_per_second: 0, ..Settings::default() }).await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let mut slow = world.pipe(512);
    slow.send(from_client::Kind::Hello(world.hello("slow", "phone"))).await;
    assert!(matches!(slow.next().await, Kind::Welcome(_)));
    slow.subscribed("news", None).await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    bob.subscribed("news", None).await;
    let content = "x".repeat(1_000);
    for number in 1..=600_i64 {
        alice.publish("news", &number.to_string(), &content).await;
        assert_eq!(alice.stored().await.conv_seq, number);
        assert_eq!(bob.posted("news").await.0, number);
    }
    for number in 1..=600 {
        assert_eq!(slow.posted("news").await.0, number);
    }
}

#[tokio::test]
async fn presence_knows_of_a_subscriber_and_again_when_its_lease_was_lost() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    alice.subscribed("news", None).await;
    let channel = tidegate_proto::id::ChannelName::new("news").unwrap();
    let interests =
        async || world.presence.interests(std::slice::from_ref(&channel)).await.unwrap().remove(0);
    let shown = interests().await;
    let incarnation = world.gateway.shared().incarnation();
    assert_eq!((shown.len(), shown[0].incarnation, shown[0].subscribers), (1, incarnation, 1));

    world.presence.drop_interest(&channel, &shown[0]).await.unwrap();
    let (mut bob, _) = world.connect("bob", "phone").await;
    publish_all(&mut bob, "news", 1..=3).await;
    world.gateway.shared().draw_incarnation();
    world.gateway.shared().channels.show_all();
    let until = tokio::time::Instant::now() + LIMIT;
    while interests().await.first().is_none_or(|shown| shown.incarnation == incarnation) {
        assert!(tokio::time::Instant::now() < until, "not shown again");
        tokio::task::yield_now().await;
    }
    publish_all(&mut bob, "news", 4..=6).await;
    hears(&mut alice, "news", 1..=6).await;
}

#[tokio::test]
async fn nothing_is_left_in_presence_of_a_gateway_that_stopped() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    for number in 0..300 {
        alice.subscribed(&format!("c/{number}"), None).await;
        if number >= 100 {
            alice.send(from_client::Kind::Unsubscribe(Unsubscribe { channel: format!("c/{number}") })).await;
            assert!(matches!(alice.next().await, Kind::Unsubscribed(_)));
        }
    }
    let channel = |number: usize| tidegate_proto::id::ChannelName::new(&format!("c/{number}")).unwrap();
    let channels: Vec<_> = (0..300).map(channel).collect();
    let presence = world.presence.clone();
    let shown = async || presence.interests(&channels).await.unwrap().iter().flatten().count();
    assert_eq!(shown().await, 300, "those of whom the last one went a moment ago too");
    drop(alice);
    world.end().await;
    assert_eq!(shown().await, 0);
}

#[tokio::test]
async fn a_subscribe_that_is_taken_back_before_it_is_open_is_answered_too() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    // Neither waits for the store.
    alice.subscribe("news", None).await;
    alice.subscribe("news", None).await;
    alice.send(from_client::Kind::Unsubscribe(Unsubscribe { channel: "news".into() })).await;
    for _ in 0..2 {
        assert_eq!(alice.refused().await, Code::NotFound);
    }
    assert!(matches!(alice.next().await, Kind::Unsubscribed(_)));
    assert_eq!(alice.subscribed("news", None).await.head, 0);
}

#[tokio::test]
async fn the_interest_in_a_channel_ends_a_minute_after_its_last_subscriber() {
    let world = World::new().await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    for channel in ["kept", "left"] {
        alice.subscribed(channel, None).await;
    }
    alice.send(from_client::Kind::Unsubscribe(Unsubscribe { channel: "left".into() })).await;
    assert!(matches!(alice.next().await, Kind::Unsubscribed(_)));
    world.shows(&["subscriptions 1"]);
    let names = ["kept", "left"].map(|name| tidegate_proto::id::ChannelName::new(name).unwrap());
    let shown = async || {
        let found = world.presence.interests(&names).await.unwrap();
        found.iter().map(|interests| interests.len()).collect::<Vec<_>>()
    };
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_eq!(shown().await, [1, 1], "whoever comes back is there at once");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shown().await, [1, 0]);
    assert_eq!(world.gateway.shared().channels.count(&names[0]), 1);
}

#[tokio::test]
async fn of_very_many_idle_channels_none_is_kept() {
    let world = World::new().await;
    let channels = world.gateway.shared().channels.clone();
    let mailbox = crate::hub::mailbox::Mailbox::new(1, 1 << 20, Arc::default());
    let names: Vec<_> = (0..10_500)
        .map(|number| tidegate_proto::id::ChannelName::new(&format!("flood/{number}")).unwrap())
        .collect();
    let places: Vec<_> = names.iter().map(|name| channels.join(name.clone(), &mailbox, 1)).collect();
    let shown = async || world.presence.interests(&names).await.unwrap().iter().flatten().count();
    until(async || shown().await == names.len()).await;
    drop(places);
    until(async || shown().await == 0).await;
}

/// Waits until something holds that nothing tells.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let holding = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, holding).await.expect("it holds in time");
}
