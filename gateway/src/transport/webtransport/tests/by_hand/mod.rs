//! A client that writes HTTP/3 by hand, rightly and wrongly.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tokio::time::timeout;
use wtransport_proto::frame::Frame;
use wtransport_proto::headers::Headers;

use super::*;
use crate::transport::webtransport::h3::{self, put_frame, put_varint, take_varint};

/// An HTTP/3 connection; what it opened it keeps.
struct Hand {
    connection: Connection,
    _endpoint: Endpoint,
    control: Option<SendStream>,
}

const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":scheme", "https"),
    (":protocol", "webtransport"),
    (":authority", "localhost"),
    (":path", "/wt"),
];

impl Hand {
    /// A connection without anything on it.
    async fn bare(rig: &Rig) -> Self {
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_millis(50)));
        let (endpoint, connection) = rig.try_connect(b"h3", transport).await.unwrap();
        Self { connection, _endpoint: endpoint, control: None }
    }

    /// A connection with the client's settings sent.
    async fn new(rig: &Rig) -> Self {
        let mut hand = Self::bare(rig).await;
        hand.control = Some(hand.uni(&h3::settings()).await);
        hand
    }

    async fn uni(&self, bytes: &[u8]) -> SendStream {
        let mut stream = timeout(HANG, self.connection.open_uni()).await.unwrap().unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    async fn bi(&self, bytes: &[u8]) -> (SendStream, RecvStream) {
        let (mut send, recv) = timeout(HANG, self.connection.open_bi()).await.unwrap().unwrap();
        send.write_all(bytes).await.unwrap();
        (send, recv)
    }

    async fn request(&self, fields: &[(&str, &str)]) -> (SendStream, RecvStream) {
        self.bi(&headers(fields)).await
    }

    /// A session without its control stream; its number.
    async fn session(&self) -> (u64, SendStream, RecvStream) {
        let (send, mut recv) = self.request(&CONNECT).await;
        assert_eq!(status(&mut recv).await, 200);
        (quinn::VarInt::from(send.id()).into_inner(), send, recv)
    }

    /// The code with which the server closes.
    async fn closed(&self) -> u64 {
        match timeout(HANG, self.connection.closed()).await.expect("not closed") {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            error => panic!("{error:?}"),
        }
    }
}

fn headers(fields: &[(&str, &str)]) -> Bytes {
    let headers: Headers = fields.iter().copied().collect();
    let mut out = BytesMut::new();
    put_frame(&mut out, h3::HEADERS_FRAME, headers.generate_frame().payload());
    out.freeze()
}

fn of_session(session: u64, then: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_varint(&mut out, h3::WEBTRANSPORT_FRAME);
    put_varint(&mut out, session);
    out.extend_from_slice(then);
    out.freeze()
}

fn raw_frame(kind: u64, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_frame(&mut out, kind, payload);
    out.freeze()
}

/// The status in the answer.
async fn status(recv: &mut RecvStream) -> u16 {
    let mut bytes = Vec::new();
    loop {
        if let Some((kind, kind_bytes)) = take_varint(&bytes)
            && let Some((length, length_bytes)) = take_varint(&bytes[kind_bytes..])
            && bytes.len() >= kind_bytes + length_bytes + length as usize
        {
            assert_eq!(kind, h3::HEADERS_FRAME);
            let payload = bytes[kind_bytes + length_bytes..][..length as usize].to_vec();
            let headers = Headers::with_frame(&Frame::new_headers(payload.into())).unwrap();
            return headers.get(":status").unwrap().parse().unwrap();
        }
        let chunk = timeout(HANG, recv.read_chunk(1_000, true)).await.expect("no answer").unwrap();
        bytes.extend_from_slice(&chunk.expect("the answer is whole").bytes);
    }
}

fn short() -> Limits {
    Limits { session_timeout: Duration::from_millis(300), ..Limits::default() }
}

fn rig(limits: Limits) -> Rig {
    Rig::with(limits, Arc::new(|_| true))
}

