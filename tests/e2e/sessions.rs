//! The life of a session: replaced by a newer one, ended by its token, kept by a new token.

use std::time::Duration;

use tidegate_client::v1::CloseCode;
use tidegate_client::{Client, ConnectError, RequestError, Transport};

use crate::peer::{Peer, within};
use crate::server::Server;

over_each_transport!(
    a_newer_session_of_a_device_replaces_the_older,
    a_session_ends_with_its_token,
    a_new_token_keeps_the_session,
    a_bad_token_gets_no_session,
);

async fn a_newer_session_of_a_device_replaces_the_older(transport: Transport) {
    let server = Server::start().await;
    let mut first = Peer::connect(&server, transport, "bob", "b").await;
    let mut second = Peer::connect(&server, transport, "bob", "b").await;
    assert_eq!(first.closed().await, CloseCode::Replaced);
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    alice.store("bob", "hello").await;
    assert_eq!(second.text().await, "hello");
    // One that says it is older does not get in.
    let attempt = second.client.attempt();
    let third =
        Peer::connect_by(server.config(transport, "bob", "b").last_attempt(attempt + 1_000_000)).await;
    assert_eq!(second.closed().await, CloseCode::Replaced);
    let older = within(Client::connect(server.config(transport, "bob", "b"))).await;
    assert!(matches!(&older, Err(ConnectError::Refused { code: CloseCode::Replaced, .. })), "{older:?}");
    within(third.client.ping()).await.unwrap();
}

async fn a_session_ends_with_its_token(transport: Transport) {
    let server = Server::start().await;
    let token = server.token("bob", Duration::from_secs(2));
    let mut bob = Peer::connect_by(server.config_by(token, transport, "b")).await;
    assert_eq!(bob.closed().await, CloseCode::Unauthenticated);
    let token = server.token("bob", Duration::from_secs(60));
    Peer::connect_by(server.config_by(token, transport, "b")).await;
}

async fn a_new_token_keeps_the_session(transport: Transport) {
    let server = Server::start().await;
    let short = server.token("bob", Duration::from_secs(2));
    let longer = server.token("bob", Duration::from_secs(4));
    let mut refreshed = Peer::connect_by(server.config_by(short, transport, "refreshed")).await;
    let mut clock = Peer::connect_by(server.config_by(longer, transport, "clock")).await;
    within(refreshed.client.refresh(server.token("bob", Duration::from_secs(600)))).await.unwrap();
    // A token of somebody else changes nothing.
    let other = within(refreshed.client.refresh(server.token("carol", Duration::from_secs(600)))).await;
    assert!(matches!(&other, Err(RequestError::Refused(_))), "{other:?}");
    // A session with a token that ends later than the first one did says when that time has come.
    assert_eq!(clock.closed().await, CloseCode::Unauthenticated);
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    alice.store("bob", "still there").await;
    assert_eq!(refreshed.text().await, "still there");
}

async fn a_bad_token_gets_no_session(transport: Transport) {
    let server = Server::start().await;
    for token in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ."] {
        let refused = within(Client::connect(server.config_by(token.to_owned(), transport, "b"))).await;
        let is_unauthenticated =
            matches!(&refused, Err(ConnectError::Refused { code: CloseCode::Unauthenticated, .. }));
        assert!(is_unauthenticated, "{token:?}: {refused:?}");
    }
}
