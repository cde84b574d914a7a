//! What is neither message nor receipt: requests and their answers, signals, raw frames.

use std::time::Duration;

use tidegate_proto::v1::{
    Code, Error, Page, Pong, Receipt, ReceiptStatus, Signal, client_frame, server_frame,
};

use super::peer::{self, Peer, Stage};
use super::within;
use crate::{Event, History, RequestError};

#[tokio::test(start_paused = true)]
async fn requests_are_answered_or_asked_again() {
    let (mut peer, client, _events, mut stage) = Stage::session().await;
    let puller = client.clone();
    let pull = peer::spawn(async move { puller.pull("d:alice:bob", History::Before(0), 10).await });
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Pull(_))));
    drop(peer);
    let (mut peer, _) = Peer::greeted(&mut stage).await;
    peer.welcome(peer::welcome()).await;
    let asked = peer.next().await;
    let Some(client_frame::Kind::Pull(pull_frame)) = asked.kind else { panic!("{asked:?}") };
    assert_eq!((&*pull_frame.timeline, pull_frame.limit), ("d:alice:bob", 10));
    peer.answer(asked.id, server_frame::Kind::Page(Page { head: 4, ..Page::default() })).await;
    assert_eq!(pull.await.unwrap().unwrap().head, 4);

    let pinger = client.clone();
    let ping = peer::spawn(async move { pinger.ping().await });
    let asked = peer.next_raw().await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    peer.answer(asked.id, server_frame::Kind::Pong(Pong::default())).await;
    assert_eq!(ping.await.unwrap().unwrap().as_millis(), 30);

    let refresher = client.clone();
    let refresh = peer::spawn(async move { refresher.refresh("bad").await });
    let asked = peer.next().await;
    assert!(matches!(asked.kind, Some(client_frame::Kind::Refresh(_))));
    let error = Error { code: Code::Unauthenticated.into(), id: asked.id, ..Error::default() };
    peer.answer(asked.id, server_frame::Kind::Error(error)).await;
    assert!(matches!(refresh.await.unwrap(), Err(RequestError::Refused(_))));
}

#[tokio::test(start_paused = true)]
async fn signals_go_and_come() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    assert!(client.signal(Signal { user: "bob".into(), kind: "typing".into(), ..Signal::default() }));
    let frame = peer.next().await;
    assert!(matches!(frame.kind, Some(client_frame::Kind::Signal(signal)) if signal.kind == "typing"));
    peer.send(server_frame::Kind::Signal(Signal { from: "bob".into(), ..Signal::default() })).await;
    loop {
        if let Event::Signal(signal) = within(events.recv()).await.unwrap() {
            assert_eq!(signal.from, "bob");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn raw_frames_are_shown_when_asked_for() {
    let mut stage = Stage::new();
    let config = stage.config().raw_frames(true);
    let (mut peer, client, mut events) = stage.started(config).await;
    client.send_frame(peer::client_ping(77)).await;
    assert_eq!(peer.next_raw().await.id, 77);
    let receipt =
        Receipt { local_id: "x".into(), status: ReceiptStatus::Accepted.into(), ..Receipt::default() };
    peer.send(server_frame::Kind::Receipt(receipt)).await;
    loop {
        if let Event::Frame(frame) = events.recv().await.unwrap() {
            assert!(
                matches!(frame.kind, Some(server_frame::Kind::Receipt(receipt)) if receipt.local_id == "x")
            );
            break;
        }
    }
}
