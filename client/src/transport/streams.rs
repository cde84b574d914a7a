//! A connection of streams and datagrams, QUIC or WebTransport: the control stream, lanes, answers of their own. It
//! polls them all in one task, taking turns.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use quinn::{VarInt, WriteError};
use tidegate_proto::limits::MAX_DATAGRAM_BYTES;
use tidegate_proto::v1::CloseCode;

use super::LinkError;
use super::inbound::{Inbound, Incoming, Next, Role};
use crate::read_rate::Throttle;

/// The parts of an open connection.
pub(crate) struct Streams {
    connection: Connection,
    send: Outgoing,
    /// The control stream first.
    inbound: Vec<Inbound>,
    /// Whose turn it is to be asked.
    turn: usize,
    /// `None` until Welcome.
    accepting: Option<Source<Incoming>>,
    datagrams: Option<Source<Bytes>>,
    /// Of all streams together.
    throttle: Throttle,
    /// The connection has ended, and there may still be something to read.
    lost: Option<LinkError>,
}

/// The connection itself.
#[derive(Debug, Clone)]
pub(crate) enum Connection {
    Quic(quinn::Connection),
    WebTransport(Arc<wtransport::Connection>),
}

/// The sending half of the control stream.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Quic(quinn::SendStream),
    WebTransport(wtransport::SendStream),
}

type Source<T> = Pin<Box<dyn Stream<Item = Result<T, LinkError>> + Send>>;

impl Streams {
    /// A connection whose control stream is open.
    pub(crate) fn new(connection: Connection, send: Outgoing, receive: Incoming) -> Self {
        let control = Inbound::new(receive, Role::Control);
        Self {
            connection,
            send,
            inbound: vec![control],
            turn: 0,
            accepting: None,
            datagrams: None,
            throttle: Throttle::default(),
            lost: None,
        }
    }

    pub(crate) fn throttle(&mut self, throttle: Throttle) {
        self.throttle = throttle;
    }

    pub(crate) fn start_lanes(&mut self) {
        self.accepting = Some(self.connection.uni_streams());
        self.datagrams = Some(self.connection.datagrams());
    }