#[tokio::test]
async fn the_settings_say_what_browsers_look_for_before_the_client_says_anything() {
    let rig = Rig::new();
    let hand = Hand::bare(&rig).await;
    let mut control = timeout(HANG, hand.connection.accept_uni()).await.unwrap().unwrap();
    let mut bytes = vec![0; h3::settings().len()];
    timeout(HANG, control.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes[..2], [0, 4]);
    let (_, length_bytes) = take_varint(&bytes[2..]).unwrap();
    let mut payload = &bytes[2 + length_bytes..];
    let mut settings = Vec::new();
    while !payload.is_empty() {
        let (id, id_bytes) = take_varint(payload).unwrap();
        let (value, value_bytes) = take_varint(&payload[id_bytes..]).unwrap();
        settings.push((id, value));
        payload = &payload[id_bytes + value_bytes..];
    }
    for id in [0x08, 0x33, 0x2b60_3742, 0xc671_706a] {
        assert!(settings.contains(&(id, 1)), "{id:x} in {settings:?}");
    }
}

#[tokio::test]
async fn requests_that_are_none_for_a_session_get_their_status_and_the_connection_goes() {
    let get = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/wt")];
    let without = |name: &str| CONNECT.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| {
        let mut fields = without(name);
        fields.push((name, value));
        headers(&fields)
    };
    let huge = "x".repeat(70_000);
    let cases: Vec<(u16, Bytes)> = vec![
        (405, headers(&get)),
        (400, headers(&without(":protocol"))),
        (400, headers(&without(":path"))),
        (400, headers(&without(":authority"))),
        (400, with(":scheme", "http")),
        (400, with(":protocol", "connect-udp")),
        (404, with(":path", "/")),
        (404, with(":path", "/wt#")),
        (431, headers(&[&CONNECT[..], &[("token", &huge)]].concat())),
        // QPACK: nothing, the dynamic table, an integer without an end, a string beyond the end.
        (400, raw_frame(h3::HEADERS_FRAME, &[])),
        (400, raw_frame(h3::HEADERS_FRAME, &[0, 0, 0x80])),
        (
            400,
            raw_frame(
                h3::HEADERS_FRAME,
                &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            ),
        ),
        (400, raw_frame(h3::HEADERS_FRAME, &[0, 0, 0x27, 0xff, 0x7f, 0x41])),
    ];
    let mut rig = Rig::new();
    let count = cases.len() as u64;
    // Side by side, since each connection is given some time to go by itself.
    let rig_ref = &rig;
    let refused = cases.into_iter().map(async |(expected, request)| {
        let hand = Hand::new(rig_ref).await;
        let (mut send, mut recv) = timeout(HANG, hand.connection.open_bi()).await.unwrap().unwrap();
        // The large one is not read to its end.
        let (_, status) = tokio::join!(send.write_all(&request), status(&mut recv));
        assert_eq!(status, expected, "{request:?}");
        assert_eq!(hand.closed().await, h3::NO_ERROR.into_inner());
        // HTTP/3's own streams lived as long as the connection, else the client could not trust the answer.
        let stopped = hand.control.as_ref().unwrap().stopped().await;
        assert!(matches!(stopped, Err(quinn::StoppedError::ConnectionLost(_))), "{stopped:?}");
    });
    futures_util::future::join_all(refused).await;
    until(async || rig.counters.rejected.get() == count).await;
    assert!(rig.is_idle());
}

