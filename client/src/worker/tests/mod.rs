//! A client against a scripted server: what goes over the wire, and when. Time is paused, so it passes when nobody has
//! anything to do.

mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_proto::limits::{MAX_APPLIED_ABOVE_CURSOR, MAX_IN_FLIGHT};
use tidegate_proto::v1::{
    Code, Error, GoAway, HistoryGone, Msg, Page, Pong, Receipt, ReceiptStatus, Signal, Start as WireStart,
    Welcome, client_frame, server_frame, start,
};
use tokio::time::{Instant, timeout};

use self::peer::{Peer, Stage, accepted, deliver, direct, rejected, stored};
use crate::{
    Acks, ConnectError, Disconnect, Event, Events, History, Position, RequestError, SendError, Start,
    Transport, v1::CloseCode,
};

/// Ends a hang: with the time paused, ten hours pass at once.
async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(36_000), work).await.expect("no hang")
}

/// The seqs of the next messages.
async fn seqs(events: &mut Events, count: usize) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match within(events.recv()).await.expect("the client lives") {
            Event::Message(message) => seqs.push(message.seq),
            Event::Closed(reason) => panic!("closed: {reason:?}"),
            _ => {}
        }
    }
    seqs
}

/// The reason of the next end of a session.
async fn disconnect(events: &mut Events) -> Disconnect {
    loop {
        match within(events.recv()).await.expect("the client lives") {
            Event::Disconnected(reason) | Event::Closed(reason) => return reason,
            _ => {}
        }
    }
}

fn position(cursor: i64) -> Option<WireStart> {
    let position = tidegate_proto::v1::Position { epoch: "e1".into(), cursor };
    Some(WireStart { from: Some(start::From::Position(position)) })
}

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
async fn receipts_settle_a_send() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let msg = peer.next_send().await;
    assert_eq!((&*msg.local_id, &msg.content[..]), (sent.local_id(), &b"hi"[..]));
    assert!(msg.create_time > 0 && uuid::Uuid::parse_str(&msg.local_id).unwrap().get_version_num() == 7);
    peer.send(accepted(&msg.local_id)).await;
    assert_eq!(within(sent.accepted()).await.unwrap().send_time, 100);
    peer.send(stored(&msg.local_id, 1)).await;
    let settled = within(sent.stored()).await.unwrap();
    assert_eq!((settled.seq, settled.send_time), (1, 101));
    // The seq counts as received: the next one is contiguous.
    peer.send(deliver(2, direct("bob", "m"))).await;
    seqs(&mut events, 1).await;
    assert_eq!(client.position().unwrap().cursor, 2);
}

