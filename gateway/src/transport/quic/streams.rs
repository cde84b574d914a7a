//! A set-up connection as a [`Transport`]: the control stream, lanes, streams of answers, datagrams. The same for raw
//! QUIC and for WebTransport, which differ only in their [`Dialect`].

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use prost::Message as _;
use quinn::{Connection, ConnectionError, RecvStream, SendStream, WriteError};
use tidegate_pipeline::body::lane_hash;
use tidegate_proto::limits::{MAX_DATAGRAM_BYTES, MAX_HELLO_BYTES, MAX_LANES};
use tidegate_proto::v1::{CloseCode, Code, ServerFrame};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::timeout;
use tokio_util::sync::ReusableBoxFuture;

use super::config::OPEN_RECEIVE_WINDOW_BYTES;
use super::outbox::{Outbox, WriteEnd};
use super::{Permit, error_code};
use crate::transport::queue::{gone_frame, stored_frame};
use crate::transport::stream::{FrameReader, decode};
use crate::transport::{Bad, Event, Info, Outgoing, PathStats, Transport};

/// A raw QUIC connection or a WebTransport session.
pub struct Streams {
    info: Info,
    connection: Connection,
    dialect: Dialect,
    outbox: Outbox,
    recv: RecvStream,
    reader: FrameReader,
    /// Set when the client has asked for datagrams.
    datagrams: Option<ReusableBoxFuture<'static, Result<Bytes, ConnectionError>>>,
    /// The end of the connection, and of each lane.
    ends: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Something was written and not yet told.
    wrote: bool,
    /// Whose turn it is to be read first, so that a flood on one does not starve the other.
    datagrams_first: bool,
    _permit: Permit,
}

/// What WebTransport puts around QUIC's streams and datagrams; nothing on raw QUIC.
#[derive(Debug, Default)]
pub(crate) struct Dialect {
    /// The beginning of every unidirectional stream.
    pub(crate) uni_header: Bytes,
    /// The beginning of every datagram.
    pub(crate) datagram_header: Bytes,
    /// Where the session is closed with its code.
    pub(crate) request: Option<SendStream>,
    /// What is written there.
    pub(crate) close_capsule: Option<fn(CloseCode) -> Bytes>,
}

/// How a connection, or a stream it cannot do without, came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It is gone, with the client's close code when it said one.
    Gone(Option<u32>),
    /// The client did what the protocol forbids.
    Violation(&'static str),
}

impl Ended {
    /// The end of a connection.
    pub(crate) fn lost(error: &ConnectionError) -> Self {
        let ConnectionError::ApplicationClosed(close) = error else { return Self::Gone(None) };
        Self::Gone(u32::try_from(close.error_code.into_inner()).ok())
    }

    fn event(self) -> Event {
        match self {
            Self::Gone(code) => Event::Gone(code),
            Self::Violation(message) => Event::Bad(Bad {
                close: Some(CloseCode::ProtocolError),
                code: Code::ProtocolError,
                message: message.to_owned(),
            }),
        }
    }
}

impl Streams {
    /// A session's connection with its control stream. `rest` does what else the connection needs, and ends when it
    /// does; it is polled within [`Transport::next`].
    pub(crate) fn new(
        info: Info,
        connection: Connection,
        (send, recv): (SendStream, RecvStream),
        dialect: Dialect,
        rest: BoxFuture<'static, Ended>,
        permit: Permit,
    ) -> Self {
        Self {
            info,
            outbox: Outbox::new(connection.clone(), send, dialect.uni_header.clone()),
            connection,
            dialect,
            recv,
            reader: FrameReader::new(MAX_HELLO_BYTES),
            datagrams: None,
            ends: FuturesUnordered::from_iter([rest]),
            wrote: false,
            datagrams_first: false,
            _permit: permit,
        }
    }

    fn put_signal(&mut self, frame: &ServerFrame) {
        if self.datagrams.is_none() || !self.try_datagram(frame) {
            self.outbox.put(None, |queue| queue.put(frame));
        }
    }

