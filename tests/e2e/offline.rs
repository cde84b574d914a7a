//! Who was away gets everything, in order and once, from wherever he left off.

use std::sync::Arc;

use tidegate_client::{Position, Start, Transport};

use crate::peer::{Peer, text, within};
use crate::server::Server;

over_each_transport!(
    ten_thousand_messages_wait_for_who_is_away,
    a_cursor_from_long_ago_is_good,
    a_cursor_beyond_the_head_starts_over,
    only_what_is_new_when_that_is_asked_for,
);

/// Sends `count` numbers to bob and waits until all are stored.
async fn send_numbers(server: &Server, transport: Transport, count: i64) {
    let alice = Peer::connect(server, transport, "alice", "a").await;
    let mut handles = Vec::new();
    for number in 1..=count {
        handles.push(alice.send("bob", number.to_string()).await);
    }
    for (mut handle, number) in handles.into_iter().zip(1..) {
        let stored = within(handle.stored()).await.unwrap();
        assert_eq!((stored.seq, stored.conv_seq), (number, number));
    }
    alice.leave().await;
}

async fn ten_thousand_messages_wait_for_who_is_away(transport: Transport) {
    const COUNT: i64 = 10_000;
    let server = Server::start().await;
    send_numbers(&server, transport, COUNT).await;

    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    for number in 1..=COUNT / 2 {
        let message = bob.message_over_reconnects().await;
        assert_eq!((message.seq, text(&message)), (number, number.to_string()));
        if number == COUNT / 4 {
            bob.client.drop_connection().await;
        }
    }
    // In the next life of the program the server knows where it was.
    bob.leave().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let first = bob.message().await.seq;
    // What was taken last may come again, since a client acknowledges what the application came back after.
    assert!((COUNT / 2..=COUNT / 2 + 1).contains(&first), "{first}");
    for number in first + 1..=COUNT {
        let message = bob.message().await;
        assert_eq!((message.seq, text(&message)), (number, number.to_string()));
    }
}

async fn a_cursor_from_long_ago_is_good(transport: Transport) {
    let server = Server::start().await;
    send_numbers(&server, transport, 300).await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    for number in 1..=300 {
        assert_eq!(bob.message().await.seq, number);
    }
    let epoch: Arc<str> = bob.welcome.epoch.as_str().into();
    bob.leave().await;
    let position = Position { epoch, cursor: 3 };
    let config = server.config(transport, "bob", "b").start(Start::At(position));
    let mut bob = Peer::connect_by(config).await;
    assert_eq!(bob.welcome.start, 3);
    for number in 4..=300 {
        assert_eq!(bob.message().await.seq, number);
    }
}

async fn a_cursor_beyond_the_head_starts_over(transport: Transport) {
    let server = Server::start().await;
    send_numbers(&server, transport, 5).await;
    let epoch = {
        let bob = Peer::connect(&server, transport, "bob", "b").await;
        bob.welcome.epoch.clone()
    };
    for (epoch, cursor) in [(epoch.as_str(), 6), ("another life", 2)] {
        let position = Position { epoch: epoch.into(), cursor };
        let config = server.config(transport, "bob", "other").start(Start::At(position));
        let mut bob = Peer::connect_by(config).await;
        for number in 1..=5 {
            assert_eq!(bob.message().await.seq, number);
        }
    }
}

async fn only_what_is_new_when_that_is_asked_for(transport: Transport) {
    let server = Server::start().await;
    send_numbers(&server, transport, 5).await;
    let config = server.config(transport, "bob", "b").start(Start::Head);
    let mut bob = Peer::connect_by(config).await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    alice.store("bob", "new").await;
    let message = bob.message().await;
    assert_eq!((message.seq, text(&message).as_str()), (6, "new"));
}
