//! Channels: live, after a seq, over a lost connection and a killed server, many on one session.

use std::collections::HashMap;

use tidegate_client::v1::{Code, Msg};
use tidegate_client::{Event, RequestError, SendError, StartAt, Stored, Transport};

use crate::peer::{Peer, text, within};
use crate::server::Server;

over_each_transport!(
    subscribers_hear_what_comes_and_what_was_there,
    a_subscription_lives_through_lost_connections,
    a_subscription_lives_through_a_killed_server,
    two_hundred_channels_on_one_session,
    to_subscribe_and_unsubscribe_again_and_again_loses_nothing,
    what_is_not_allowed_is_said,
);

impl Peer {
    async fn publish(&self, channel: &str, content: impl Into<String>) -> Stored {
        let msg = Msg { channel: channel.into(), content: content.into().into(), ..Msg::default() };
        within(within(self.client.send(msg)).await.expect("the client lives").stored())
            .await
            .expect("it is stored")
    }

    async fn subscribe(&self, channel: &str, start: StartAt) -> i64 {
        within(self.client.subscribe(channel, start)).await.expect("it may").head
    }

    /// The next message of a channel, over reconnects: its seq and its text.
    async fn posted(&mut self, channel: &str) -> (i64, String) {
        let message = self.message_over_reconnects().await;
        assert_eq!(message.timeline, format!("c:{channel}"));
        assert_eq!(message.msg.conv_seq, message.seq);
        (message.seq, text(&message))
    }

    async fn hears(&mut self, channel: &str, numbers: std::ops::RangeInclusive<i64>) {
        for number in numbers {
            assert_eq!(self.posted(channel).await, (number, number.to_string()));
        }
    }
}

async fn publish_all(peer: &Peer, channel: &str, numbers: std::ops::RangeInclusive<i64>) {
    for number in numbers {
        let stored = peer.publish(channel, number.to_string()).await;
        assert_eq!((stored.seq, stored.conv_seq), (0, number));
    }
}

async fn subscribers_hear_what_comes_and_what_was_there(transport: Transport) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    publish_all(&alice, "news/sport", 1..=5).await;
    let mut live = Peer::connect(&server, transport, "bob", "b").await;
    let mut late = Peer::connect(&server, transport, "carol", "c").await;
    let mut all = Peer::connect(&server, transport, "dave", "d").await;
    assert_eq!(live.subscribe("news/sport", StartAt::Head).await, 5);
    assert_eq!(late.subscribe("news/sport", StartAt::After(3)).await, 5);
    assert_eq!(all.subscribe("news/sport", StartAt::Floor).await, 5);
    let asked = within(all.client.subscribe("news/sport", StartAt::Head)).await.unwrap();
    assert_eq!((asked.head, asked.floor, asked.count), (5, 1, 3), "whoever subscribes is told how it is");
    publish_all(&alice, "news/sport", 6..=9).await;
    live.hears("news/sport", 6..=9).await;
    late.hears("news/sport", 4..=9).await;
    all.hears("news/sport", 1..=9).await;
    let page = within(live.client.pull("c:news/sport", tidegate_client::History::After(7), 0)).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [8, 9]);
}

async fn a_subscription_lives_through_lost_connections(transport: Transport) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    bob.subscribe("news", StartAt::Head).await;
    for cut in 0..5 {
        publish_all(&alice, "news", cut * 10 + 1..=cut * 10 + 5).await;
        bob.client.drop_connection().await;
        publish_all(&alice, "news", cut * 10 + 6..=cut * 10 + 10).await;
    }
    bob.hears("news", 1..=50).await;
}

async fn a_subscription_lives_through_a_killed_server(transport: Transport) {
    let mut server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    bob.subscribe("news", StartAt::Head).await;
    publish_all(&alice, "news", 1..=10).await;
    server.kill().await;
    server.start_again().await;
    publish_all(&alice, "news", 11..=20).await;
    bob.hears("news", 1..=20).await;
}

async fn two_hundred_channels_on_one_session(transport: Transport) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let channel = |number: usize| format!("room/{number}");
    for number in 0..200 {
        bob.subscribe(&channel(number), StartAt::Floor).await;
    }
    let one_more = within(bob.client.subscribe("one/more", StartAt::Head)).await;
    assert!(
        matches!(&one_more, Err(RequestError::Refused(refusal)) if refusal.code == Code::Limit),
        "{one_more:?}"
    );
    for number in 0..200 {
        alice.publish(&channel(number), "1").await;
    }
    bob.client.drop_connection().await;
    for number in 0..200 {
        alice.publish(&channel(number), "2").await;
    }
    let mut heads = HashMap::<String, i64>::new();
    for _ in 0..400 {
        let message = bob.message_over_reconnects().await;
        let head = heads.entry(message.timeline).or_default();
        assert_eq!(message.seq, *head + 1);
        *head = message.seq;
    }
    assert_eq!(heads.len(), 200);
}

async fn to_subscribe_and_unsubscribe_again_and_again_loses_nothing(transport: Transport) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let mut last = 0;
    for round in 1..=30_i64 {
        alice.publish("news", round.to_string()).await;
        bob.subscribe("news", StartAt::After(last)).await;
        let (seq, _) = bob.posted("news").await;
        assert_eq!(seq, last + 1);
        last = seq;
        bob.client.unsubscribe("news").await;
    }
    // Nothing comes of what is not subscribed to any more.
    alice.publish("news", "unheard").await;
    alice.store("bob", "heard").await;
    assert_eq!(bob.text().await, "heard");
}

async fn what_is_not_allowed_is_said(transport: Transport) {
    let server = Server::start().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    for (channel, start, code) in [
        ("", StartAt::Head, Code::InvalidArgument),
        ("a b", StartAt::Head, Code::InvalidArgument),
        ("news", StartAt::After(-1), Code::InvalidArgument),
        ("@system", StartAt::Head, Code::PermissionDenied),
    ] {
        let refused = within(bob.client.subscribe(channel, start)).await;
        assert!(
            matches!(&refused, Err(RequestError::Refused(refusal)) if refusal.code == code),
            "{channel}: {refused:?}"
        );
    }
    let msg = Msg { channel: "@system".into(), ..Msg::default() };
    let refused = within(within(bob.client.send(msg)).await.unwrap().stored()).await;
    assert!(matches!(&refused, Err(SendError::Rejected(refusal)) if refusal.code == Code::PermissionDenied));
    bob.subscribe("@all", StartAt::Head).await;
    bob.publish("@all", "hello").await;
    assert!(matches!(bob.event().await, Event::Message(message) if message.timeline == "c:@all"));
}
