//! How a session ends, and when the next one begins.

use std::time::Duration;

use tidegate_proto::v1::{Error, GoAway, Pong, client_frame, server_frame};
use tokio::time::{Instant, timeout};

use super::peer::{self, Peer, Stage, deliver, direct};
use super::{disconnect, seqs, within};
use crate::v1::CloseCode;
use crate::{Disconnect, Event, RequestError, SendError};

#[tokio::test(start_paused = true)]
async fn without_a_sign_of_life_it_reconnects() {
    let (mut peer, client, mut events, mut stage) = Stage::session().await;
    let begin = Instant::now();
    assert!(matches!(peer.next_raw().await.kind, Some(client_frame::Kind::Ping(_))));
    assert_eq!(begin.elapsed().as_secs(), 25);
    assert!(matches!(disconnect(&mut events).await, Disconnect::NoPong));
    assert_eq!(begin.elapsed().as_secs(), 35);
    let attempt = client.attempt();
    let (_peer, hello) = Peer::greeted(&mut stage).await;
    assert!(hello.attempt > attempt);
}

#[tokio::test(start_paused = true)]
async fn an_answered_heartbeat_keeps_the_session() {
    let (mut peer, _client, mut events, _stage) = Stage::session().await;
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    for _ in 0..10 {
        assert!(matches!(peer.next_raw().await.kind, Some(client_frame::Kind::Ping(_))));
        peer.send(server_frame::Kind::Pong(Pong::default())).await;
    }
    assert!(events.try_recv().is_none());
}

#[tokio::test(start_paused = true)]
async fn go_away_is_followed() {
    let (mut peer, _client, mut events, mut stage) = Stage::session().await;
    let go_away = GoAway {
        reason: CloseCode::Draining.into(),
        retry_after_ms: 4_000,
        alternatives: vec!["other:1".into()],
        ..GoAway::default()
    };
    let begin = Instant::now();
    peer.send(server_frame::Kind::GoAway(go_away)).await;
    assert_eq!(peer.closed().await, Some(CloseCode::Draining as u16));
    let reason = disconnect(&mut events).await;
    assert!(matches!(reason, Disconnect::Closed { code: CloseCode::Draining, .. }));
    let (mut peer, _) = Peer::greeted(&mut stage).await;
    assert!(begin.elapsed() >= Duration::from_secs(4));
    peer.welcome(peer::welcome()).await;
    let Some(Event::Connected(connected)) = events.recv().await else { panic!("not connected") };
    assert_eq!(connected.server, "other:1");
}

#[tokio::test(start_paused = true)]
async fn codes_from_4100_are_the_end() {
    for by_frame in [true, false] {
        let (mut peer, client, mut events, _stage) = Stage::session().await;
        let mut sent = client.send(direct("", "m")).await.unwrap();
        peer.next_send().await;
        if by_frame {
            let error = Error { close: CloseCode::Replaced.into(), ..Error::default() };
            peer.send(server_frame::Kind::Error(error)).await;
            assert_eq!(peer.closed().await, Some(CloseCode::Replaced as u16));
        } else {
            peer.close(CloseCode::Replaced).await;
        }
        assert!(matches!(
            disconnect(&mut events).await,
            Disconnect::Closed { code: CloseCode::Replaced, .. }
        ));
        assert!(events.recv().await.is_none());
        assert_eq!(within(sent.stored()).await, Err(SendError::Ended));
        assert!(matches!(client.send(direct("", "m")).await, Err(SendError::Ended)));
        assert_eq!(client.ping().await, Err(RequestError::Ended));
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn closing_acknowledges_what_was_taken_and_says_bye() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    peer.send(deliver(1, direct("bob", "m"))).await;
    seqs(&mut events, 1).await;
    let closing = peer::spawn(async move { client.close().await });
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Ack(ack)) if ack.cursor == 1));
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Bye(_))));
    assert_eq!(peer.closed().await, Some(CloseCode::Normal as u16));
    closing.await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Closed(Disconnect::Left))));
    assert!(events.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_all_handles_leaves() {
    let (mut peer, client, events, _stage) = Stage::session().await;
    drop(client);
    assert!(timeout(Duration::from_secs(5), peer.next()).await.is_err());
    drop(events);
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Bye(_))));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_comes_back_at_once() {
    let (peer, client, mut events, mut stage) = Stage::session().await;
    let mut peers = vec![peer];
    for _ in 0..20 {
        let begin = Instant::now();
        client.drop_connection().await;
        assert!(matches!(disconnect(&mut events).await, Disconnect::Dropped));
        let (mut peer, _) = Peer::greeted(&mut stage).await;
        peer.welcome(peer::welcome()).await;
        assert!(matches!(events.recv().await, Some(Event::Connected(_))));
        assert!(begin.elapsed() < Duration::from_millis(10));
        peers.push(peer);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_are_spaced_out() {
    let mut stage = Stage::new();
    let config = stage.config().backoff(Duration::from_secs(1), Duration::from_secs(60));
    let (peer, _client, _events) = stage.started(config).await;
    drop(peer);
    let begin = Instant::now();
    for _ in 0..12 {
        drop(Peer::greeted(&mut stage).await);
    }
    // Twelve waits of random length, together 423 s at most; all of them tiny is out of the question.
    assert!((1..=423).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_held_makes_the_next_wait_a_short_one() {
    let mut stage = Stage::new();
    let config = stage.config().backoff(Duration::from_secs(1), Duration::from_secs(3_600));
    let (peer, _client, _events) = stage.started(config).await;
    drop(peer);
    for _ in 0..12 {
        drop(Peer::greeted(&mut stage).await);
    }
    let (mut peer, _) = Peer::greeted(&mut stage).await;
    peer.welcome(peer::welcome()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(peer);
    let begin = Instant::now();
    Peer::greeted(&mut stage).await;
    assert!(begin.elapsed() <= Duration::from_secs(1));
}
