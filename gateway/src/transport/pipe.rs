//! A transport over a pipe in memory: sessions are tested on it, with paused time and without a network.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tidegate_proto::limits::MAX_HELLO_BYTES;
use tidegate_proto::v1::{CloseCode, ServerFrame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::timeout;

use super::queue::{WriteQueue, gone_frame, stored_frame};
use super::stream::{FrameReader, poll_write_queue};
use super::{Event, Info, Kind, Outgoing, Transport};

/// One end of a [`tokio::io::duplex`].
#[derive(Debug)]
pub struct Pipe {
    info: Info,
    io: DuplexStream,
    reader: FrameReader,
    queue: WriteQueue,
    written: u64,
}

impl Pipe {
    /// A session's end; the other end speaks length-delimited frames.
    pub fn new(io: DuplexStream) -> Self {
        let info = Info { kind: Kind::Pipe, remote: ([127, 0, 0, 1], 0).into(), token: None, identity: None };
        Self { info, io, reader: FrameReader::new(MAX_HELLO_BYTES), queue: WriteQueue::default(), written: 0 }
    }
}

impl Transport for Pipe {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn next(&mut self, read: bool) -> Event {
        poll_fn(|cx| {
            if !self.queue.is_empty() {
                match poll_write_queue(cx, Pin::new(&mut self.io), &mut self.queue) {
                    Poll::Ready(Ok(bytes)) => {
                        self.written += bytes as u64;
                        return Poll::Ready(Event::Written);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Event::Gone(None)),
                    Poll::Pending => {}
                }
            }
            if read { self.reader.poll_next(cx, Pin::new(&mut self.io)) } else { Poll::Pending }
        })
        .await
    }

    fn send(&mut self, out: Outgoing) {
        match out {
            Outgoing::Frame(frame)
            | Outgoing::OfChannel { frame, .. }
            | Outgoing::Page(frame)
            | Outgoing::Signal(frame) => self.queue.put(&frame),
            Outgoing::Deliver { timeline, seq, body: Some(body) } => {
                self.queue.put_deliver(&timeline, seq, &body)
            }
            Outgoing::Burst(burst) => self.queue.put_shared(burst.frames()),
            Outgoing::Deliver { timeline, seq, body: None } => self.queue.put(&gone_frame(&timeline, seq)),
            Outgoing::Stored { seq, body } => self.queue.put(&stored_frame(seq, &body)),
        }
    }

    fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    fn written_bytes(&self) -> u64 {
        self.written
    }

    fn open(&mut self, max_frame_bytes: usize, _lanes: u32, _datagrams: bool) {
        self.reader.set_max_frame_bytes(max_frame_bytes);
    }

    async fn close(mut self, _code: CloseCode, last: ServerFrame) {
        self.queue.put(&last);
        let finish = async {
            self.io.write_all_buf(&mut self.queue).await?;
            self.io.shutdown().await?;
            while self.io.read(&mut [0; 256]).await? > 0 {}
            std::io::Result::Ok(())
        };
        // The client may be gone or deaf; both end here.
        let _ = timeout(CLOSE_TIMEOUT, finish).await;
    }
}

/// How long the client has to close after the last frame (docs/PROTOCOL.md "Errors and closing").
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
