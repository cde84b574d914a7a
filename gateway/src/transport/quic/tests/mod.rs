//! Raw QUIC on loopback, against a quinn client and against bytes written by hand.

mod hostile;
mod limits;
pub(crate) mod rig;
mod tokens;

use std::cell::Cell;
use std::net::UdpSocket;
use std::sync::Arc;

use quinn::{ConnectionError, TransportConfig, VarInt};
use tidegate_proto::v1::{CloseCode, Page, ServerFrame, StreamHeader, deliver, server_frame, stream_header};
use tokio::time::timeout;

use crate::transport::{Event, Kind, Outgoing};
use rig::{Frames, HANG, Rig, body, last_frame, server_signal, signal, until};

#[tokio::test]
async fn frames_go_both_ways_in_order() {
    let mut rig = Rig::new();
    let (mut client, mut session) = rig.raw().await;
    assert_eq!(session.info.kind, Kind::Quic);
    assert_eq!(session.info.remote.port(), client.endpoint.local_addr().unwrap().port());
    for number in 0..200 {
        client.send(&signal(&number.to_string(), number)).await;
        session.send(Outgoing::Frame(server_signal(&number.to_string(), number * 20))).await;
    }
    for number in 0..200 {
        assert_eq!(session.frame().await, signal(&number.to_string(), number));
        assert_eq!(client.control.next().await, Some(server_signal(&number.to_string(), number * 20)));
    }
    let figures = session.figures().await;
    assert_eq!(figures.queued, 0);
    assert!(figures.written > 200 * 100 * 20);
    assert!(figures.path.is_some_and(|path| path.sent_packets > 0 && !path.rtt.is_zero()));
}

#[tokio::test]
async fn deliveries_go_by_the_lane_of_their_conversation_in_order() {
    const LANES: u32 = 4;
    let mut rig = Rig::new();
    let (client, session) = rig.raw().await;
    session.open(LANES, false).await;
    let bodies: Vec<_> = (0..12).map(|number| body(&format!("d:a:{number}"), 30 * number * number)).collect();
    for seq in 1..=600 {
        let body = bodies[seq as usize % bodies.len()].clone();
        if seq % 50 == 0 {
            session.send(Outgoing::Stored { seq, body }).await;
        } else {
            session.send(Outgoing::Deliver { timeline: "".into(), seq, body: Some(body) }).await;
        }
    }
    let mut used: Vec<u32> = bodies.iter().map(|body| body.lane_hash() % LANES).collect();
    used.sort_unstable();
    used.dedup();
    let mut seen = 0;
    // A lane that is dropped is stopped, which would end the session.
    let mut lanes = Vec::new();
    let mut found = Vec::new();
    for _ in &used {
        let mut lane = Frames::new(timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap());
        let header: StreamHeader = lane.next().await.unwrap();
        let Some(stream_header::Kind::Lane(number)) = header.kind else { panic!("{header:?}") };
        found.push(number);
        let of_lane = |seq: u64| bodies[seq as usize % bodies.len()].lane_hash() % LANES == number;
        for seq in (1..=600).filter(|seq| of_lane(*seq)) {
            let frame: ServerFrame = lane.next().await.unwrap();
            match frame.kind.unwrap() {
                server_frame::Kind::Deliver(deliver) => {
                    assert_eq!(deliver.seq, seq as i64);
                    let Some(deliver::Entry::Msg(msg)) = deliver.entry else { panic!("no message") };
                    assert_eq!(msg, bodies[seq as usize % bodies.len()].msg(0));
                }
                server_frame::Kind::Receipt(receipt) => assert_eq!(receipt.seq, seq as i64),
                other => panic!("{other:?}"),
            }
            seen += 1;
        }
        lanes.push(lane);
    }
    found.sort_unstable();
    assert_eq!((seen, found), (600, used));
}

/// Else its subscriber takes a later entry for the next one, or Subscribed for older than what it stands before.
#[tokio::test]
async fn what_belongs_to_a_channel_goes_by_its_lane_in_order() {
    let mut rig = Rig::new();
    let (client, session) = rig.raw().await;
    session.open(8, false).await;
    let timeline: Arc<str> = "c:news/sport".into();
    session.send(Outgoing::OfChannel { timeline: timeline.clone(), frame: server_signal("s", 10) }).await;
    for seq in 1..=9 {
        let body = (seq % 3 > 0).then(|| body(&timeline, 10_000));
        session.send(Outgoing::Deliver { timeline: timeline.clone(), seq, body }).await;
    }
    let mut lane = Frames::new(timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap());
    let header: StreamHeader = lane.next().await.unwrap();
    assert!(matches!(header.kind, Some(stream_header::Kind::Lane(_))), "{header:?}");
    assert_eq!(lane.next().await, Some(server_signal("s", 10)));
    for seq in 1..=9 {
        let frame: ServerFrame = lane.next().await.unwrap();
        let Some(server_frame::Kind::Deliver(deliver)) = frame.kind else { panic!("{frame:?}") };
        assert_eq!(deliver.seq, seq);
        assert_eq!(matches!(deliver.entry, Some(deliver::Entry::Gone(_))), seq % 3 == 0);
    }
}

