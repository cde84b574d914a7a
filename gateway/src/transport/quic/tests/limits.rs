//! Limits in time and number.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use quinn::{ConnectionError, Endpoint, TransportConfig, VarInt};
use tidegate_proto::limits::MAX_HELLO_BYTES;
use tidegate_proto::v1::{CloseCode, ServerFrame, StreamHeader, server_frame, stream_header};
use tokio::time::timeout;

use super::closed_code;
use super::hostile::stalled;
use crate::admission;
use crate::transport::quic::Limits;
use crate::transport::quic::tests::rig::{
    Frames, HANG, KEYS, Rig, body, encoded, server_signal, signal, until,
};
use crate::transport::{Event, Outgoing};

fn rig(limits: Limits) -> Rig {
    Rig::with(limits, Arc::new(|_| true))
}

#[tokio::test]
async fn a_connection_without_a_stream_is_closed_whatever_keep_alives_come() {
    let mut rig = rig(Limits { session_timeout: Duration::from_millis(200), ..Limits::default() });
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(20)));
    let (_client, connection) = rig.try_connect(tidegate_proto::ALPN, transport).await.unwrap();
    assert_eq!(closed_code(&connection).await, CloseCode::Unauthenticated as u64);
    assert_eq!(rig.counters.no_session.get(), 1);
    assert!(rig.is_idle());
    until(async || rig.server.open_connections() == 0).await;
}

#[tokio::test]
async fn before_open_a_frame_has_at_most_8_kib() {
    let mut rig = Rig::new();
    let (mut client, mut session) = rig.raw().await;
    client.send(&signal("", MAX_HELLO_BYTES - 10)).await;
    session.frame().await;
    client.send(&signal("", MAX_HELLO_BYTES)).await;
    let event = session.event().await;
    assert!(matches!(&event, Event::Bad(bad) if bad.close == Some(CloseCode::TooLarge)), "{event:?}");

    let (mut client, mut session) = rig.raw().await;
    session.open(0, false).await;
    session.figures().await;
    client.send(&signal("", 70_000)).await;
    session.frame().await;
}

#[tokio::test]
async fn further_streams_are_refused_and_too_many_end_the_session() {
    let mut rig = Rig::new();
    let (client, mut session) = rig.raw().await;
    session.open(0, false).await;
    let code = VarInt::from_u32(CloseCode::ProtocolError as u32);
    let mut refused = 0;
    let event = loop {
        let opened = timeout(HANG, client.connection.open_bi()).await.unwrap();
        let Ok((mut send, _recv)) = opened else { break session.event().await };
        if send.write_all(b"x").await.is_err() {
            break session.event().await;
        }
        match timeout(HANG, send.stopped()).await.unwrap() {
            Ok(Some(stopped)) => assert_eq!(stopped, code),
            _ => break session.event().await,
        }
        refused += 1;
        assert!(refused < 1_000, "nothing ends it");
        // Before its budget is spent the session does not mind.
        if refused == 10 {
            assert!(session.is_quiet());
        }
    };
    assert!(refused >= 10, "{refused}");
    assert!(matches!(&event, Event::Bad(bad) if bad.close == Some(CloseCode::ProtocolError)), "{event:?}");
}

#[tokio::test]
async fn a_lane_that_is_stopped_ends_the_session() {
    for write_again in [true, false] {
        let mut rig = Rig::new();
        let (client, mut session) = rig.raw().await;
        session.open(1, false).await;
        let deliver = || Outgoing::Deliver { timeline: "".into(), seq: 1, body: Some(body("d:a:b", 10)) };
        session.send(deliver()).await;
        let mut lane = timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap();
        if write_again {
            session.send(deliver()).await;
        }
        lane.stop(VarInt::from_u32(1)).unwrap();
        let event = session.event().await;
        assert!(
            matches!(&event, Event::Bad(bad) if bad.close == Some(CloseCode::ProtocolError)),
            "{event:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_gives_no_credit_holds_up_only_itself() {
    let mut rig = Rig::new();
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1_000)).max_concurrent_uni_streams(VarInt::from_u32(0));
    let (mut deaf, deaf_session) = rig.raw_with(transport).await;
    deaf_session.open(4, false).await;
    for seq in 1..=10 {
        deaf_session.send(Outgoing::Frame(server_signal("c", 1_000))).await;
        let body = Some(body("d:a:b", 1_000));
        deaf_session.send(Outgoing::Deliver { timeline: "".into(), seq, body }).await;
    }
    until(async || deaf_session.figures().await.written == 1_000).await;
    let before = deaf_session.figures().await;
    assert!(before.queued > 19_000, "{before:?}");

    let (mut other, session) = rig.raw().await;
    for _ in 0..100 {
        session.send(Outgoing::Frame(server_signal("o", 1_000))).await;
        assert_eq!(other.control.next().await, Some(server_signal("o", 1_000)));
    }
    let after = deaf_session.figures().await;
    assert_eq!((before.queued, before.written), (after.queued, after.written));
    // It lives, and what waited comes when it reads.
    for _ in 0..10 {
        assert_eq!(deaf.control.next::<ServerFrame>().await, Some(server_signal("c", 1_000)));
    }
    deaf.connection.set_max_concurrent_uni_streams(VarInt::from_u32(4));
    timeout(HANG, deaf.connection.accept_uni()).await.unwrap().unwrap();
}

