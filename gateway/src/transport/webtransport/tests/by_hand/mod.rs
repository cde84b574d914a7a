//! A client that writes HTTP/3 by hand, rightly and wrongly.

mod refused;
mod streams;

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