#[tokio::test]
async fn without_lanes_deliveries_go_by_the_control_stream() {
    let mut rig = Rig::new();
    let (mut client, session) = rig.raw().await;
    session.open(0, false).await;
    session.send(Outgoing::Deliver { timeline: "".into(), seq: 1, body: Some(body("d:a:b", 5_000)) }).await;
    session.send(Outgoing::Deliver { timeline: "".into(), seq: 2, body: None }).await;
    for seq in 1..=2 {
        let frame: ServerFrame = client.control.next().await.unwrap();
        let Some(server_frame::Kind::Deliver(deliver)) = frame.kind else { panic!("{frame:?}") };
        assert_eq!(deliver.seq, seq);
    }
}

#[tokio::test]
async fn signals_go_as_datagrams_where_they_fit() {
    let mut rig = Rig::new();
    let (mut client, mut session) = rig.raw().await;
    // Before Welcome there are none.
    session.send(Outgoing::Signal(server_signal("early", 10))).await;
    assert_eq!(client.control.next().await, Some(server_signal("early", 10)));

    session.open(0, true).await;
    session.send(Outgoing::Signal(server_signal("small", 1_000))).await;
    session.send(Outgoing::Signal(server_signal("large", 1_200))).await;
    let datagram = timeout(HANG, client.connection.read_datagram()).await.unwrap().unwrap();
    assert_eq!(datagram, prost::Message::encode_to_vec(&server_signal("small", 1_000)));
    assert_eq!(client.control.next().await, Some(server_signal("large", 1_200)));

    let own = signal("mine", 100);
    client.connection.send_datagram(prost::Message::encode_to_vec(&own).into()).unwrap();
    let event = session.event().await;
    assert!(matches!(&event, Event::Datagram(frame) if *frame == own), "{event:?}");
    client.connection.send_datagram(vec![0xff].into()).unwrap();
    let event = session.event().await;
    assert!(matches!(&event, Event::Bad(bad) if bad.close == Some(CloseCode::ProtocolError)), "{event:?}");
}

#[tokio::test]
async fn a_client_without_datagrams_gets_signals_on_the_control_stream() {
    let mut rig = Rig::new();
    let mut transport = TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    let (mut client, session) = rig.raw_with(transport).await;
    session.open(0, true).await;
    session.send(Outgoing::Signal(server_signal("s", 10))).await;
    assert_eq!(client.control.next().await, Some(server_signal("s", 10)));
}

#[tokio::test]
async fn an_answer_to_pull_has_a_stream_of_its_own_one_after_the_other() {
    let mut rig = Rig::new();
    let (client, session) = rig.raw().await;
    session.open(2, false).await;
    let page = |id| ServerFrame {
        id,
        kind: Some(server_frame::Kind::Page(Page { timeline: "x".repeat(60_000), ..Page::default() })),
    };
    for id in 1..=3 {
        session.send(Outgoing::Page(page(id))).await;
    }
    for id in 1..=3 {
        let mut stream = Frames::new(timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap());
        let header: StreamHeader = stream.next().await.unwrap();
        assert_eq!(header.kind, Some(stream_header::Kind::AnswerTo(id)));
        assert_eq!(stream.next().await, Some(page(id)));
        assert_eq!(stream.next::<ServerFrame>().await, None);
    }
    assert_eq!(session.figures().await.queued, 0);
}

#[tokio::test]
async fn an_answer_that_is_not_wanted_is_dropped_and_the_next_one_comes() {
    let mut rig = Rig::new();
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1_000));
    let (client, session) = rig.raw_with(transport).await;
    session.open(0, false).await;
    let page = |id| ServerFrame {
        id,
        kind: Some(server_frame::Kind::Page(Page { timeline: "x".repeat(600_000), ..Page::default() })),
    };
    session.send(Outgoing::Page(page(1))).await;
    session.send(Outgoing::Page(page(2))).await;
    let mut first = timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap();
    first.stop(VarInt::from_u32(1)).unwrap();
    let mut second = Frames::new(timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap());
    let header: StreamHeader = second.next().await.unwrap();
    assert_eq!(header.kind, Some(stream_header::Kind::AnswerTo(2)));
    assert_eq!(second.next().await, Some(page(2)));
}

