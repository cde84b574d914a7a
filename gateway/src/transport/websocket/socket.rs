//! A WebSocket on one task: reads and writes the socket, answers pings, notices a dead peer. Knows messages, no frames
//! of ours. Every function here polls, so a dropped future loses nothing.

use std::future::Future as _;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tidegate_proto::limits::HEARTBEAT;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::assemble::{Assembler, Incoming};
use super::frame::Fault;
use super::heartbeat::{Heartbeat, Tick};
use super::output::Output;
use crate::transport::stream::poll_write_queue;

/// The socket with its two halves.
#[derive(Debug)]
pub(super) struct Socket<S> {
    io: S,
    input: BytesMut,
    pub(super) assembler: Assembler,
    pub(super) output: Output,
    heartbeat: Heartbeat,
    timer: Pin<Box<Sleep>>,
    /// A write waits for the peer to take something.
    held_up: bool,
    /// TLS keeps bytes of its own until it is flushed.
    unflushed: bool,
    written_bytes: u64,
}

/// From where a message may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Buffer,
    Socket,
}

/// Why nothing more comes from the peer.
#[derive(Debug)]
pub(super) enum Ended {
    Fault(Fault),
    /// The end of the stream or an error of the socket.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Takes over `io`, of which `input` was read already.
    pub(super) fn new(io: S, input: BytesMut, assembler: Assembler, output: Output) -> Self {
        Self {
            io,
            input,
            assembler,
            output,
            heartbeat: Heartbeat::default(),
            timer: Box::pin(sleep(HEARTBEAT)),
            held_up: false,
            unflushed: false,
            written_bytes: 0,
        }
    }

    /// Bytes of messages that the socket has taken.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Writes until nothing waits or the socket takes no more; whether bytes of messages were taken.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut messages = false;
        while let Some(flight) = self.output.in_flight() {
            let has_messages = flight.has_messages();
            match poll_write_queue(cx, Pin::new(&mut self.io), flight) {
                Poll::Ready(taken) => {
                    if std::mem::take(&mut self.held_up) {
                        self.heartbeat.alive();
                    }
                    self.unflushed = true;
                    if has_messages {
                        self.written_bytes += taken? as u64;
                        messages = true;
                    } else {
                        taken?;
                    }
                }
                Poll::Pending => {
                    self.held_up = true;
                    break;
                }
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(messages)
    }

    /// Whether everything was handed to the system.
    pub(super) fn is_written(&mut self) -> bool {
        !self.unflushed && self.output.in_flight().is_none()
    }

    /// The next message, pong or close frame; with [`Source::Buffer`] only if its bytes are already here.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: Source,
    ) -> Poll<Result<Incoming, Ended>> {
        loop {
            match self.assembler.next(&mut self.input) {
                Ok(Some(Incoming::Ping(payload))) => {
                    self.output.pong(&payload);
                    continue;
                }
                Ok(Some(incoming)) => return Poll::Ready(Ok(incoming)),
                Ok(None) if source == Source::Buffer => return Poll::Pending,
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(Ended::Fault(fault))),
            }
            // The piece lives on the stack, so an idle connection holds no read buffer.
            let mut piece = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut piece);
            match Pin::new(&mut self.io).poll_read(cx, &mut read) {
                Poll::Pending => {
                    if self.input.is_empty() {
                        self.input = BytesMut::new();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.heartbeat.alive();
                    self.input.extend_from_slice(read.filled());
                }
                Poll::Ready(Ok(()) | Err(_)) => return Poll::Ready(Err(Ended::Gone)),
            }
        }
    }

    /// Queues the ping that is due; true when the peer has to be taken for dead.
    pub(super) fn poll_heartbeat(&mut self, cx: &mut Context<'_>, reading: bool) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(Instant::now() + HEARTBEAT);
            if self.heartbeat.tick(reading) == Tick::Dead {
                return true;
            }
            match self.output.launched_seq() {
                0 => self.output.ping(b""),
                seq => self.output.ping(seq.to_string().as_bytes()),
            }
        }
        false
    }

    /// Writes what waits, reads and forgets what comes, until everything is written and the peer has closed; then ends
    /// the stream. The caller limits the wait.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>, closing: &mut Closing) -> Poll<()> {
        if self.poll_write(cx).is_err() {
            return Poll::Ready(());
        }
        while !closing.peer_closed {
            let read = if closing.broken {
                self.poll_discard(cx)
            } else {
                self.poll_read(cx, Source::Socket).map_ok(Some)
            };
            match read {
                Poll::Ready(Ok(Some(Incoming::Close(_)))) => closing.peer_closed = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(Ended::Fault(_))) => closing.broken = true,
                Poll::Ready(Err(Ended::Gone)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.is_written() {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_shutdown(cx).map(|_| ())
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Incoming>, Ended>> {
        self.input.clear();
        let mut piece = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut piece);
        match ready!(Pin::new(&mut self.io).poll_read(cx, &mut read)) {
            Ok(()) if !read.filled().is_empty() => Poll::Ready(Ok(None)),
            Ok(()) | Err(_) => Poll::Ready(Err(Ended::Gone)),
        }
    }
}

/// How far a close handshake is.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// What comes is not WebSocket: it is thrown away up to the end of the stream.
    pub(super) broken: bool,
    pub(super) peer_closed: bool,
}

/// How much is read at a time.
const READ_BYTES: usize = 8 * 1024;
