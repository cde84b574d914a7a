//! A client whose address changes under it keeps its session and loses nothing, over QUIC and WebTransport.

use std::time::Duration;

use tidegate_client::{Client, Transport};
use tidegate_proto::limits::MAX_LANES;
use tokio::time::interval;

use crate::nat::Nat;
use crate::peer::{Peer, spawn, text_to, within};
use crate::server::Server;

/// Who changes the address.
#[derive(Clone, Copy)]
enum Mover {
    /// The client, as it does when the network changes. Over QUIC; wtransport cannot.
    Client,
    /// A NAT on the way, of which the client knows nothing.
    Nat,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quic_client_with_twenty_new_ports() {
    new_ports(Mover::Client, Transport::Quic, 20, Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quic_client_behind_a_nat_with_twenty_new_ports() {
    new_ports(Mover::Nat, Transport::Quic, 20, Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_transport_client_behind_a_nat_with_twenty_new_ports() {
    new_ports(Mover::Nat, Transport::WebTransport, 20, Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 30 s: run it by `scripts/test faults`"]
async fn a_quic_client_with_a_new_port_every_second_for_30_s() {
    new_ports(Mover::Client, Transport::Quic, 30, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes 30 s: run it by `scripts/test faults`"]
async fn a_web_transport_client_with_a_new_port_every_second_for_30_s() {
    new_ports(Mover::Nat, Transport::WebTransport, 30, Duration::from_secs(1)).await;
}

/// Messages of a period, each way.
const PER_MOVE: u32 = 50;

/// Bob has a new address every `period`, and messages come to him and from him all the time.
async fn new_ports(mover: Mover, transport: Transport, moves: u32, period: Duration) {
    let server = Server::start().await;
    let nat = match mover {
        Mover::Client => None,
        Mover::Nat => Some(Nat::start(server.secure).await),
    };
    let (address, token) =
        (nat.as_ref().map_or(server.secure, |nat| nat.address), server.token("bob", AN_HOUR));
    let config = server.config_at(address, token, transport, "b").lanes(MAX_LANES);
    let mut bob = Peer::connect_by(config).await;
    let session = bob.welcome.session_id.clone();
    let mut carol = Peer::connect(&server, Transport::WebSocket, "carol", "c").await;
    let alice = Peer::connect(&server, Transport::WebSocket, "alice", "a").await;

    let moving = bob.client.clone();
    let traffic = spawn(async move {
        let mut every = interval(period / PER_MOVE);
        for number in 0..moves * PER_MOVE {
            every.tick().await;
            if number % PER_MOVE == PER_MOVE / 2 {
                rebind(&moving, nat.as_ref());
            }
            alice.send("bob", number.to_string()).await;
            within(moving.send(text_to("carol", number.to_string()))).await.unwrap();
        }
        // Who is dropped leaves, and what she has not sent is not sent.
        (alice, nat)
    });
    // `text` takes nothing but messages: a lost session would be an event of its own.
    for number in 0..moves * PER_MOVE {
        assert_eq!(bob.text().await, number.to_string());
        assert_eq!(carol.text().await, number.to_string());
    }
    let _still_there = within(traffic).await.unwrap();
    within(bob.client.ping()).await.unwrap();
    assert!(bob.events.try_recv().is_none(), "the session {session} is the one it was");
}

fn rebind(client: &Client, nat: Option<&Nat>) {
    match nat {
        None => client.rebind().unwrap(),
        Some(nat) => nat.rebind(),
    }
}

const AN_HOUR: Duration = Duration::from_secs(3600);
