//! Length-delimited frames over one byte stream in each direction: the whole of a pipe in memory, and the control
//! stream of QUIC and WebTransport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use prost::Message as _;
use tidegate_proto::framing::{FramingError, split_frame};
use tidegate_proto::v1::{ClientFrame, CloseCode, Code};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Bad, Event};

/// Reads frames from a byte stream, a bounded piece at a time.
#[derive(Debug)]
pub struct FrameReader {
    buf: BytesMut,
    max_frame_bytes: usize,
}

impl FrameReader {
    /// A reader that accepts frames up to `max_frame_bytes`.
    pub fn new(max_frame_bytes: usize) -> Self {
        Self { buf: BytesMut::new(), max_frame_bytes }
    }

    /// From now on accepts frames up to `max_frame_bytes`.
    pub fn set_max_frame_bytes(&mut self, max_frame_bytes: usize) {
        self.max_frame_bytes = max_frame_bytes;
    }

    /// The next frame, reading from `io` as needed. `Gone(None)` at the end of the stream; nothing is lost when the
    /// caller stops polling.
    pub fn poll_next<R>(&mut self, cx: &mut Context<'_>, mut io: Pin<&mut R>) -> Poll<Event>
    where
        R: AsyncRead + ?Sized,
    {
        loop {
            match split_frame(&mut self.buf, self.max_frame_bytes) {
                Ok(Some(frame)) => return Poll::Ready(decode(&frame)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Event::Bad(bad_framing(error))),
            }
            // The piece lives on the stack, so an idle connection holds no read buffer.
            let mut piece = [0u8; READ_BYTES];
            let mut read = ReadBuf::new(&mut piece);
            match io.as_mut().poll_read(cx, &mut read) {
                Poll::Pending => {
                    if self.buf.is_empty() {
                        self.buf = BytesMut::new();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !read.filled().is_empty() => self.buf.extend_from_slice(read.filled()),
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(Event::Gone(None)),
            }
        }
    }
}

/// Writes from `queue` until it is empty or the stream takes no more; the number of bytes taken.
pub fn poll_write_queue<W>(
    cx: &mut Context<'_>,
    mut io: Pin<&mut W>,
    queue: &mut impl Buf,
) -> Poll<io::Result<usize>>
where
    W: AsyncWrite + ?Sized,
{
    let mut taken = 0;
    while queue.has_remaining() {
        let mut slices = [io::IoSlice::new(&[]); 16];
        let count = queue.chunks_vectored(&mut slices);
        match io.as_mut().poll_write_vectored(cx, &slices[..count]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(bytes)) => {
                queue.advance(bytes);
                taken += bytes;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(taken))
}

/// A frame's bytes as an event. Decoding from a slice copies what it keeps, so the read buffer is not pinned.
pub fn decode(frame: &[u8]) -> Event {
    match ClientFrame::decode(frame) {
        Ok(frame) => Event::Frame(frame),
        Err(error) => Event::Bad(Bad {
            close: Some(CloseCode::ProtocolError),
            code: Code::ProtocolError,
            message: format!("not a ClientFrame: {error}"),
        }),
    }
}

/// How a session ends whose bytes are not frames.
pub fn bad_framing(error: FramingError) -> Bad {
    let (close, code) = match error {
        FramingError::TooLarge { .. } => (CloseCode::TooLarge, Code::TooLarge),
        FramingError::Empty | FramingError::BadLength => (CloseCode::ProtocolError, Code::ProtocolError),
    };
    Bad { close: Some(close), code, message: error.to_string() }
}

/// How much is read at a time.
const READ_BYTES: usize = 8 * 1024;
