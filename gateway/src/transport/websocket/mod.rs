//! WebSocket (RFC 6455), three modes over one socket: binary frames, JSON frames, bare `Msg`s
//! (docs/PROTOCOL.md "Transports"). The upgrade is the HTTP edge's; here begins what comes after 101.
//!
//! The framing is our own and not tokio-websockets': that one holds a read buffer of 8 KiB for each idle connection,
//! queues pongs without a bound for a peer that does not read, and copies what is gathered into one message.

mod assemble;
mod binary;
mod frame;
mod heartbeat;
mod json;
mod mode;
mod output;
mod plain;
mod socket;

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tidegate_proto::id::DeviceId;
use tidegate_proto::limits::MAX_HELLO_BYTES;
use tidegate_proto::v1::{CloseCode, Code, ServerFrame, server_frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use self::assemble::{Assembler, Incoming};
pub use self::frame::Fault;
use self::mode::Mode;
use self::socket::{Closing, Ended, Socket, Source};
use super::{Bad, Event, Info, Outgoing, Transport};
use crate::auth::Identity;

/// What a client speaks, as it chose at the upgrade.
pub enum Form {
    /// Subprotocol `tidegate.v1`.
    Binary {
        /// From `?token=`.
        token: Option<String>,
    },
    /// Subprotocol `tidegate.v1.json`.
    Json {
        /// From `?token=`.
        token: Option<String>,
    },
    /// The plain route, which knows the user before the upgrade.
    Plain {
        /// Who.
        identity: Identity,
        /// The path's pointer_id.
        device: DeviceId,
        /// The attempt of the Hello that the client does not send: ms since 1970.
        now_ms: i64,
    },
}

/// Without the token, which is never logged.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary { .. } => "Binary",
            Self::Json { .. } => "Json",
            Self::Plain { .. } => "Plain",
        })
    }
}

/// A WebSocket after its upgrade.
#[derive(Debug)]
pub struct WebSocket<S> {
    info: Info,
    mode: Mode,
    socket: Socket<S>,
    state: State,
    written: Written,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    /// The client broke the protocol. Nothing more is read; `close` says so with a WebSocket code when it is of that
    /// level.
    Broken(Option<u16>),
    Gone(Option<u32>),
}

/// Makes writing and reading take turns in what `next` reports.
#[derive(Debug, Default)]
struct Written {
    due: bool,
    was_last: bool,
}

impl<S> WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Takes over `io` after 101 was written; `input` is what was read of it already.
    pub fn new(io: S, input: BytesMut, remote: SocketAddr, form: Form) -> Self {
        let (mode, token, identity) = match form {
            Form::Binary { token } => (Mode::binary(), token, None),
            Form::Json { token } => (Mode::Json, token, None),
            Form::Plain { identity, device, now_ms } => {
                let plain = plain::Plain::new(&device, now_ms);
                (Mode::Plain(Box::new(plain)), None, Some(identity))
            }
        };
        let info = Info { kind: mode.kind(), remote, token, identity };
        let assembler = Assembler::new(MAX_HELLO_BYTES + LENGTH_BYTES);
        let socket = Socket::new(io, input, assembler, mode.output());
        Self { info, mode, socket, state: State::Open, written: Written::default() }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Event> {
        if let State::Gone(code) = self.state {
            return Poll::Ready(Event::Gone(code));
        }
        let read = read && matches!(self.state, State::Open);
        // Answers to frames that came together leave together.
        if read
            && self.socket.output.queued_bytes() < GATHER_BYTES
            && let Poll::Ready(event) = self.poll_event(cx, Source::Buffer)
        {
            return Poll::Ready(event);
        }
        if self.socket.poll_heartbeat(cx, read) {
            return Poll::Ready(self.dead(cx));
        }
        match self.socket.poll_write(cx) {
            Ok(messages) => self.written.due |= messages,
            Err(_) => return Poll::Ready(self.gone(None)),
        }
        if self.written.due && !self.written.was_last {
            return Poll::Ready(self.report_written());
        }
        self.written.was_last = false;
        if read && let Poll::Ready(event) = self.poll_event(cx, Source::Socket) {
            return Poll::Ready(event);
        }
        if self.written.due { Poll::Ready(self.report_written()) } else { Poll::Pending }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, source: Source) -> Poll<Event> {
        loop {
            if let Some(event) = self.mode.next() {
                return Poll::Ready(self.noted(event));
            }
            let read = self.socket.poll_read(cx, source);
            // What was read may have been pings: their answer waits for nothing else.
            if self.socket.output.has_pong() {
                match self.socket.poll_write(cx) {
                    Ok(messages) => self.written.due |= messages,
                    Err(_) => return Poll::Ready(self.gone(None)),
                }
            }
            match ready!(read) {
                Ok(Incoming::Close(code)) => return Poll::Ready(self.closed_by_peer(cx, code)),
                Ok(incoming) => {
                    if let Some(event) = self.mode.message(incoming, &self.socket.output) {
                        return Poll::Ready(self.noted(event));
                    }
                }
                Err(Ended::Fault(fault)) => return Poll::Ready(self.broken(fault)),
                Err(Ended::Gone) => return Poll::Ready(self.gone(None)),
            }
        }
    }

    fn report_written(&mut self) -> Event {
        self.written = Written { due: false, was_last: true };
        Event::Written
    }

    /// Nothing is read after an event that ends the session.
    fn noted(&mut self, event: Event) -> Event {
        if let Event::Bad(Bad { close: Some(_), .. }) = &event {
            self.state = State::Broken(None);
        }
        event
    }

    fn broken(&mut self, fault: Fault) -> Event {
        let (close, code) = match fault {
            Fault::TooLarge { .. } => (CloseCode::TooLarge, Code::TooLarge),
            Fault::Protocol(_) | Fault::Utf8 => (CloseCode::ProtocolError, Code::ProtocolError),
        };
        // What is only too much before Welcome is no fault of the WebSocket.
        let early = matches!(fault, Fault::TooLarge { length, .. } if length <= MAX_MESSAGE_BYTES as u64);
        self.state = State::Broken((!early).then(|| fault.close_code()));
        Event::Bad(Bad { close: Some(close), code, message: fault.to_string() })
    }

    fn gone(&mut self, code: Option<u32>) -> Event {
        self.state = State::Gone(code);
        Event::Gone(code)
    }

    /// Echoes the close as far as the socket takes it at once (RFC 6455, section 5.5.1).
    fn closed_by_peer(&mut self, cx: &mut Context<'_>, code: Option<u16>) -> Event {
        self.socket.output.drop_queued();
        self.socket.output.close(code.unwrap_or(NORMAL_CLOSURE), "");
        let _ = self.socket.poll_write(cx);
        self.gone(code.map(u32::from))
    }

    /// A peer that answered no ping; should it hear at all, it hears why.
    fn dead(&mut self, cx: &mut Context<'_>) -> Event {
        self.socket.output.drop_queued();
        self.socket.output.close(wire_code(CloseCode::Idle), "no answer to two pings");
        let _ = self.socket.poll_write(cx);
        self.gone(Some(CloseCode::Idle as u32))
    }
}