    /// Asks every source in turn; a stream has its turn for so many bytes. Pending only when all of them were asked
    /// and have nothing.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, LinkError>> {
        let mut all_asked = self.turn == 0;
        loop {
            let more = match self.poll_inbound(cx) {
                Ok(Next::Frame(frame)) => return Poll::Ready(Ok(frame)),
                Ok(Next::Later) => true,
                Ok(Next::None) => false,
                Err(error) => return Poll::Ready(Err(error)),
            };
            self.turn = 0;
            if let Poll::Ready(Some(datagram)) = poll_source(&mut self.datagrams, cx) {
                return Poll::Ready(datagram);
            }
            let accepted = self.accept(cx);
            if all_asked && !accepted && !more {
                return self.lost.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            }
            all_asked = true;
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Poll<Result<(), LinkError>> {
        while !out.is_empty() {
            let written = ready!(self.send.quic().poll_write(cx, out)).map_err(write_error)?;
            out.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn stream_frames(&self) -> u64 {
        self.connection.stream_frames()
    }

    pub(crate) fn has_datagrams(&self) -> bool {
        self.connection.max_datagram_bytes().is_some_and(|max| max >= MAX_DATAGRAM_BYTES)
    }

    pub(crate) fn send_datagram(&self, frame: Bytes) {
        // A datagram may be lost on the way; one that is not even sent is no different.
        let _ = match &self.connection {
            Connection::Quic(connection) => connection.send_datagram(frame).is_ok(),
            Connection::WebTransport(connection) => connection.send_datagram(frame).is_ok(),
        };
    }

    pub(crate) fn finish(&mut self) {
        // It can only be finished already.
        let _ = self.send.quic().finish();
    }

    pub(crate) fn close(&mut self, code: CloseCode) {
        self.connection.close(code as u32);
    }

    /// Asks the streams from the one whose turn it is to the last.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Result<Next, LinkError> {
        let mut next = Next::None;
        while let Some(inbound) = self.inbound.get_mut(self.turn) {
            match inbound.poll_frame(cx, &mut self.throttle) {
                Poll::Ready(Ok(Next::Frame(frame))) => return Ok(Next::Frame(frame)),
                Poll::Ready(Ok(Next::Later)) => {
                    next = Next::Later;
                    self.turn += 1;
                }
                Poll::Ready(Ok(Next::None)) if inbound.role == Role::Control => return Err(LinkError::Ended),
                Poll::Ready(Ok(Next::None)) => {
                    self.inbound.remove(self.turn);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => self.turn += 1,
            }
        }
        Ok(next)
    }

    /// Takes in the streams that the server has opened. That there will be no more is said only when all that has
    /// come before was read.
    fn accept(&mut self, cx: &mut Context<'_>) -> bool {
        let mut accepted = false;
        while let Poll::Ready(Some(stream)) = poll_source(&mut self.accepting, cx) {
            match stream {
                Ok(receive) => {
                    self.inbound.push(Inbound::new(receive, Role::Headless));
                    accepted = true;
                }
                Err(error) => {
                    self.lost = Some(error);
                    self.accepting = None;
                }
            }
        }
        accepted
    }
}

impl Drop for Streams {
    /// The connection ends with its owner, also when it was only opened for a race.
    fn drop(&mut self) {
        self.connection.close(0);
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("inbound", &self.inbound.len()).finish_non_exhaustive()
    }
}

impl Connection {
    fn close(&self, code: u32) {
        match self {
            Self::Quic(connection) => connection.close(VarInt::from_u32(code), b""),
            Self::WebTransport(connection) => connection.close(wtransport::VarInt::from_u32(code), b""),
        }
    }

    fn stream_frames(&self) -> u64 {
        let stats = match self {
            Self::Quic(connection) => connection.stats(),
            Self::WebTransport(connection) => connection.quic_connection().stats(),
        };
        stats.frame_rx.stream
    }

    fn max_datagram_bytes(&self) -> Option<usize> {
        match self {
            Self::Quic(connection) => connection.max_datagram_size(),
            Self::WebTransport(connection) => connection.max_datagram_size(),
        }
    }

    /// The uni streams that the server opens.
    fn uni_streams(&self) -> Source<Incoming> {
        Box::pin(stream::unfold(self.clone(), async |connection| {
            let stream = match &connection {
                Self::Quic(quic) => quic.accept_uni().await.map(Incoming::Quic).map_err(connection_error),
                Self::WebTransport(session) => {
                    session.accept_uni().await.map(Incoming::WebTransport).map_err(session_error)
                }
            };
            Some((stream, connection))
        }))
    }

    /// The datagrams. They end with the connection, which others notice.
    fn datagrams(&self) -> Source<Bytes> {
        Box::pin(stream::unfold(self.clone(), async |connection| {
            let datagram = match &connection {
                Self::Quic(quic) => quic.read_datagram().await.ok()?,
                Self::WebTransport(session) => session.receive_datagram().await.ok()?.payload(),
            };
            Some((Ok(datagram), connection))
        }))
    }
}

impl Outgoing {
    fn quic(&mut self) -> Pin<&mut quinn::SendStream> {
        Pin::new(match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        })
    }
}

fn poll_source<T>(
    source: &mut Option<Source<T>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<T, LinkError>>> {
    let Some(stream) = source else { return Poll::Ready(None) };
    let item = ready!(stream.as_mut().poll_next(cx));
    if item.is_none() {
        *source = None;
    }
    Poll::Ready(item)
}

fn write_error(error: WriteError) -> LinkError {
    match error {
        WriteError::Stopped(_) => LinkError::Protocol("the control stream was stopped"),
        WriteError::ConnectionLost(error) => connection_error(error),
        other => LinkError::Transport(other.into()),
    }
}

pub(super) fn connection_error(error: quinn::ConnectionError) -> LinkError {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            closed(close.error_code.into_inner(), &close.reason)
        }
        other => LinkError::Transport(other.into()),
    }
}

fn session_error(error: wtransport::error::ConnectionError) -> LinkError {
    match error {
        wtransport::error::ConnectionError::ApplicationClosed(close) => {
            closed(close.code().into_inner(), close.reason())
        }
        other => LinkError::Transport(other.into()),
    }
}

fn closed(code: u64, reason: &[u8]) -> LinkError {
    let reason = String::from_utf8_lossy(&reason[..reason.len().min(MAX_REASON_BYTES)]).into_owned();
    LinkError::Closed { code: u32::try_from(code).unwrap_or(0), reason }
}

/// What is kept of the words of a close.
const MAX_REASON_BYTES: usize = 256;
