//! One outgoing stream with what waits for it. Knows nothing of what the bytes mean.

use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use quinn::{Connection, ConnectionError, SendStream, WriteError};

use crate::transport::queue::WriteQueue;

/// A stream that opens when something is queued for it.
pub(super) struct Writer {
    io: Io,
    priority: i32,
    /// What waits.
    pub(super) queue: WriteQueue,
}

enum Io {
    Unopened,
    /// The client may have given no credit for another stream.
    Opening(BoxFuture<'static, Result<SendStream, ConnectionError>>),
    Open(SendStream),
}

impl Writer {
    /// A stream yet to be opened.
    pub(super) fn unopened(priority: i32) -> Self {
        Self { io: Io::Unopened, priority, queue: WriteQueue::default() }
    }

    /// A stream that is there.
    pub(super) fn open(stream: SendStream) -> Self {
        Self { io: Io::Open(stream), priority: 0, queue: WriteQueue::default() }
    }

    /// Opens the stream if it is not; ready with true when it was opened by this call.
    pub(super) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Poll<Result<bool, WriteError>> {
        loop {
            match &mut self.io {
                Io::Open(_) => return Poll::Ready(Ok(false)),
                Io::Unopened => {
                    let connection = connection.clone();
                    self.io = Io::Opening(Box::pin(async move { connection.open_uni().await }));
                }
                Io::Opening(opening) => {
                    let stream = ready!(opening.as_mut().poll(cx))?;
                    if self.priority != 0 {
                        // A stream just opened takes a priority.
                        let _ = stream.set_priority(self.priority);
                    }
                    self.io = Io::Open(stream);
                    return Poll::Ready(Ok(true));
                }
            }
        }
    }

    /// Writes until the queue is empty or the stream takes no more; the number of bytes taken. The stream is open.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, WriteError>> {
        let Io::Open(stream) = &mut self.io else { return Poll::Ready(Ok(0)) };
        let mut taken = 0;
        while !self.queue.is_empty() {
            match poll_write_once(stream, cx, &mut self.queue) {
                Poll::Ready(bytes) => taken += bytes?,
                Poll::Pending if taken == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// The stream, when it is open.
    pub(super) fn stream(&mut self) -> Option<&mut SendStream> {
        match &mut self.io {
            Io::Open(stream) => Some(stream),
            Io::Unopened | Io::Opening(_) => None,
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("queued_bytes", &self.queue.len()).finish_non_exhaustive()
    }
}

/// A small piece is copied into the stream, which costs one allocation of its size; larger ones are shared.
fn poll_write_once(
    stream: &mut SendStream,
    cx: &mut Context<'_>,
    queue: &mut WriteQueue,
) -> Poll<Result<usize, WriteError>> {
    use bytes::Buf as _;
    if queue.is_small() {
        let bytes = ready!(Pin::new(stream).poll_write(cx, queue.chunk()))?;
        queue.advance(bytes);
        return Poll::Ready(Ok(bytes));
    }
    // The future holds no state: one that is dropped unfinished has written nothing.
    let written = ready!(pin!(stream.write_chunks(queue.chunks_mut())).poll(cx))?;
    queue.took(written.chunks, written.bytes);
    Poll::Ready(Ok(written.bytes))
}
