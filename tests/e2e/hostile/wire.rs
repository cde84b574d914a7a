//! A client by hand over any transport: a control stream on which a test writes whatever bytes it likes, and the code
//! with which the server closes it.

use std::time::Duration;

use bytes::BytesMut;
use prost::Message as _;
use tidegate_client::Transport;
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::v1::{ClientFrame, Hello, ServerFrame, Welcome, client_frame, server_frame};

use super::socket::Socket;
use super::streams::{NO_CODE, Streams};
use crate::peer::within;
use crate::server::Server;

/// One connection.
pub(super) struct Wire {
    way: Way,
    unread: BytesMut,
}

enum Way {
    Streams(Box<Streams>),
    Socket(Box<Socket>),
}

impl Wire {
    /// Connects, up to the point where Hello would be said.
    pub(super) async fn open(server: &Server, transport: Transport) -> Self {
        let way = match transport {
            Transport::WebSocket => {
                Way::Socket(Box::new(within(Socket::upgrade(server.plain, "/ws", "tidegate.v1")).await))
            }
            _ => Way::Streams(Box::new(
                within(Streams::open(server, transport, quinn::TransportConfig::default())).await,
            )),
        };
        Self { way, unread: BytesMut::new() }
    }

    /// Over streams that are open.
    pub(super) fn on(streams: Streams) -> Self {
        Self { way: Way::Streams(Box::new(streams)), unread: BytesMut::new() }
    }

    /// Connects and says Hello.
    pub(super) async fn welcomed(server: &Server, transport: Transport, user: &str, device: &str) -> Self {
        let mut wire = Self::open(server, transport).await;
        wire.hello(server, user, device).await;
        wire
    }

    /// Says Hello and takes the Welcome.
    pub(super) async fn hello(&mut self, server: &Server, user: &str, device: &str) -> Welcome {
        self.send(client_frame::Kind::Hello(hello(server, user, device))).await;
        match self.frame().await.and_then(|frame| frame.kind) {
            Some(server_frame::Kind::Welcome(welcome)) => welcome,
            other => panic!("no Welcome: {other:?}"),
        }
    }

    /// Writes a frame as it should be.
    pub(super) async fn send(&mut self, kind: client_frame::Kind) {
        self.write(&framed(kind)).await;
    }

    /// Writes bytes to the control stream, or as one binary message. The server may have closed already.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        match &mut self.way {
            Way::Streams(streams) => _ = within(streams.control.0.write_all(bytes)).await,
            Way::Socket(socket) => within(socket.write_message(bytes)).await,
        }
    }

    /// Writes bytes as they are, on a WebSocket too.
    pub(super) async fn write_raw(&mut self, bytes: &[u8]) {
        match &mut self.way {
            Way::Streams(_) => self.write(bytes).await,
            Way::Socket(socket) => within(socket.write_raw(bytes)).await,
        }
    }

    /// Says that nothing more comes.
    pub(super) async fn finish(&mut self) {
        match &mut self.way {
            Way::Streams(streams) => _ = streams.control.0.finish(),
            Way::Socket(socket) => within(socket.shut_down()).await,
        }
    }

    /// Breaks off the control stream.
    pub(super) fn reset(&mut self) {
        if let Way::Streams(streams) = &mut self.way {
            streams.control.0.reset(NO_CODE).unwrap();
        }
    }

    /// Wants nothing more of the control stream.
    pub(super) fn stop(&mut self) {
        if let Way::Streams(streams) = &mut self.way {
            streams.control.1.stop(NO_CODE).unwrap();
        }
    }

    /// The next frame; `None` when no more will come.
    pub(super) async fn frame(&mut self) -> Option<ServerFrame> {
        loop {
            if let Some(frame) = split_frame(&mut self.unread, 1 << 20).unwrap() {
                return Some(ServerFrame::decode(frame).unwrap());
            }
            let more = match &mut self.way {
                Way::Streams(streams) => within(streams.read()).await,
                Way::Socket(socket) => within(socket.read_message()).await,
            };
            self.unread.extend_from_slice(&more?);
        }
    }

    /// Reads to the end, however it comes.
    pub(super) async fn closed_somehow(mut self) {
        while self.frame().await.is_some() {}
        match self.way {
            Way::Streams(streams) => {
                drop(streams.control);
                within(streams.connection.closed()).await;
            }
            Way::Socket(socket) => _ = within(socket.closed()).await,
        }
    }

    /// Reads to the end: the last frame, and the code with which the server closed; 0 when it said none.
    pub(super) async fn closed(mut self) -> (Option<ServerFrame>, u32) {
        let mut last = None;
        while let Some(frame) = self.frame().await {
            last = Some(frame);
        }
        let code = match self.way {
            // As clients do whose stack loses the code.
            Way::Streams(streams) => within(streams.closed()).await.unwrap_or_else(|| said(last.as_ref())),
            Way::Socket(socket) => within(socket.closed()).await,
        };
        (last, code)
    }
}

/// The code in the last frame.
fn said(last: Option<&ServerFrame>) -> u32 {
    match last.and_then(|last| last.kind.as_ref()) {
        Some(server_frame::Kind::Error(error)) => error.close.cast_unsigned(),
        Some(server_frame::Kind::GoAway(go_away)) => go_away.reason.cast_unsigned(),
        _ => 0,
    }
}

/// A good Hello.
pub(super) fn hello(server: &Server, user: &str, device: &str) -> Hello {
    let token = server.token(user, Duration::from_secs(3600));
    Hello { token, device_id: device.to_owned(), attempt: 1, ..Hello::default() }
}

/// A frame with its length.
pub(super) fn framed(kind: client_frame::Kind) -> BytesMut {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, &ClientFrame { id: 7, kind: Some(kind) });
    bytes
}
