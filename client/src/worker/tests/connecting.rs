//! How a session begins: Hello, the token, the next transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_proto::v1::{Error, Pong, Welcome, client_frame, server_frame, start};
use tokio::time::Instant;

use super::peer::{self, Peer, Stage};
use super::{disconnect, position, within};
use crate::v1::CloseCode;
use crate::{ConnectError, Disconnect, Event, Position, Start, Transport};

#[tokio::test(start_paused = true)]
async fn hello_says_who_and_from_where() {
    for (start, wire) in [
        (Start::Stored, None),
        (Start::Head, Some(start::From::Head(true))),
        (Start::Floor, Some(start::From::Floor(true))),
        (Start::At(Position { epoch: "e1".into(), cursor: 7 }), position(7).unwrap().from),
    ] {
        let mut stage = Stage::new();
        let config = stage.config().device("d1").token("t").lanes(99).last_attempt(i64::MAX / 2).start(start);
        let connecting = stage.connect(config);
        let (mut peer, hello) = Peer::greeted(&mut stage).await;
        assert_eq!((&*hello.device_id, &*hello.token, hello.lanes), ("d1", "t", 8));
        assert_eq!(hello.attempt, i64::MAX / 2 + 1);
        assert_eq!(hello.start.and_then(|start| start.from), wire);
        peer.welcome(Welcome { start: 7, head: 9, ..peer::welcome() }).await;
        let (client, mut events) = connecting.await.unwrap().unwrap();
        assert_eq!(client.attempt(), i64::MAX / 2 + 1);
        assert!(matches!(events.recv().await, Some(Event::Connected(connected)) if !connected.reset));
        assert_eq!(client.position(), Some(Position { epoch: "e1".into(), cursor: 7 }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut stage = Stage::new();
    let count = asked.clone();
    let config = stage.config().token_from(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok(format!("token {number}")) }
    });
    let connecting = stage.connect(config);
    for number in 0..2 {
        let (mut peer, hello) = Peer::greeted(&mut stage).await;
        assert_eq!(hello.token, format!("token {number}"));
        let error = Error { close: CloseCode::Unauthenticated.into(), ..Error::default() };
        peer.send(server_frame::Kind::Error(error)).await;
    }
    let error = connecting.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::Refused { code: CloseCode::Unauthenticated, .. }));
    assert!(error.is_final());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_replaced_when_there_is_a_source() {
    let mut stage = Stage::new();
    let config = stage.config().token_from(async || Ok("fresh".to_owned()));
    let (mut peer, _client, mut events) = stage.started(config).await;
    let error = Error { close: CloseCode::Unauthenticated.into(), ..Error::default() };
    peer.send(server_frame::Kind::Error(error)).await;
    assert!(matches!(disconnect(&mut events).await, Disconnect::Closed { .. }));
    let (mut peer, hello) = Peer::greeted(&mut stage).await;
    assert_eq!(hello.token, "fresh");
    peer.welcome(peer::welcome()).await;
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_for_the_next_session_too() {
    let (mut peer, client, mut events, mut stage) = Stage::session().await;
    let refresh = peer::spawn(async move { client.refresh("new").await });
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Refresh(_))));
    let error = Error { close: CloseCode::Unauthenticated.into(), ..Error::default() };
    peer.send(server_frame::Kind::Error(error)).await;
    assert!(matches!(disconnect(&mut events).await, Disconnect::Closed { .. }));
    let (mut peer, hello) = Peer::greeted(&mut stage).await;
    assert_eq!(hello.token, "new");
    peer.welcome(peer::welcome()).await;
    let asked = peer.next().await;
    peer.answer(asked.id, server_frame::Kind::Pong(Pong::default())).await;
    assert!(within(refresh).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_a_welcome_the_next_transport_is_tried_with_a_higher_attempt() {
    let mut stage = Stage::new();
    let config = stage.config().transports([Transport::Quic, Transport::WebSocket]);
    let connecting = stage.connect(config);
    let begin = Instant::now();
    let (_silent, first) = Peer::greeted(&mut stage).await;
    let (mut peer, second) = Peer::greeted(&mut stage).await;
    assert_eq!(begin.elapsed().as_secs(), 3);
    assert!(second.attempt > first.attempt);
    peer.welcome(peer::welcome()).await;
    let (_client, mut events) = connecting.await.unwrap().unwrap();
    let Some(Event::Connected(connected)) = events.recv().await else { panic!("not connected") };
    assert_eq!(connected.transport, Transport::WebSocket);
}

#[tokio::test(start_paused = true)]
async fn a_first_connect_that_fails_says_why() {
    let stage = Stage::new();
    let connecting = stage.connect(stage.config().transports([]));
    assert!(matches!(connecting.await.unwrap(), Err(ConnectError::Nothing("transport"))));

    let connecting = stage.connect(stage.config().token("t".repeat(9_000)));
    assert!(matches!(connecting.await.unwrap(), Err(ConnectError::HelloTooLarge(_))));

    let mut stage = Stage::new();
    let connecting = stage.connect(stage.config());
    drop(Peer::greeted(&mut stage).await);
    assert!(matches!(connecting.await.unwrap(), Err(ConnectError::Broken { .. })));
}
