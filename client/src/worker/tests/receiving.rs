//! What comes: each message once, acknowledged when it is handled, and no faster than it is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_proto::limits::MAX_APPLIED_ABOVE_CURSOR;
use tidegate_proto::v1::{HistoryGone, Welcome, client_frame, server_frame};
use tokio::time::{Instant, timeout};

use super::peer::{self, Peer, Stage, deliver, direct, stored};
use super::{disconnect, position, seqs, within};
use crate::{Acks, Disconnect, Event, Position};

#[tokio::test(start_paused = true)]
async fn each_message_comes_once_and_what_is_handled_is_acknowledged() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    for seq in [1, 2, 2, 1, 3] {
        peer.send(deliver(seq, direct("bob", &seq.to_string()))).await;
    }
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    assert_eq!(client.position().unwrap().cursor, 3);
    // The third is taken, and handled only when the application comes back.
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Ack(ack)) if ack.cursor == 2));
    assert!(timeout(Duration::from_millis(1), events.recv()).await.is_err());
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Ack(ack)) if ack.cursor == 3));
}

#[tokio::test(start_paused = true)]
async fn sixty_four_messages_are_acknowledged_at_once() {
    let (mut peer, _client, mut events, _stage) = Stage::session().await;
    let begin = Instant::now();
    for seq in 1..=64 {
        peer.send(deliver(seq, direct("bob", "m"))).await;
    }
    seqs(&mut events, 64).await;
    assert!(timeout(Duration::from_millis(1), events.recv()).await.is_err());
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Ack(ack)) if ack.cursor >= 63));
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn acks_can_be_the_applications() {
    let mut stage = Stage::new();
    let config = stage.config().acks(Acks::Manual);
    let (mut peer, client, mut events) = stage.started(config).await;
    peer.send(deliver(1, direct("bob", "m"))).await;
    peer.send(deliver(2, direct("bob", "m"))).await;
    seqs(&mut events, 2).await;
    assert!(timeout(Duration::from_secs(10), peer.next()).await.is_err());
    client.ack(1).await;
    assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Ack(ack)) if ack.cursor == 1));
}

#[tokio::test(start_paused = true)]
async fn a_gap_on_lanes_holds_the_cursor_and_not_the_messages() {
    let (mut peer, client, mut events, mut stage) = Stage::session().await;
    for seq in [2, 4, 1] {
        peer.send(deliver(seq, direct("bob", "m"))).await;
    }
    assert_eq!(seqs(&mut events, 3).await, [2, 4, 1]);
    assert_eq!(client.position().unwrap().cursor, 2);
    drop(peer);
    let (mut peer, hello) = Peer::greeted(&mut stage).await;
    assert_eq!(hello.start, position(2));
    peer.welcome(Welcome { start: 2, head: 5, ..peer::welcome() }).await;
    for seq in [3, 4, 5] {
        peer.send(deliver(seq, direct("bob", "m"))).await;
    }
    assert_eq!(seqs(&mut events, 2).await, [3, 5]);
    assert_eq!(client.position().unwrap().cursor, 5);
}

#[tokio::test(start_paused = true)]
async fn too_much_above_a_hole_ends_the_session() {
    let mut stage = Stage::new();
    let config = stage.config().event_capacity(10_000);
    let (mut peer, _client, mut events) = stage.started(config).await;
    let count = MAX_APPLIED_ABOVE_CURSOR as i64;
    let writing = peer::spawn(async move {
        for seq in 2..=count + 2 {
            peer.send(deliver(seq, direct("bob", "m"))).await;
        }
        peer
    });
    assert!(matches!(disconnect(&mut events).await, Disconnect::HoleTooLarge));
    drop(writing.await);
    let (_peer, hello) = Peer::greeted(&mut stage).await;
    assert_eq!(hello.start, position(0));
}

#[tokio::test(start_paused = true)]
async fn another_epoch_voids_what_was_known() {
    let (mut peer, client, mut events, mut stage) = Stage::session().await;
    peer.send(deliver(1, direct("bob", "old"))).await;
    assert_eq!(seqs(&mut events, 1).await, [1]);
    drop(peer);
    let (mut peer, _) = Peer::greeted(&mut stage).await;
    peer.welcome(Welcome { epoch: "e2".into(), head: 1, ..peer::welcome() }).await;
    peer.send(deliver(1, direct("bob", "new"))).await;
    loop {
        match within(events.recv()).await.unwrap() {
            Event::Connected(connected) => assert!(connected.reset),
            Event::Message(message) => {
                assert_eq!((&message.msg.content[..], message.position.cursor), (&b"new"[..], 1));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(client.position(), Some(Position { epoch: "e2".into(), cursor: 1 }));
}

#[tokio::test(start_paused = true)]
async fn gone_and_history_gone_move_the_cursor() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    peer.send(server_frame::Kind::HistoryGone(HistoryGone { timeline: "i:alice".into(), floor: 5 })).await;
    peer.send(peer::gone(5)).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match within(events.recv()).await.unwrap() {
            Event::HistoryGone { timeline, floor } => seen.push((timeline, floor)),
            Event::Gone { timeline, seq } => seen.push((timeline, seq)),
            _ => {}
        }
    }
    assert_eq!(seen, [(String::new(), 5), (String::new(), 5)]);
    assert_eq!(client.position().unwrap().cursor, 5);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_come_stops_the_reading() {
    let mut stage = Stage::new();
    let config = stage.config().event_capacity(10);
    let (mut peer, client, mut events) = stage.started(config).await;
    let count = 2_000;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let writing = peer::spawn(async move {
        for seq in 1..=count {
            peer.send(deliver(seq, direct("bob", &"m".repeat(1_000)))).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
        peer
    });
    // Longer than any heartbeat: a client that reads nothing does not take the silence for death.
    tokio::time::sleep(Duration::from_secs(120)).await;
    // Ten wait in the queue, the rest in the pipe's 64 KiB and the buffers on both sides.
    assert!(written.load(Ordering::Relaxed) < 250, "{} were taken", written.load(Ordering::Relaxed));
    assert_eq!(seqs(&mut events, count as usize).await, (1..=count).collect::<Vec<_>>());
    let _peer = writing.await.unwrap();
    assert_eq!(client.position().unwrap().cursor, count);
}

#[tokio::test(start_paused = true)]
async fn without_events_receipts_still_come_and_nothing_is_acknowledged() {
    let (mut peer, client, events, _stage) = Stage::session().await;
    drop(events);
    for seq in 1..=1_000 {
        peer.send(deliver(seq, direct("bob", "m"))).await;
    }
    let mut sent = client.send(direct("", "m")).await.unwrap();
    let msg = peer.next_send().await;
    peer.send(stored(&msg.local_id, 1_001)).await;
    assert!(within(sent.stored()).await.is_ok());
    assert!(timeout(Duration::from_secs(10), peer.next()).await.is_err());
}