/// All lanes and pages share what the client takes. What is live goes first, also when a page was there before it.
#[tokio::test]
async fn a_page_gives_way_to_what_is_live() {
    let mut rig = Rig::new();
    let mut transport = TransportConfig::default();
    // Hardly anything is taken at first.
    transport.receive_window(VarInt::from_u32(3_000));
    let (mut client, session) = rig.raw_with(transport).await;
    session.open(1, false).await;
    session.send(Outgoing::Page(server_signal("page", 60_000))).await;
    until(async || (1..60_000).contains(&session.figures().await.queued)).await;
    let body = body("d:a:b", 20_000);
    session.send(Outgoing::Deliver { timeline: "".into(), seq: 1, body: Some(body) }).await;
    session.send(Outgoing::Frame(server_signal("live", 1_000))).await;
    assert!(session.figures().await.queued > 60_000 - 3_000 + 21_000);
    // Room for what is live and not for the page: the page, of which nothing is read, must not take it.
    client.connection.set_receive_window(VarInt::from_u32(3_000 + 22_000));
    assert_eq!(client.control.next().await, Some(server_signal("live", 1_000)));
    let page = timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap();
    let lane = timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap();
    let mut lane = Frames::new(lane);
    assert_eq!(lane.next().await, Some(StreamHeader { kind: Some(stream_header::Kind::Lane(0)) }));
    let Some(server_frame::Kind::Deliver(deliver)) = lane.next::<ServerFrame>().await.unwrap().kind else {
        panic!("no Deliver")
    };
    assert_eq!(deliver.seq, 1);
    let mut page = Frames::new(page);
    let header = StreamHeader { kind: Some(stream_header::Kind::AnswerTo(0)) };
    assert_eq!(page.next().await, Some(header));
    assert_eq!(page.next().await, Some(server_signal("page", 60_000)));
}

#[tokio::test]
async fn connections_beyond_a_limit_are_refused_until_one_has_gone() {
    for (connections, per_address) in [(1, 0), (100, 1)] {
        let places = admission::Limits { connections, per_address };
        let mut rig = Rig::with_all(Limits::default(), places, Arc::new(|_| true), &KEYS);
        let (first, session) = rig.raw().await;
        let error = rig.try_connect(tidegate_proto::ALPN, TransportConfig::default()).await.unwrap_err();
        assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error:?}");
        let counts = (rig.counters.full.get(), rig.counters.address_full.get());
        assert_eq!(counts, if per_address == 0 { (1, 0) } else { (0, 1) });
        drop((first, session));
        until(async || rig.live.get() == 0).await;
        assert!(rig.try_connect(tidegate_proto::ALPN, TransportConfig::default()).await.is_ok());
    }
}

#[tokio::test]
async fn who_forges_an_address_takes_half_of_its_places_at_most() {
    let places = admission::Limits { connections: 100, per_address: 2 };
    let mut rig = Rig::with_all(Limits::default(), places, Arc::new(|_| true), &KEYS);
    let _first = rig.raw().await;
    assert_eq!(rig.counters.retried.get(), 0);
    let _second = rig.raw().await;
    assert_eq!((rig.counters.retried.get(), rig.counters.address_full.get()), (1, 0));
}

#[tokio::test]
async fn handshakes_that_have_begun_go_before_those_that_come() {
    const CLIENTS: u64 = 100;
    let rig = rig(Limits { retry_from_half_open: CLIENTS as usize / 2, ..Limits::default() });
    let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = rig.client_config(tidegate_proto::ALPN, TransportConfig::default());
    // Their first packets are there before the listener has its first turn.
    let all: Vec<_> = (0..CLIENTS)
        .map(|_| client.connect_with(config.clone(), rig.address, "localhost").unwrap())
        .collect();
    for connected in timeout(HANG, join_all(all)).await.unwrap() {
        connected.unwrap();
    }
    assert_eq!(rig.counters.retried.get(), 0, "half of them were half-open at once");
}

#[tokio::test]
async fn however_a_connection_ends_its_place_is_free_again() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(200),
        session_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut rig = rig(limits);
    // A handshake that fails, one that stops half-way, one without a session, and one that is cut.
    rig.try_connect(b"nothing-we-speak", TransportConfig::default()).await.unwrap_err();
    until(async || rig.live.get() == 0).await;

    let _half_way = stalled(&rig).await;
    until(async || rig.counters.handshake_failed.get() == 2).await;
    until(async || rig.live.get() == 0).await;

    let (_client, _connection) =
        rig.try_connect(tidegate_proto::ALPN, TransportConfig::default()).await.unwrap();
    until(async || rig.counters.no_session.get() == 1).await;
    until(async || rig.live.get() == 0).await;

    let (client, session) = rig.raw().await;
    assert_eq!(rig.live.get(), 1);
    client.connection.close(VarInt::from_u32(0), b"");
    drop(session);
    until(async || rig.live.get() == 0).await;
}

#[tokio::test]
async fn frames_that_are_none_are_told() {
    for (bytes, code) in [
        (&[0u8][..], CloseCode::ProtocolError),
        (&[0x81, 0x00, 0x01], CloseCode::ProtocolError),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f], CloseCode::TooLarge),
        (&[0x02, 0xff, 0xff], CloseCode::ProtocolError),
    ] {
        let mut rig = Rig::new();
        let (mut client, mut session) = rig.raw().await;
        client.send.write_all(&encoded(&signal("good", 3))).await.unwrap();
        client.send.write_all(bytes).await.unwrap();
        assert_eq!(session.frame().await, signal("good", 3));
        let event = session.event().await;
        assert!(matches!(&event, Event::Bad(bad) if bad.close == Some(code)), "{bytes:?}: {event:?}");
    }
}
