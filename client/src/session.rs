//! One session on one connection: moves frames and bytes, keeps the times. What frames mean, `State` knows.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use prost::Message;
use tidegate_proto::framing::put_frame;
use tidegate_proto::limits::MAX_DATAGRAM_BYTES;
use tidegate_proto::v1::{Ack, Bye, ClientFrame, CloseCode, Ping, Signal, Unsubscribe, client_frame};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::command::{Command, Inlet};
use crate::config::{Acks, Config};
use crate::event::Disconnect;
use crate::state::{End, State};
use crate::transport::Link;

/// A session that has been welcomed.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    link: Link,
    state: &'a mut State,
    out: BytesMut,
    /// There is something in `out`, or in the transport's own buffer.
    unwritten: bool,
    heartbeat: Heartbeat,
    acks: Acks,
    ack_at: Option<Instant>,
    datagrams: bool,
}

#[derive(Debug)]
struct Heartbeat {
    every: Duration,
    pong_timeout: Duration,
    ping_at: Instant,
    pong_due: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Over `link`, on which Welcome has come and wished for a heartbeat of `heartbeat_ms`.
    pub(crate) fn new(link: Link, state: &'a mut State, config: &Config, heartbeat_ms: i64) -> Self {
        let every = config.ping_every(heartbeat_ms);
        let heartbeat = Heartbeat {
            every,
            pong_timeout: config.pong_timeout,
            ping_at: Instant::now() + every,
            pong_due: None,
        };
        let datagrams = config.datagrams && link.has_datagrams();
        Self {
            link,
            state,
            out: BytesMut::new(),
            unwritten: false,
            heartbeat,
            acks: config.acks,
            ack_at: None,
            datagrams,
        }
    }

    /// Lives until the session ends, and leaves in the way that the end calls for.
    pub(crate) async fn run(mut self, inlet: &mut Inlet) -> End {
        let end = self.live(inlet).await;
        match &end {
            End::Closed(close) => {
                let code = close.code;
                self.leave(false, code).await;
            }
            End::Left => self.leave(true, CloseCode::Normal).await,
            End::Lost(_) => {}
        }
        end
    }