#[tokio::test]
async fn what_is_not_http3_closes_the_connection() {
    let uni = |kind: u64, then: &[u8]| {
        let mut out = BytesMut::new();
        put_varint(&mut out, kind);
        out.extend_from_slice(then);
        out.freeze()
    };
    let too_long = [0x80, 1, 0, 0];
    let cases: Vec<(quinn::VarInt, bool, Bytes)> = vec![
        (h3::MISSING_SETTINGS, true, uni(0, &[7, 1, 0])),
        (h3::EXCESSIVE_LOAD, true, uni(0, &[&[4][..], &too_long].concat())),
        (h3::SETTINGS_ERROR, true, uni(0, &[4, 1, 8])),
        (h3::SETTINGS_ERROR, true, uni(0, &[4, 2, 2, 0])),
        (h3::STREAM_CREATION_ERROR, true, uni(1, &[0])),
        (h3::FRAME_UNEXPECTED, false, raw_frame(h3::DATA_FRAME, b"x")),
        (h3::FRAME_UNEXPECTED, false, raw_frame(h3::SETTINGS_FRAME, b"")),
        (h3::ID_ERROR, false, of_session(3, b"")),
        (h3::EXCESSIVE_LOAD, false, Bytes::from([&[0x21][..], &too_long].concat())),
        (h3::EXCESSIVE_LOAD, false, Bytes::from([0x21, 0].repeat(20))),
    ];
    let rig = Rig::new();
    let count = cases.len() as u64;
    for (code, is_uni, bytes) in cases {
        let hand = Hand::bare(&rig).await;
        if is_uni {
            hand.uni(&bytes).await;
        } else {
            hand.bi(&bytes).await;
        }
        assert_eq!(hand.closed().await, code.into_inner(), "{bytes:?}");
    }
    until(async || rig.counters.rejected.get() == count).await;
    for kind in [0, h3::QPACK_ENCODER_STREAM, h3::QPACK_DECODER_STREAM] {
        let hand = Hand::new(&rig).await;
        let _first = hand.uni(&uni(kind, b"")).await;
        let bytes = if kind == 0 { h3::settings() } else { uni(kind, b"") };
        hand.uni(&bytes).await;
        assert_eq!(hand.closed().await, h3::STREAM_CREATION_ERROR.into_inner());
    }
}

#[tokio::test]
async fn without_a_session_or_its_control_stream_a_connection_is_closed_in_time() {
    let mut rig = rig(short());
    let silent = Hand::bare(&rig).await;
    assert_eq!(silent.closed().await, CloseCode::Unauthenticated as u64);
    let settings_only = Hand::new(&rig).await;
    assert_eq!(settings_only.closed().await, CloseCode::Unauthenticated as u64);
    let no_settings = Hand::bare(&rig).await;
    let _request = no_settings.request(&CONNECT).await;
    assert_eq!(no_settings.closed().await, CloseCode::Unauthenticated as u64);
    let no_control = Hand::new(&rig).await;
    let _session = no_control.session().await;
    assert_eq!(no_control.closed().await, CloseCode::Unauthenticated as u64);
    let half_a_request = Hand::new(&rig).await;
    let _half = half_a_request.bi(&headers(&CONNECT)[..9]).await;
    assert_eq!(half_a_request.closed().await, CloseCode::Unauthenticated as u64);
    assert_eq!(rig.counters.no_session.get(), 5);
    assert!(rig.is_idle());
}

#[tokio::test]
async fn streams_left_unfinished_delay_nothing() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    // One before the request, one before the control stream, one unidirectional; each of a byte and no more.
    let _first = hand.bi(&[0x40]).await;
    let _uni = hand.uni(&[0x40]).await;
    let (id, _request, _answer) = hand.session().await;
    let _second = hand.bi(&[0x40, 0x41]).await;
    let (_send, recv) = hand.bi(&of_session(id, &encoded(&signal("hello", 1)))).await;
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("hello", 1));
    session.send(Outgoing::Frame(server_signal("welcome", 1))).await;
    assert_eq!(Frames::new(recv).next().await, Some(server_signal("welcome", 1)));
}

#[tokio::test]
async fn everything_may_come_in_any_order_and_cut_anywhere() {
    let mut rig = Rig::new();
    let hand = Hand::bare(&rig).await;
    // The control stream before the request before the settings: the first request is stream 0.
    let (mut request, mut answer) = hand.connection.open_bi().await.unwrap();
    let frame = encoded(&signal("early", 100));
    let (_send, _recv) = hand.bi(&of_session(0, &frame)).await;
    for byte in [&[0x21, 0x01, 0x07][..], &headers(&CONNECT)].concat() {
        request.write_all(&[byte]).await.unwrap();
    }
    let mut control = hand.connection.open_uni().await.unwrap();
    for byte in h3::settings() {
        control.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(status(&mut answer).await, 200);
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("early", 100));
}

