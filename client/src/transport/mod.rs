//! A connection to a server, whatever it runs over: frames in, bytes out. It does not know what frames mean.

mod inbound;
mod quic;
mod streams;
mod web_socket;
mod web_transport;

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use prost::{DecodeError, Message};
use tidegate_proto::framing::FramingError;
use tidegate_proto::v1::{CloseCode, ServerFrame};

use crate::config::BoxError;
use crate::read_rate::Throttle;
use streams::Streams;
use web_socket::Socket;

pub(crate) use quic::open as open_quic;
#[cfg(test)]
pub(crate) use web_socket::over as web_socket_over;
pub(crate) use web_socket::{connect as open_tcp, open as open_web_socket, open_tls as open_web_socket_tls};
pub(crate) use web_transport::open as open_web_transport;

/// An open connection.
#[derive(Debug)]
pub(crate) enum Link {
    /// QUIC or WebTransport.
    Streams(Box<Streams>),
    /// WebSocket.
    WebSocket(Box<Socket>),
}

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The server closed it with a code of its own.
    #[error("closed with code {code} {reason}")]
    Closed {
        /// The WebSocket close code, or the application error code of QUIC and WebTransport.
        code: u32,
        /// What the server said with it.
        reason: String,
    },
    /// It ended without a word.
    #[error("ended without a close")]
    Ended,
    /// The bytes are no frames.
    #[error("not a sequence of frames")]
    Framing(#[from] FramingError),
    /// The bytes of a frame are no ServerFrame.
    #[error("not a frame of the server's")]
    Decode(#[from] DecodeError),
    /// The server broke a rule of the protocol.
    #[error("the server broke a rule: {0}")]
    Protocol(&'static str),
    /// A lane was reset; its deliveries are lost to this session.
    #[error("a lane was reset with code {0}")]
    LaneReset(u64),
    /// The transport failed.
    #[error("the transport failed")]
    Transport(#[source] BoxError),
}

impl Link {
    /// The next frame. With `welcomed` false only the control stream is read.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<ServerFrame, LinkError>> {
        self.poll_bytes(cx).map(|bytes| decode(&bytes?))
    }

    /// The next frame as it came, without its length.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, LinkError>> {
        match self {
            Self::Streams(streams) => streams.poll_bytes(cx),
            Self::WebSocket(socket) => socket.poll_bytes(cx),
        }
    }

    /// Writes `out`, which holds whole frames; ready when it is empty and handed to the transport.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Poll<Result<(), LinkError>> {
        match self {
            Self::Streams(streams) => streams.poll_write(cx, out),
            Self::WebSocket(socket) => socket.poll_write(cx, out),
        }
    }

    /// Reads no faster than this from now on.
    pub(crate) fn throttle(&mut self, throttle: Throttle) {
        match self {
            Self::Streams(streams) => streams.throttle(throttle),
            Self::WebSocket(socket) => socket.throttle(throttle),
        }
    }

    /// Welcome has come: from now on lanes and datagrams are read.
    pub(crate) fn welcomed(&mut self) {
        match self {
            Self::Streams(streams) => streams.start_lanes(),
            Self::WebSocket(_) => {}
        }
    }

    /// How many WebSocket messages have come, or STREAM frames of QUIC: what the server wrote at once is in one of
    /// them, or in one for each packet.
    pub(crate) fn pieces(&self) -> u64 {
        match self {
            Self::Streams(streams) => streams.stream_frames(),
            Self::WebSocket(socket) => socket.messages(),
        }
    }

    /// Whether both sides have datagrams.
    pub(crate) fn has_datagrams(&self) -> bool {
        match self {
            Self::Streams(streams) => streams.has_datagrams(),
            Self::WebSocket(_) => false,
        }
    }

    /// Sends one frame without a length. It may get lost.
    pub(crate) fn send_datagram(&self, frame: Bytes) {
        if let Self::Streams(streams) = self {
            streams.send_datagram(frame);
        }
    }

    /// Nothing will be written any more: says so to the server, which then closes.
    pub(crate) fn finish(&mut self, code: CloseCode) {
        match self {
            Self::Streams(streams) => streams.finish(),
            Self::WebSocket(socket) => socket.finish(code),
        }
    }

    /// Closes at once. What is not on its way is lost.
    pub(crate) fn close(&mut self, code: CloseCode) {
        match self {
            Self::Streams(streams) => streams.close(code),
            // Dropping it closes the TCP connection; the code has gone with `finish`.
            Self::WebSocket(_) => {}
        }
    }
}

/// A frame from its bytes. The contents are copied out of `bytes`, so that keeping a message does not keep the buffer
/// it came in.
fn decode(bytes: &[u8]) -> Result<ServerFrame, LinkError> {
    Ok(ServerFrame::decode(bytes)?)
}
