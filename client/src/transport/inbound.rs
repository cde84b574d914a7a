//! One stream from the server: its frames, a turn at a time. It does not know what frames mean.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use prost::Message;
use quinn::ReadError;
use tidegate_proto::framing::split_frame;
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{StreamHeader, stream_header};

use super::LinkError;
use super::streams::connection_error;
use crate::read_rate::Throttle;

#[derive(Debug)]
pub(crate) struct Inbound {
    receive: Incoming,
    buffer: BytesMut,
    pub(crate) role: Role,
    /// What was read since the turn began.
    turn_bytes: usize,
}

/// A receiving half.
#[derive(Debug)]
pub(crate) enum Incoming {
    Quic(quinn::RecvStream),
    WebTransport(wtransport::RecvStream),
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Control,
    /// A uni stream whose header has not come yet.
    Headless,
    Lane,
    Answer,
}

/// What a stream gives when it is asked.
#[derive(Debug)]
pub(crate) enum Next {
    /// A frame, without its length.
    Frame(Bytes),
    /// There may be more, and it is another one's turn.
    Later,
    None,
}

impl Inbound {
    pub(crate) fn new(receive: Incoming, role: Role) -> Self {
        Self { receive, buffer: BytesMut::new(), role, turn_bytes: 0 }
    }

    /// The stream's next frame; `Next::None` at its end.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        throttle: &mut Throttle,
    ) -> Poll<Result<Next, LinkError>> {
        loop {
            if let Some(frame) = split_frame(&mut self.buffer, MAX_FRAME_BYTES)? {
                if self.role != Role::Headless {
                    return Poll::Ready(Ok(Next::Frame(frame)));
                }
                self.role = role(&frame)?;
                continue;
            }
            if self.turn_bytes >= TURN_BYTES {
                self.turn_bytes = 0;
                return Poll::Ready(Ok(Next::Later));
            }
            if self.buffer.is_empty() {
                // An idle stream holds no memory.
                self.buffer = BytesMut::new();
            }
            let Poll::Ready(chunk) = self.receive.poll_chunk(cx, throttle) else {
                self.turn_bytes = 0;
                return Poll::Pending;
            };
            match chunk {
                Ok(Some(bytes)) => {
                    self.turn_bytes += bytes.len();
                    self.buffer.extend_from_slice(&bytes);
                }
                Ok(None) if self.buffer.is_empty() => return Poll::Ready(Ok(Next::None)),
                Ok(None) => return Poll::Ready(Err(LinkError::Protocol("a stream ended within a frame"))),
                Err(ReadError::Reset(_)) if self.role == Role::Answer => return Poll::Ready(Ok(Next::None)),
                Err(error) => return Poll::Ready(Err(read_error(error))),
            }
        }
    }
}

impl Incoming {
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        throttle: &mut Throttle,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        let max = ready!(throttle.poll_allowance(cx, MAX_CHUNK_BYTES));
        let stream = match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        };
        // The future has no state: what wakes the task is kept by the connection.
        let chunk = ready!(pin!(stream.read_chunk(max, true)).poll(cx))?;
        throttle.took(chunk.as_ref().map_or(0, |chunk| chunk.bytes.len()));
        Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes)))
    }
}

fn role(header: &[u8]) -> Result<Role, LinkError> {
    match StreamHeader::decode(header)?.kind {
        Some(stream_header::Kind::Lane(_)) => Ok(Role::Lane),
        Some(stream_header::Kind::AnswerTo(_)) => Ok(Role::Answer),
        None => Err(LinkError::Protocol("a stream begins with no StreamHeader")),
    }
}

fn read_error(error: ReadError) -> LinkError {
    match error {
        ReadError::Reset(code) => LinkError::LaneReset(code.into_inner()),
        ReadError::ConnectionLost(error) => connection_error(error),
        other => LinkError::Transport(other.into()),
    }
}

/// What is read from a stream before the next one is asked.
const TURN_BYTES: usize = 16 * 1024;
/// What is taken from a stream at once.
const MAX_CHUNK_BYTES: usize = 16 * 1024;