#[tokio::test]
async fn a_stream_of_another_session_that_came_early_is_not_taken_for_the_control_stream() {
    let mut rig = Rig::new();
    let mut hand = Hand::bare(&rig).await;
    let (request, mut answer) = hand.request(&CONNECT).await;
    let (_foreign, mut refused) = hand.bi(&of_session(400, &encoded(&signal("foreign", 1)))).await;
    // When a later stream is refused, the earlier ones are read.
    let (_second, mut second) = hand.request(&CONNECT).await;
    let error = timeout(HANG, second.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::REQUEST_REJECTED));
    hand.control = Some(hand.uni(&h3::settings()).await);
    assert_eq!(status(&mut answer).await, 200);
    let id = quinn::VarInt::from(request.id()).into_inner();
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("own", 1)))).await;
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("own", 1));
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::STREAM_REJECTED));
}

#[tokio::test]
async fn a_second_session_is_never_served() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    let (id, _request, _answer) = hand.session().await;
    let (_send, mut refused) = hand.request(&CONNECT).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::REQUEST_REJECTED));
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("one", 1));
    let (_send, mut refused) = hand.request(&CONNECT).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::REQUEST_REJECTED));
    assert!(rig.is_idle() && session.is_quiet());
}

#[tokio::test]
async fn streams_and_datagrams_of_no_session_are_rejected() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    let (id, _request, _answer) = hand.session().await;
    let (_send, mut refused) = hand.bi(&of_session(id + 400, b"x")).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::STREAM_REJECTED));
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
    let mut session = rig.session().await;
    session.frame().await;
    session.open(0, true).await;

    let (_send, mut refused) = hand.bi(&of_session(id + 400, b"x")).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::STREAM_REJECTED));
    let mut uni = hand.uni(&h3::uni_header(id)).await;
    assert_eq!(timeout(HANG, uni.stopped()).await.unwrap(), Ok(Some(h3::STREAM_REJECTED)));
    uni.reset(h3::NO_ERROR).unwrap();

    let datagram = |quarter: &[u8], name: &str| [quarter, &signal(name, 1).encode_to_vec()].concat().into();
    hand.connection.send_datagram(datagram(&[0x20], "foreign")).unwrap();
    hand.connection.send_datagram(datagram(&[], "none")).unwrap();
    hand.connection.send_datagram(Bytes::new()).unwrap();
    hand.connection.send_datagram(datagram(&h3::datagram_header(id), "own")).unwrap();
    let event = session.event().await;
    assert!(matches!(&event, Event::Datagram(frame) if *frame == signal("own", 1)), "{event:?}");
}

#[tokio::test]
async fn opening_and_resetting_again_and_again_closes_the_connection() {
    for with_session in [false, true] {
        let mut rig = Rig::new();
        let hand = Hand::new(&rig).await;
        let (id, _request, _answer) = hand.session().await;
        let mut parts = None;
        if with_session {
            let control = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
            parts = Some((control, rig.session().await));
        }
        let mut opened = 0;
        while let Ok((mut send, _recv)) = timeout(HANG, hand.connection.open_bi()).await.expect("stuck") {
            let _ = send.write_all(&[0x40]).await;
            let _ = send.reset(h3::NO_ERROR);
            opened += 1;
            assert!(opened < 10_000, "nothing ends it");
        }
        assert_eq!(hand.closed().await, h3::EXCESSIVE_LOAD.into_inner());
        if let Some((_control, mut session)) = parts {
            assert_eq!(session.frame().await, signal("one", 1));
            let event = session.event().await;
            assert!(matches!(event, Event::Gone(None)), "{event:?}");
        }
    }
}

#[tokio::test]
async fn the_clients_end_of_the_session_is_told_with_its_code() {
    let code = crate::transport::webtransport::capsule::close(4_100, "bye");
    for (bytes, expected) in [(&code[..], Some(4_100)), (&[], Some(0))] {
        let mut rig = Rig::new();
        let hand = Hand::new(&rig).await;
        let (id, mut request, _answer) = hand.session().await;
        let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
        let mut session = rig.session().await;
        session.frame().await;
        request.write_all(bytes).await.unwrap();
        request.finish().unwrap();
        let event = session.event().await;
        assert!(matches!(event, Event::Gone(code) if code == expected), "{event:?}");
    }
}

#[tokio::test]
async fn a_client_that_ignores_the_close_is_closed() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    let (id, _request, _answer) = hand.session().await;
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
    let session = rig.session().await;
    session.close(CloseCode::Draining).await;
    assert_eq!(hand.closed().await, CloseCode::Draining as u64);
}