    async fn live(&mut self, inlet: &mut Inlet) -> End {
        let sleep = sleep_until(self.deadline());
        tokio::pin!(sleep);
        loop {
            match self.turn(inlet, sleep.as_mut()).await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    /// Waits for the next thing to do and does it. Everything that must survive is in `self`.
    async fn turn(&mut self, inlet: &mut Inlet, mut sleep: Pin<&mut Sleep>) -> Result<(), End> {
        if inlet.is_closing() {
            return Err(End::Left);
        }
        for _ in 0..COMMANDS_AT_ONCE {
            let Some(command) = inlet.try_next() else { break };
            self.obey(command)?;
        }
        let now = Instant::now();
        self.on_time(now)?;
        self.fill(now);
        // A timer that fires early costs one turn; moving it each time would cost more.
        if self.deadline() < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(self.deadline());
        }
        let mailbox = self.state.mailbox.clone();
        tokio::select! {
            biased;
            io = poll_fn(|cx| self.poll_io(cx)) => io,
            command = inlet.next() => self.obey(command.ok_or(End::Left)?),
            () = mailbox.drained() => {
                if mailbox.is_ack_due() {
                    self.acknowledge();
                }
                Ok(())
            }
            () = sleep => Ok(()),
        }
    }

    /// Reads and writes what can be at once; ready when something was done.
    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut worked = false;
        for _ in 0..FRAMES_AT_ONCE {
            // While the application does not come for its events, nothing is read, and flow control stops the server.
            if !self.state.mailbox.has_room() {
                break;
            }
            match self.link.poll_frame(cx) {
                Poll::Ready(frame) => {
                    self.heartbeat.pong_due = None;
                    self.state.receive(frame?, Instant::now(), rand::random())?;
                    worked = true;
                }
                Poll::Pending => break,
            }
        }
        if self.unwritten
            && let Poll::Ready(written) = self.link.poll_write(cx, &mut self.out)
        {
            written?;
            self.unwritten = false;
            worked = true;
        }
        if worked { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn on_time(&mut self, now: Instant) -> Result<(), End> {
        if !self.state.mailbox.has_room() {
            // A Pong may be waiting to be read.
            self.heartbeat.pong_due = self.heartbeat.pong_due.map(|_| now + self.heartbeat.pong_timeout);
        }
        if self.heartbeat.pong_due.is_some_and(|due| due <= now) {
            return Err(End::Lost(Disconnect::NoPong));
        }
        if self.heartbeat.ping_at <= now {
            self.heartbeat.ping_at = now + self.heartbeat.every;
            self.heartbeat.pong_due.get_or_insert(now + self.heartbeat.pong_timeout);
            self.put(client_frame::Kind::Ping(Ping {}));
        }
        if self.ack_at.is_some_and(|at| at <= now) {
            self.acknowledge();
        }
        if self.ack_at.is_none() && self.acks == Acks::Auto && self.state.has_unacknowledged() {
            self.ack_at = Some(now + ACK_DELAY);
        }
        self.state.pending.on_time(now);
        self.state.channels.on_time(now);
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let state = [self.state.pending.deadline(), self.state.channels.deadline()];
        let own = [self.heartbeat.pong_due, self.ack_at];
        own.into_iter().chain(state).flatten().fold(self.heartbeat.ping_at, Instant::min)
    }

    /// Puts into `out` what may go out, as many frames as make one write.
    fn fill(&mut self, now: Instant) {
        while self.state.channels.is_due() && self.out.len() < WRITE_BYTES {
            let id = self.state.requests.number();
            if let Some(subscribe) = self.state.channels.next(id) {
                let kind = Some(client_frame::Kind::Subscribe(subscribe));
                self.put_frame(&ClientFrame { id, kind });
            }
        }
        loop {
            let requests = self.state.requests.peek();
            let Some(frame) = requests.or_else(|| self.state.pending.peek(now)) else { return };
            if !self.out.is_empty() && self.out.len() + frame.len() > WRITE_BYTES {
                return;
            }
            self.out.extend_from_slice(frame);
            self.unwritten = true;
            if requests.is_some() {
                self.state.requests.asked(now);
            } else {
                self.state.pending.sent(now);
            }
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Send { msg, waiter } => self.state.send(msg, waiter),
            Command::Ask { ask, waiter } => self.state.ask(ask, waiter),
            Command::Subscribe { channel, after, waiter } => {
                self.state.channels.subscribe(&channel, after, waiter);
            }
            Command::Unsubscribe(channel) => {
                if self.state.channels.unsubscribe(&channel) {
                    self.put(client_frame::Kind::Unsubscribe(Unsubscribe { channel }));
                }
            }
            Command::Signal(signal) => self.signal(signal),
            Command::Ack(cursor) => self.put(client_frame::Kind::Ack(Ack { cursor })),
            Command::Frame(frame) => self.put_frame(&frame),
            Command::DropConnection => return Err(End::Lost(Disconnect::Dropped)),
        }
        Ok(())
    }

    fn signal(&mut self, signal: Signal) {
        let frame = ClientFrame { id: 0, kind: Some(client_frame::Kind::Signal(signal)) };
        if self.datagrams && frame.encoded_len() <= MAX_DATAGRAM_BYTES {
            self.link.send_datagram(frame.encode_to_vec().into());
        } else {
            self.put_frame(&frame);
        }
    }

    /// Says how far the application has come; what it has not come for yet makes the next one due.
    fn acknowledge(&mut self) {
        self.ack_at = None;
        let handled = self.state.mailbox.start_ack();
        if self.acks == Acks::Auto
            && let Some(cursor) = self.state.start_ack(handled)
        {
            self.put(client_frame::Kind::Ack(Ack { cursor }));
        }
    }

    /// Acknowledges, says Bye where it is the client's wish, and waits for the server to close.
    async fn leave(&mut self, bye: bool, code: CloseCode) {
        if self.acks == Acks::Auto {
            let taken = self.state.mailbox.taken();
            if let Some(cursor) = self.state.start_ack(taken) {
                self.put(client_frame::Kind::Ack(Ack { cursor }));
            }
        }
        if bye {
            self.put(client_frame::Kind::Bye(Bye {}));
        }
        // Whoever is out of reach is left without a farewell.
        let _ = timeout(LEAVE_LIMIT, self.part(code)).await;
        self.link.close(code);
    }

    /// Writes the rest, finishes, and reads until the server has closed.
    async fn part(&mut self, code: CloseCode) {
        let Self { link, out, .. } = self;
        if poll_fn(|cx| link.poll_write(cx, out)).await.is_err() {
            return;
        }
        link.finish(code);
        if poll_fn(|cx| link.poll_write(cx, out)).await.is_err() {
            return;
        }
        while poll_fn(|cx| link.poll_frame(cx)).await.is_ok() {}
    }

    fn put(&mut self, kind: client_frame::Kind) {
        self.put_frame(&ClientFrame { id: 0, kind: Some(kind) });
    }

    fn put_frame(&mut self, frame: &ClientFrame) {
        put_frame(&mut self.out, frame);
        self.unwritten = true;
    }
}

/// What is received is acknowledged after this time at the latest, where the application keeps up.
const ACK_DELAY: Duration = Duration::from_secs(1);
/// How long leaving may take: a round trip on a slow path.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);
/// What goes out in one write, and in one WebSocket message, where a single frame is not larger.
const WRITE_BYTES: usize = 64 * 1024;
/// What is read before commands and times get their turn.
const FRAMES_AT_ONCE: usize = 64;
const COMMANDS_AT_ONCE: usize = 64;