    /// Whether the frame went as a datagram; not when it is too large for the protocol or the path.
    fn try_datagram(&self, frame: &ServerFrame) -> bool {
        let length = frame.encoded_len();
        if length > MAX_DATAGRAM_BYTES {
            return false;
        }
        let mut bytes = BytesMut::with_capacity(self.dialect.datagram_header.len() + length);
        bytes.extend_from_slice(&self.dialect.datagram_header);
        frame.encode_raw(&mut bytes);
        self.connection.send_datagram(bytes.freeze()).is_ok()
    }

    fn poll_writes(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        let ends = &self.ends;
        match self.outbox.poll_write(cx, |lane| ends.push(Box::pin(lane_end(lane)))) {
            Ok(taken) => self.wrote |= taken > 0,
            Err(WriteEnd::LaneStopped) => return Err(LANE_STOPPED),
            Err(WriteEnd::Lost(WriteError::ConnectionLost(error))) => return Err(Ended::lost(&error)),
            Err(WriteEnd::Lost(_)) => return Err(self.closed()),
        }
        Ok(())
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.datagrams_first = !self.datagrams_first;
        if self.datagrams_first
            && let Poll::Ready(event) = self.poll_datagram(cx)
        {
            return Poll::Ready(event);
        }
        match self.reader.poll_next(cx, Pin::new(&mut self.recv)) {
            Poll::Ready(Event::Gone(_)) => Poll::Ready(self.closed().event()),
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => self.poll_datagram(cx),
        }
    }

    fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(datagrams) = &mut self.datagrams else { return Poll::Pending };
        loop {
            match datagrams.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Ended::lost(&error).event()),
                Poll::Ready(Ok(bytes)) => {
                    datagrams.set(datagram(self.connection.clone()));
                    // One of another session, or of none, is not ours to read.
                    if let Some(frame) = bytes.strip_prefix(&*self.dialect.datagram_header) {
                        return Poll::Ready(match decode(frame) {
                            Event::Frame(frame) => Event::Datagram(frame),
                            other => other,
                        });
                    }
                }
            }
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        match self.ends.poll_next_unpin(cx) {
            Poll::Ready(Some(ended)) => Poll::Ready(ended),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// The control stream has ended, and with it the session, whether the connection has or not.
    fn closed(&self) -> Ended {
        self.connection.close_reason().map_or(Ended::Gone(None), |error| Ended::lost(&error))
    }

    /// Writes everything, finishes the control stream, and waits until the client has finished or closed.
    async fn part(&mut self) {
        let mut finished = false;
        poll_fn(|cx| {
            if self.poll_writes(cx).is_err() {
                return Poll::Ready(());
            }
            if !finished && let Some(control) = self.outbox.idle_control() {
                finished = true;
                // It fails only when the client has stopped the stream.
                let _ = control.finish();
            }
            let done = poll_drain(&mut self.recv, cx).is_ready() && self.outbox.queued_bytes() == 0;
            if done || self.poll_end(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        if let Some(stream) = self.outbox.idle_control() {
            // A client that had finished before has not read the last frame yet.
            let _ = stream.stopped().await;
        }
    }

    /// Tells a WebTransport client the code where it looks for it, and waits until it has heard.
    async fn close_request(&mut self, code: CloseCode) {
        let (Some(mut request), Some(capsule)) = (self.dialect.request.take(), self.dialect.close_capsule)
        else {
            return;
        };
        if request.write_all(&capsule(code)).await.is_ok() && request.finish().is_ok() {
            poll_fn(|cx| self.poll_end(cx)).await;
        }
    }
}

impl Transport for Streams {
    fn info(&self) -> &Info {
        &self.info
    }

    async fn next(&mut self, read: bool) -> Event {
        poll_fn(|cx| {
            if let Err(ended) = self.poll_writes(cx) {
                return Poll::Ready(ended.event());
            }
            if let Poll::Ready(ended) = self.poll_end(cx) {
                return Poll::Ready(ended.event());
            }
            if read && let Poll::Ready(event) = self.poll_input(cx) {
                return Poll::Ready(event);
            }
            if std::mem::take(&mut self.wrote) { Poll::Ready(Event::Written) } else { Poll::Pending }
        })
        .await
    }

    fn send(&mut self, out: Outgoing) {
        match out {
            Outgoing::Frame(frame) => self.outbox.put(None, |queue| queue.put(&frame)),
            Outgoing::Deliver { timeline, seq, body: Some(body) } => {
                self.outbox.put(Some(body.lane_hash()), |queue| queue.put_deliver(&timeline, seq, &body));
            }
            Outgoing::Burst(burst) => {
                self.outbox.put(Some(burst.lane_hash()), |queue| queue.put_shared(burst.frames()));
            }
            Outgoing::Deliver { timeline, seq, body: None } => {
                let hash = (!timeline.is_empty()).then(|| lane_hash(&timeline));
                self.outbox.put(hash, |queue| queue.put(&gone_frame(&timeline, seq)));
            }
            Outgoing::OfChannel { timeline, frame } => {
                self.outbox.put(Some(lane_hash(&timeline)), |queue| queue.put(&frame));
            }
            Outgoing::Stored { seq, body } => {
                self.outbox.put(Some(body.lane_hash()), |queue| queue.put(&stored_frame(seq, &body)));
            }
            Outgoing::Page(frame) => self.outbox.put_page(&frame),
            Outgoing::Signal(frame) => self.put_signal(&frame),
        }
    }

    fn queued_bytes(&self) -> usize {
        self.outbox.queued_bytes()
    }

    fn written_bytes(&self) -> u64 {
        self.outbox.written_bytes()
    }

    fn open(&mut self, max_frame_bytes: usize, lanes: u32, datagrams: bool) {
        self.reader.set_max_frame_bytes(max_frame_bytes);
        self.connection.set_receive_window(OPEN_RECEIVE_WINDOW_BYTES);
        self.outbox.set_lanes(lanes.min(MAX_LANES) as usize);
        if datagrams && self.connection.max_datagram_size().is_some() {
            self.datagrams = Some(ReusableBoxFuture::new(datagram(self.connection.clone())));
        }
    }

    fn path(&self) -> Option<PathStats> {
        let stats = self.connection.stats().path;
        Some(PathStats { rtt: stats.rtt, sent_packets: stats.sent_packets, lost_packets: stats.lost_packets })
    }

    async fn close(mut self, code: CloseCode, last: ServerFrame) {
        self.outbox.put(None, |queue| queue.put(&last));
        // Whoever does not answer in time is gone or deaf.
        let to_part = if self.dialect.request.is_some() { PART_TIMEOUT } else { CLOSE_TIMEOUT };
        let _ = timeout(to_part, self.part()).await;
        let _ = timeout(CLOSE_TIMEOUT - PART_TIMEOUT, self.close_request(code)).await;
        self.connection.close(error_code(code), code.as_str_name().as_bytes());
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("kind", &self.info.kind)
            .field("remote", &self.info.remote)
            .field("queued_bytes", &self.outbox.queued_bytes())
            .finish_non_exhaustive()
    }
}

/// Reads and throws away, until the stream ends.
fn poll_drain(recv: &mut RecvStream, cx: &mut Context<'_>) -> Poll<()> {
    let mut piece = [0; 1024];
    loop {
        let mut read = ReadBuf::new(&mut piece);
        match Pin::new(&mut *recv).poll_read(cx, &mut read) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
            Poll::Ready(_) => return Poll::Ready(()),
        }
    }
}

/// Ends when the client stops the lane. The end of the connection is told elsewhere, with its code.
fn lane_end(lane: &SendStream) -> impl Future<Output = Ended> + Send + 'static {
    let stopped = lane.stopped();
    async move {
        match stopped.await {
            Ok(Some(_)) => LANE_STOPPED,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

async fn datagram(connection: Connection) -> Result<Bytes, ConnectionError> {
    connection.read_datagram().await
}

const LANE_STOPPED: Ended = Ended::Violation("a lane was stopped");
/// How long closing takes at most (docs/PROTOCOL.md "Errors and closing").
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Of that, how long a WebTransport client has to finish; the rest is for the session's close.
const PART_TIMEOUT: Duration = Duration::from_millis(1_500);