#[tokio::test]
async fn a_close_shows_the_last_frame_and_then_the_code() {
    let mut rig = Rig::new();
    let (mut client, session) = rig.raw().await;
    session.open(2, false).await;
    session.send(Outgoing::Deliver { timeline: "".into(), seq: 1, body: Some(body("d:a:b", 100_000)) }).await;
    session.close(CloseCode::Kicked).await;
    assert_eq!(client.control.next().await, Some(last_frame(CloseCode::Kicked)));
    assert_eq!(client.control.next::<ServerFrame>().await, None);
    // What was queued before is written too, though the client has not looked at it yet.
    let mut lane = Frames::new(timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap());
    lane.next::<StreamHeader>().await.unwrap();
    lane.next::<ServerFrame>().await.unwrap();
    client.send.finish().unwrap();
    assert_eq!(closed_code(&client.connection).await, CloseCode::Kicked as u64);
}

#[tokio::test]
async fn a_client_that_does_not_answer_a_close_is_closed() {
    let mut rig = Rig::new();
    let (client, session) = rig.raw().await;
    session.close(CloseCode::Slow).await;
    assert_eq!(closed_code(&client.connection).await, CloseCode::Slow as u64);
}

#[tokio::test]
async fn a_client_that_had_finished_still_gets_the_last_frame() {
    let mut rig = Rig::new();
    let (mut client, session) = rig.raw().await;
    session.read(false).await;
    client.send.finish().unwrap();
    session.close(CloseCode::Replaced).await;
    assert_eq!(client.control.next().await, Some(last_frame(CloseCode::Replaced)));
    assert_eq!(closed_code(&client.connection).await, CloseCode::Replaced as u64);
}

#[tokio::test]
async fn the_clients_close_code_is_told() {
    let mut rig = Rig::new();
    let (client, mut session) = rig.raw().await;
    client.connection.close(VarInt::from_u32(4_100), b"bye");
    let event = session.event().await;
    assert!(matches!(event, Event::Gone(Some(4_100))), "{event:?}");

    let (mut client, mut session) = rig.raw().await;
    client.send.finish().unwrap();
    let event = session.event().await;
    assert!(matches!(event, Event::Gone(None)), "{event:?}");
}

#[tokio::test]
async fn the_end_of_a_connection_is_noticed_while_nothing_is_read() {
    let mut rig = Rig::new();
    let (client, mut session) = rig.raw().await;
    session.read(false).await;
    session.figures().await;
    client.connection.close(VarInt::from_u32(7), b"");
    let event = session.event().await;
    assert!(matches!(event, Event::Gone(Some(7))), "{event:?}");
}

#[tokio::test]
async fn what_is_not_read_waits_at_the_client() {
    let mut rig = Rig::new();
    let (mut client, mut session) = rig.raw().await;
    session.open(0, false).await;
    session.read(false).await;
    let frame = signal("big", 60_000);
    let sent = Cell::new(0);
    let sending = async {
        for _ in 0..20 {
            client.send(&frame).await;
            sent.set(sent.get() + 1);
        }
    };
    let receiving = async {
        // Two fit into the stream's window of 128 KiB; then flow control stops the client.
        until(async || sent.get() == 2).await;
        session.figures().await;
        assert!(session.is_quiet());
        assert_eq!(sent.get(), 2);
        session.read(true).await;
        for _ in 0..20 {
            session.frame().await;
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn a_client_that_changes_its_port_keeps_its_session() {
    let mut rig = Rig::new();
    let (mut client, mut session) = rig.raw().await;
    session.open(1, false).await;
    for number in 0..5 {
        client.endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let name = number.to_string();
        client.send(&signal(&name, 10)).await;
        assert_eq!(session.frame().await, signal(&name, 10));
        session.send(Outgoing::Frame(server_signal(&name, 2_000))).await;
        assert_eq!(client.control.next().await, Some(server_signal(&name, 2_000)));
    }
}

#[tokio::test]
async fn stopping_accepts_nothing_new_and_keeps_what_is_there() {
    let mut rig = Rig::new();
    let (mut client, mut session) = rig.raw().await;
    rig.cancel.cancel();
    let error = rig.try_connect(tidegate_proto::ALPN, TransportConfig::default()).await.unwrap_err();
    assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error:?}");
    assert_eq!(rig.counters.stopping.get(), 1);
    client.send(&signal("still", 0)).await;
    assert_eq!(session.frame().await, signal("still", 0));
}

/// The code the server closed with.
pub(super) async fn closed_code(connection: &quinn::Connection) -> u64 {
    match timeout(HANG, connection.closed()).await.expect("not closed") {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        error => panic!("{error:?}"),
    }
}
