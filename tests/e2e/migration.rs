//! A QUIC client whose address changes under it keeps its session and loses nothing.

use std::time::Duration;

use tidegate_client::Transport;
use tokio::time::interval;

use crate::peer::{Peer, spawn, text_to, within};
use crate::server::Server;

/// Both directions at once: what bob is sent, and what he sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_new_ports_in_one_session() {
    const MOVES: i64 = 20;
    const PER_MOVE: i64 = 50;
    let server = Server::start().await;
    let mut bob = Peer::connect(&server, Transport::Quic, "bob", "b").await;
    let session = bob.welcome.session_id.clone();
    let mut carol = Peer::connect(&server, Transport::WebSocket, "carol", "c").await;
    let alice = Peer::connect(&server, Transport::WebSocket, "alice", "a").await;

    let (moving, answering) = (bob.client.clone(), bob.client.clone());
    let traffic = spawn(async move {
        let mut every = interval(Duration::from_millis(200));
        for step in 0..MOVES {
            every.tick().await;
            moving.rebind().unwrap();
            for number in step * PER_MOVE + 1..=(step + 1) * PER_MOVE {
                alice.send("bob", number.to_string()).await;
                within(answering.send(text_to("carol", number.to_string()))).await.unwrap();
            }
        }
        // Who is dropped leaves, and what she has not sent is not sent.
        alice
    });
    // `text` takes nothing but messages: a lost session would be an event of its own.
    for number in 1..=MOVES * PER_MOVE {
        assert_eq!(bob.text().await, number.to_string());
        assert_eq!(carol.text().await, number.to_string());
    }
    let _alice = within(traffic).await.unwrap();
    within(bob.client.ping()).await.unwrap();
    assert!(bob.events.try_recv().is_none(), "the session {session} is the one it was");
}
