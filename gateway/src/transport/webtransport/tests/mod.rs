//! WebTransport on loopback, against wtransport's client and against HTTP/3 written by hand.

mod by_hand;

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use tidegate_proto::v1::{CloseCode, Page, ServerFrame, StreamHeader, server_frame, stream_header};
use tokio::time::timeout;
use wtransport::endpoint::ConnectOptions;
use wtransport::error::{ConnectingError, ConnectionError};

use crate::transport::quic::tests::rig::{
    Frames, HANG, Rig, Scripted, body, encoded, last_frame, server_signal, signal, until,
};
use crate::transport::quic::{Limits, OriginCheck};
use crate::transport::{Event, Kind, Outgoing};

/// A session of wtransport's client with its control stream.
struct Client {
    connection: wtransport::Connection,
    send: wtransport::SendStream,
    control: Lines,
}

/// A stream of frames, read through wtransport.
struct Lines(wtransport::RecvStream, bytes::BytesMut);

impl Lines {
    async fn next<M: prost::Message + Default>(&mut self) -> Option<M> {
        loop {
            if let Some(frame) = tidegate_proto::framing::split_frame(&mut self.1, 1 << 20).unwrap() {
                return Some(M::decode(frame).unwrap());
            }
            let mut piece = [0; 4_096];
            let read = timeout(HANG, self.0.read(&mut piece)).await.expect("nothing came").unwrap()?;
            self.1.extend_from_slice(&piece[..read]);
        }
    }
}

async fn connect(
    rig: &Rig,
    path: &str,
    origin: Option<&str>,
) -> Result<wtransport::Connection, ConnectingError> {
    let config =
        wtransport::ClientConfig::builder().with_bind_default().with_custom_tls(rig.tls(b"h3")).build();
    let endpoint = wtransport::Endpoint::client(config).unwrap();
    let mut options = ConnectOptions::builder(format!("https://127.0.0.1:{}{path}", rig.address.port()));
    if let Some(origin) = origin {
        options = options.add_header("origin", origin);
    }
    timeout(HANG, endpoint.connect(options.build())).await.expect("no answer")
}

async fn session(rig: &mut Rig, path: &str) -> (Client, Scripted) {
    let connection = connect(rig, path, None).await.unwrap();
    let (send, recv) = connection.open_bi().await.unwrap().await.unwrap();
    let mut client = Client { connection, send, control: Lines(recv, bytes::BytesMut::new()) };
    client.send.write_all(&encoded(&signal("first", 0))).await.unwrap();
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("first", 0));
    (client, session)
}

#[tokio::test]
async fn frames_go_both_ways_and_the_token_is_known() {
    let mut rig = Rig::new();
    let (mut client, mut session) = session(&mut rig, "/wt?x=1&token=a%2Eb.c_d-e").await;
    assert_eq!(session.info.kind, Kind::WebTransport);
    assert_eq!(session.info.token.as_deref(), Some("a.b.c_d-e"));
    for number in 0..50 {
        client.send.write_all(&encoded(&signal("n", number))).await.unwrap();
        session.send(Outgoing::Frame(server_signal("s", number * 100))).await;
    }
    for number in 0..50 {
        assert_eq!(session.frame().await, signal("n", number));
        assert_eq!(client.control.next().await, Some(server_signal("s", number * 100)));
    }
    assert!(session.figures().await.path.is_some());
}

#[tokio::test]
async fn lanes_answers_and_datagrams_are_the_sessions() {
    let mut rig = Rig::new();
    let (client, mut session) = session(&mut rig, "/wt").await;
    assert_eq!(session.info.token, None);
    session.open(8, true).await;
    for seq in 1..=100 {
        let body = Some(body("d:a:b", 1_000));
        session.send(Outgoing::Deliver { timeline: "".into(), seq, body }).await;
    }
    let page = ServerFrame { id: 7, kind: Some(server_frame::Kind::Page(Page::default())) };
    session.send(Outgoing::Page(page.clone())).await;
    let mut streams = HashMap::new();
    for _ in 0..2 {
        let recv = timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap();
        let mut stream = Lines(recv, bytes::BytesMut::new());
        let header: StreamHeader = stream.next().await.unwrap();
        streams.insert(matches!(header.kind, Some(stream_header::Kind::AnswerTo(7))), stream);
    }
    let lane = streams.get_mut(&false).unwrap();
    for seq in 1..=100 {
        let frame: ServerFrame = lane.next().await.unwrap();
        assert!(matches!(frame.kind, Some(server_frame::Kind::Deliver(deliver)) if deliver.seq == seq));
    }
    let answer = streams.get_mut(&true).unwrap();
    assert_eq!(answer.next().await, Some(page));
    assert_eq!(answer.next::<ServerFrame>().await, None);

    session.send(Outgoing::Signal(server_signal("d", 1_000))).await;
    let datagram = timeout(HANG, client.connection.receive_datagram()).await.unwrap().unwrap();
    assert_eq!(datagram.payload(), server_signal("d", 1_000).encode_to_vec());
    client.connection.send_datagram(signal("up", 5).encode_to_vec()).unwrap();
    let event = session.event().await;
    assert!(matches!(&event, Event::Datagram(frame) if *frame == signal("up", 5)), "{event:?}");
}

#[tokio::test]
async fn a_close_shows_the_last_frame_and_closes_the_session_with_the_code() {
    let mut rig = Rig::new();
    let (mut client, session) = session(&mut rig, "/wt").await;
    session.close(CloseCode::Replaced).await;
    assert_eq!(client.control.next().await, Some(last_frame(CloseCode::Replaced)));
    assert_eq!(client.control.next::<ServerFrame>().await, None);
    client.send.quic_stream_mut().finish().unwrap();
    let error = timeout(HANG, client.connection.accept_uni()).await.unwrap().unwrap_err();
    let ConnectionError::ApplicationClosed(close) = error else { panic!("{error:?}") };
    assert_eq!(close.code().into_inner(), CloseCode::Replaced as u64);
    assert_eq!(close.reason(), b"CLOSE_CODE_REPLACED");
    until(async || rig.server.open_connections() == 0).await;
}

#[tokio::test]
async fn a_client_that_goes_is_gone() {
    let mut rig = Rig::new();
    let (client, mut session) = session(&mut rig, "/wt").await;
    client.connection.close(4_100u32.into(), b"bye");
    let event = session.event().await;
    assert!(matches!(event, Event::Gone(Some(4_100))), "{event:?}");
}

#[tokio::test]
async fn a_wrong_path_is_not_found() {
    let mut rig = Rig::new();
    for path in ["/", "/wt/", "/wtx", "/ws?token=t", "/WT"] {
        let error = connect(&rig, path, None).await.unwrap_err();
        assert!(matches!(error, ConnectingError::SessionRejected), "{path}: {error:?}");
    }
    until(async || rig.counters.rejected.get() == 5).await;
    assert!(rig.is_idle());
    until(async || rig.server.open_connections() == 0).await;
}

#[tokio::test]
async fn a_foreign_origin_gets_nothing() {
    let ours: OriginCheck = Arc::new(|origin| matches!(origin, None | Some("https://ours.example")));
    let mut rig = Rig::with(Limits::default(), ours);
    for origin in ["https://theirs.example", "null", ""] {
        let error = connect(&rig, "/wt", Some(origin)).await.unwrap_err();
        assert!(matches!(error, ConnectingError::SessionRejected), "{origin}: {error:?}");
    }
    assert!(rig.is_idle());
    connect(&rig, "/wt", Some("https://ours.example")).await.unwrap();
    connect(&rig, "/wt", None).await.unwrap();
}
