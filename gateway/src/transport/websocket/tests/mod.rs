//! The transport over a pipe in memory, with paused time: a client of another making, and bytes by hand.

mod closing;
mod frames;
mod pace;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use prost::Message as _;
use tidegate_pipeline::body::Body;
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{
    ClientFrame, Error, GoAway, Hello, Msg, Page, Ping, Pong, Send as SendFrame, client_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::*;

type Server = WebSocket<DuplexStream>;
type Client = WebSocketStream<DuplexStream>;

fn new_server(form: Form, pipe_bytes: usize) -> (Server, DuplexStream) {
    let (ours, theirs) = duplex(pipe_bytes);
    (WebSocket::new(ours, BytesMut::new(), ([127, 0, 0, 1], 1).into(), form), theirs)
}

fn binary() -> (Server, Client) {
    let (server, client) = new_server(Form::Binary { token: None }, 1 << 20);
    (server, ClientBuilder::new().take_over(client))
}

fn json() -> (Server, Client) {
    let (server, client) = new_server(Form::Json { token: None }, 1 << 20);
    (server, ClientBuilder::new().take_over(client))
}

fn ping(id: u32) -> ClientFrame {
    ClientFrame { id, kind: Some(client_frame::Kind::Ping(Ping {})) }
}

fn pong(id: u32) -> ServerFrame {
    ServerFrame { id, kind: Some(server_frame::Kind::Pong(Pong::default())) }
}

fn wire(frames: &[ClientFrame]) -> Vec<u8> {
    let mut wire = BytesMut::new();
    frames.iter().for_each(|frame| put_frame(&mut wire, frame));
    wire.to_vec()
}

/// A client's unfragmented frame with a mask of zeros.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

fn deliver(seq: u64, content: usize) -> Outgoing {
    let msg = Msg { send_id: "alice".into(), content: vec![b'x'; content].into(), ..Msg::default() };
    let body = Body::from_stored(&msg.encode_to_vec(), 3).unwrap();
    Outgoing::Deliver { timeline: "".into(), seq, body: Some(body) }
}

fn frames(message: &Message) -> Vec<ServerFrame> {
    assert!(message.is_binary(), "{message:?}");
    let mut bytes = BytesMut::from(&message.as_payload()[..]);
    let mut frames = Vec::new();
    while let Some(frame) = split_frame(&mut bytes, 1 << 20).unwrap() {
        frames.push(ServerFrame::decode(frame).unwrap());
    }
    assert!(bytes.is_empty());
    frames
}

fn frame_of(event: Event) -> ClientFrame {
    match event {
        Event::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

fn bad_of(event: Event) -> Bad {
    match event {
        Event::Bad(bad) => bad,
        other => panic!("{other:?}"),
    }
}

/// Writes what is queued.
async fn flush(server: &mut Server) {
    while server.queued_bytes() > 0 {
        assert!(matches!(server.next(false).await, Event::Written));
    }
}

fn error(message: &str) -> ServerFrame {
    let error = Error { message: message.into(), ..Error::default() };
    ServerFrame { id: 0, kind: Some(server_frame::Kind::Error(error)) }
}