#[tokio::test(start_paused = true)]
async fn stored_implies_accepted_and_a_late_accepted_is_ignored() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let msg = peer.next_send().await;
    peer.send(stored(&msg.local_id, 1)).await;
    peer.send(accepted(&msg.local_id)).await;
    assert_eq!(within(sent.accepted()).await.unwrap().send_time, 101);
    assert!(within(sent.stored()).await.is_ok() && within(sent.stored()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_also_after_accepted() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let msg = peer.next_send().await;
    peer.send(accepted(&msg.local_id)).await;
    peer.send(rejected(&msg.local_id, Code::Conflict, 0)).await;
    assert!(
        matches!(within(sent.stored()).await, Err(SendError::Rejected(refusal)) if refusal.code == Code::Conflict)
    );
    assert!(within(sent.accepted()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_error_with_the_requests_number_refuses_a_send() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let id = peer.next().await.id;
    let error = Error { code: Code::Unimplemented.into(), id, ..Error::default() };
    peer.send(server_frame::Kind::Error(error)).await;
    let refusal = within(sent.accepted()).await.unwrap_err();
    assert!(matches!(refusal, SendError::Rejected(refusal) if refusal.code == Code::Unimplemented));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_now_is_sent_again_with_the_same_local_id() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let first = peer.next_send().await;
    for code in [Code::Unavailable, Code::RateLimited] {
        let refused = Instant::now();
        peer.send(rejected(&first.local_id, code, 5_000)).await;
        assert_eq!(peer.next_send().await, first);
        assert!(refused.elapsed() >= Duration::from_secs(5));
    }
    peer.send(stored(&first.local_id, 1)).await;
    assert!(within(sent.stored()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn at_most_64_are_in_flight_and_256_inside() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut handles = Vec::new();
    for _ in 0..256 {
        handles.push(client.send(direct("", "m")).await.unwrap());
    }
    assert!(timeout(Duration::from_secs(1), client.send(direct("", "m"))).await.is_err());
    let mut local_ids = Vec::new();
    for _ in 0..MAX_IN_FLIGHT {
        local_ids.push(peer.next_send().await.local_id);
    }
    assert!(timeout(Duration::from_secs(1), peer.next()).await.is_err());
    peer.send(accepted(&local_ids[0])).await;
    assert_eq!(peer.next_send().await.local_id, handles[64].local_id());
    peer.send(stored(&local_ids[1], 1)).await;
    assert!(within(handles[1].stored()).await.is_ok());
    client.send(direct("", "m")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_stored_it_is_sent_again_30_seconds_after_accepted() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "m")).await.unwrap();
    let first = peer.next_send().await;
    let begin = Instant::now();
    peer.send(accepted(&first.local_id)).await;
    assert_eq!(peer.next_send().await, first);
    assert!(begin.elapsed() >= Duration::from_secs(30));
    peer.send(stored(&first.local_id, 1)).await;
    assert!(within(sent.stored()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_new_session_sends_again_in_order_what_is_unanswered() {
    let (mut peer, client, mut events, mut stage) = Stage::session().await;
    let mut handles = Vec::new();
    for name in ["a", "b", "c"] {
        handles.push(client.send(Msg { local_id: name.into(), ..direct("", name) }).await.unwrap());
    }
    for _ in 0..3 {
        peer.next_send().await;
    }
    peer.send(stored("b", 1)).await;
    peer.send(accepted("c")).await;
    within(handles[2].accepted()).await.unwrap();
    drop(peer);
    assert!(matches!(disconnect(&mut events).await, Disconnect::Broken(_)));
    handles.push(client.send(Msg { local_id: "d".into(), ..direct("", "d") }).await.unwrap());

    let (mut peer, hello) = Peer::greeted(&mut stage).await;
    assert_eq!(hello.start, position(1));
    // No frame goes out before Welcome.
    assert!(timeout(Duration::from_secs(1), peer.next()).await.is_err());
    peer.welcome(Welcome { start: 1, head: 3, ..peer::welcome() }).await;
    for name in ["a", "c", "d"] {
        assert_eq!(peer.next_send().await.local_id, name);
    }
    // The own messages of the session that is no more come as deliveries.
    peer.send(deliver(2, Msg { send_id: "alice".into(), local_id: "a".into(), ..Msg::default() })).await;
    peer.send(deliver(3, Msg { send_id: "alice".into(), local_id: "c".into(), ..Msg::default() })).await;
    peer.send(stored("d", 4)).await;
    for (handle, seq) in handles.iter_mut().zip([2, 1, 3, 4]) {
        assert_eq!(within(handle.stored()).await.unwrap().seq, seq);
    }
    // They are no messages to the application.
    peer.send(deliver(5, direct("bob", "m"))).await;
    assert_eq!(seqs(&mut events, 1).await, [5]);
    assert_eq!(client.position().unwrap().cursor, 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_nowhere_settles_no_send() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    let mut handle = client.send(Msg { local_id: "a".into(), ..direct("", "m") }).await.unwrap();
    peer.next_send().await;
    let volatile = Msg { send_id: "alice".into(), local_id: "a".into(), ..Msg::default() };
    peer.send(deliver(0, volatile)).await;
    assert_eq!(seqs(&mut events, 1).await, [0]);
    peer.send(stored("a", 1)).await;
    assert_eq!(within(handle.stored()).await.unwrap().seq, 1);
}

#[tokio::test(start_paused = true)]
async fn a_local_id_is_on_its_way_once() {
    let (_peer, client, _events, _stage) = Stage::session().await;
    let msg = Msg { local_id: "a".into(), ..direct("", "m") };
    let _first = client.send(msg.clone()).await.unwrap();
    let mut second = client.send(msg).await.unwrap();
    assert_eq!(second.accepted().await, Err(SendError::Pending("a".into())));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_no_frame_holds_is_refused_here() {
    let (_peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", &"m".repeat(80 * 1024))).await.unwrap();
    assert!(
        matches!(within(sent.stored()).await, Err(SendError::Rejected(refusal)) if refusal.code == Code::TooLarge)
    );
}

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