impl<S> Transport for WebSocket<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn info(&self) -> &Info {
        &self.info
    }

    async fn next(&mut self, read: bool) -> Event {
        poll_fn(|cx| self.poll_next(cx, read)).await
    }

    fn send(&mut self, out: Outgoing) {
        self.mode.put(&mut self.socket.output, out);
    }

    fn queued_bytes(&self) -> usize {
        self.socket.output.queued_bytes()
    }

    fn written_bytes(&self) -> u64 {
        self.socket.written_bytes()
    }

    fn open(&mut self, max_frame_bytes: usize, _lanes: u32, _datagrams: bool) {
        self.mode.set_max_frame_bytes(max_frame_bytes);
        self.socket.assembler.set_max_message_bytes(MAX_MESSAGE_BYTES);
    }

    async fn close(mut self, code: CloseCode, last: ServerFrame) {
        let mut closing = Closing::default();
        match self.state {
            State::Gone(_) => return,
            State::Broken(Some(code)) => {
                self.socket.output.drop_queued();
                self.socket.output.close(code, "");
                closing.broken = true;
            }
            State::Open | State::Broken(None) => {
                let reason = reason(&last);
                self.send(Outgoing::Frame(last));
                self.socket.output.close(wire_code(code), &reason);
            }
        }
        // The client may be gone or deaf; both end here.
        let _ = timeout(CLOSE_TIMEOUT, poll_fn(|cx| self.socket.poll_finish(cx, &mut closing))).await;
    }
}

/// The short text of a close frame: the last frame's.
fn reason(last: &ServerFrame) -> String {
    match &last.kind {
        Some(server_frame::Kind::Error(error)) => error.message.clone(),
        Some(server_frame::Kind::GoAway(go_away)) => go_away.message.clone(),
        _ => String::new(),
    }
}

fn wire_code(code: CloseCode) -> u16 {
    match code {
        CloseCode::Unspecified => NORMAL_CLOSURE,
        code => code as u16,
    }
}

/// The longest message after Welcome. A binary one may hold several frames; a text needs room for what JSON escapes.
pub const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// Before Welcome a message holds one frame of the largest size, with its length.
const LENGTH_BYTES: usize = 4;
/// With this much to write, writing comes before frames that are already here.
const GATHER_BYTES: usize = 16 * 1024;
/// How long the client has to close after the last frame (docs/PROTOCOL.md "Errors and closing").
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// RFC 6455, section 7.4.1.
const NORMAL_CLOSURE: u16 = 1000;

#[cfg(test)]
mod tests;
