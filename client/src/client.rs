//! The application's handles: `Client` to act, `Events` to hear. They know no transport.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_proto::Refusal;
use tidegate_proto::v1::{ClientFrame, Msg, Page, Pull, Signal, Subscribed, pull};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::command::{Command, Inlet};
use crate::config::Config;
use crate::connect::{ConnectError, Connector};
use crate::dial::Dialer;
use crate::endpoint::Endpoint;
use crate::event::{Event, Position};
use crate::mailbox::Mailbox;
use crate::requests::{Answer, Ask};
use crate::send::{SendError, SendHandle, handle};
use crate::state::State;
use crate::worker::Worker;

/// A client that stays connected by itself. Clones are the same client; it ends with [`close`](Client::close), or when
/// the last clone and the [`Events`] are dropped, or when the server says that coming back makes no sense.
#[derive(Debug, Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    mailbox: Arc<Mailbox>,
    /// Bounds the sends that have no final answer.
    room: Arc<Semaphore>,
    /// The server answers one Pull at a time.
    pulls: Arc<Semaphore>,
    endpoint: Option<Endpoint>,
    attempt: Arc<AtomicI64>,
    done: CancellationToken,
    alive: Arc<Alive>,
}

/// What happens to a client. An application that does not come for its events stops the client from reading, also the
/// receipts; one that wants none drops this: then messages are thrown away and nothing is acknowledged.
#[derive(Debug)]
pub struct Events {
    mailbox: Arc<Mailbox>,
    _alive: Arc<Alive>,
}

/// Which entries of a timeline to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Those with a greater seq, the oldest of them.
    After(i64),
    /// Those with a smaller seq, the newest of them; 0: the newest of all.
    Before(i64),
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With what comes from now on.
    Head,
    /// With what has a greater seq.
    After(i64),
    /// With all that is still there.
    Floor,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server refused it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No answer within 30 s, over however many sessions.
    #[error("no answer in time")]
    TimedOut,
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
}

impl Client {
    /// Connects, and begins the first session. Every server is tried over every transport once; later sessions are
    /// begun by the client itself, for as long as it lives.
    ///
    /// The first event is [`Event::Connected`]. Must be called within a tokio runtime.
    pub async fn connect(config: Config) -> Result<(Self, Events), ConnectError> {
        let dialer = Dialer::network(&config);
        Self::connect_by(config, dialer).await
    }

    /// Connects by connections from `dialer`.
    pub(crate) async fn connect_by(config: Config, dialer: Dialer) -> Result<(Self, Events), ConnectError> {
        let mailbox = Arc::new(Mailbox::new(config.event_capacity));
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let attempt = Arc::new(AtomicI64::new(0));
        let alive = Arc::new(Alive { closing: CancellationToken::new() });
        let endpoint = dialer.endpoint();
        let mut connector = Connector::new(&config, dialer, attempt.clone());
        let state = State::new(&config, mailbox.clone());
        let opened = Box::pin(connector.round(state.inbox.position())).await?;
        let done = CancellationToken::new();
        let inlet = Inlet::new(receiver, alive.closing.clone());
        let worker = Worker { config, connector, state, inlet, done: done.clone() };
        #[expect(clippy::disallowed_methods, reason = "the one place of this crate that spawns")]
        tokio::spawn(worker.run(opened));
        let events = Events { mailbox: mailbox.clone(), _alive: alive.clone() };
        let room = Arc::new(Semaphore::new(MAX_UNSETTLED));
        let pulls = Arc::new(Semaphore::new(1));
        Ok((Self { commands, mailbox, room, pulls, endpoint, attempt, done, alive }, events))
    }

    /// Sends a message: sets one of `receiver_id`, `group_id` and `channel`, and the content. An empty `local_id` is
    /// drawn, a `create_time` of 0 is now.
    ///
    /// Returns once the message is on its way inside the client; at most 256 are, further callers wait. It is sent
    /// until it is stored or refused, over reconnects, in the order of the calls. The handle tells which.
    pub async fn send(&self, mut msg: Msg) -> Result<SendHandle, SendError> {
        if msg.local_id.is_empty() {
            msg.local_id = uuid::Uuid::now_v7().to_string();
        }
        if msg.create_time == 0 {
            msg.create_time = now_ms();
        }
        let room = tokio::select! {
            room = self.room.clone().acquire_owned() => room.map_err(|_| SendError::Ended)?,
            () = self.done.cancelled() => return Err(SendError::Ended),
        };
        let (handle, waiter) = handle(&msg.local_id, room);
        self.command(Command::Send { msg, waiter }).await.map_err(|Ended| SendError::Ended)?;
        Ok(handle)
    }

    /// Subscribes to a channel: its messages come as [`Event::Message`] with the timeline `c:{channel}`, on this session and
    /// on those that follow, each once and in order. Of a channel that is subscribed to already, this asks how it is.
    ///
    /// Should the server end the subscription later, [`Event::Unsubscribed`] says so.
    pub async fn subscribe(&self, channel: &str, start: StartAt) -> Result<Subscribed, RequestError> {
        let after = match start {
            StartAt::Head => None,
            StartAt::After(seq) => Some(seq),
            StartAt::Floor => Some(0),
        };
        let (waiter, answer) = oneshot::channel();
        let asking = async {
            let subscribe = Command::Subscribe { channel: channel.to_owned(), after, waiter };
            self.command(subscribe).await.map_err(|Ended| RequestError::Ended)?;
            answer.await.map_err(|_| RequestError::Ended)?.map_err(RequestError::Refused)
        };
        timeout(REQUEST_LIMIT, asking).await.unwrap_or(Err(RequestError::TimedOut))
    }

    /// Subscribes to a channel no longer. What has come before may still wait among the events.
    pub async fn unsubscribe(&self, channel: &str) {
        // An ended client subscribes to nothing.
        let _ = self.command(Command::Unsubscribe(channel.to_owned())).await;
    }

    /// Reads a part of a timeline's history; empty: the own inbox. At most `limit` entries, 1 to 1,000, or as many as
    /// the server likes with 0; oldest first. It moves no cursor.
    pub async fn pull(&self, timeline: &str, from: History, limit: i64) -> Result<Page, RequestError> {
        let from = match from {
            History::After(seq) => pull::From::After(seq),
            History::Before(seq) => pull::From::Before(seq),
        };
        let pull = Pull { timeline: timeline.to_owned(), from: Some(from), limit };
        let turn = timeout(REQUEST_LIMIT, self.pulls.acquire()).await.map_err(|_| RequestError::TimedOut)?;
        let _turn = turn.map_err(|_| RequestError::Ended)?;
        match self.ask(Ask::Pull(pull)).await? {
            Answer::Page(page) => Ok(page),
            Answer::Pong(_) => Err(unexpected_answer()),
        }
    }

    /// Sends a signal, by datagram where it fits and both sides have them. It is lost without a word when there is no
    /// session, or too much to do; false when that is known at once.
    pub fn signal(&self, signal: Signal) -> bool {
        self.commands.try_send(Command::Signal(signal)).is_ok()
    }

    /// Gives a new token to the running session, and to later ones where the configuration has a fixed token.
    pub async fn refresh(&self, token: impl Into<String>) -> Result<(), RequestError> {
        self.ask(Ask::Refresh(token.into())).await.map(|_| ())
    }

    /// Asks the server for a sign of life and gives the round trip's time, the server's turn included.
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        match self.ask(Ask::Ping).await? {
            Answer::Pong(round_trip) => Ok(round_trip),
            Answer::Page(_) => Err(unexpected_answer()),
        }
    }

    /// Acknowledges the inbox up to `cursor`, with [`Acks::Manual`](crate::Acks::Manual). Lost when there is no session.
    pub async fn ack(&self, cursor: i64) {
        // An ended client has nothing to acknowledge to.
        let _ = self.command(Command::Ack(cursor)).await;
    }

    /// Where the inbox stands after what was taken from [`Events`]; `None` before its first event was.
    pub fn position(&self) -> Option<Position> {
        self.mailbox.taken()
    }

    /// The number of the last connection attempt, for [`Config::last_attempt`] in the next life of the program.
    pub fn attempt(&self) -> i64 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// Moves QUIC to a new local port, as a change of network does; the session lives on. All clients that share the
    /// endpoint move. Other transports stay where they are.
    pub fn rebind(&self) -> io::Result<()> {
        self.endpoint.as_ref().map_or(Ok(()), Endpoint::rebind)
    }

    /// Cuts the connection without a farewell; the client comes back at once and resumes. For tests and demos.
    pub async fn drop_connection(&self) {
        // An ended client has no connection.
        let _ = self.command(Command::DropConnection).await;
    }

    /// Sends a frame as it is, where there is a session: no answer is waited for and nothing is repeated. For tests
    /// and tools, together with [`Config::raw_frames`].
    pub async fn send_frame(&self, frame: ClientFrame) {
        // An ended client has nowhere to send it.
        let _ = self.command(Command::Frame(frame)).await;
    }

    /// Leaves: acknowledges what was taken from [`Events`], says Bye, and waits until the connection is closed, for 1 s
    /// at most. What has no final answer by then ends with [`SendError::Ended`].
    pub async fn close(&self) {
        self.alive.closing.cancel();
        self.done.cancelled().await;
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, RequestError> {
        let (waiter, answer) = oneshot::channel();
        let asking = async {
            self.command(Command::Ask { ask, waiter }).await.map_err(|Ended| RequestError::Ended)?;
            answer.await.map_err(|_| RequestError::Ended)?.map_err(RequestError::Refused)
        };
        timeout(REQUEST_LIMIT, asking).await.unwrap_or(Err(RequestError::TimedOut))
    }

    async fn command(&self, command: Command) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }
}

impl Events {
    /// The next event; `None` after the last one. Cancel safe. Coming back for more says that the event before is
    /// handled: that is what [`Acks::Auto`](crate::Acks::Auto) acknowledges.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            // In this order: what is put before the end is not missed.
            let ended = self.mailbox.has_ended();
            match self.mailbox.take() {
                Some(event) => return Some(event),
                None if ended => return None,
                None => self.mailbox.filled().await,
            }
        }
    }

    /// The next event, if one is there.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.mailbox.take()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.mailbox.abandon();
    }
}

/// Held by every handle; with the last one the client ends.
#[derive(Debug)]
struct Alive {
    closing: CancellationToken,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// The connection task is no more.
#[derive(Debug)]
struct Ended;

/// A server that answers a Pull with a Pong, or the other way round.
fn unexpected_answer() -> RequestError {
    RequestError::Refused(Refusal::new(
        tidegate_proto::v1::Code::ProtocolError,
        "the server gave another kind of answer",
    ))
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

/// Commands on their way to the connection task.
const COMMANDS: usize = 64;
/// Sends without a final answer: four times what the server takes unanswered, and 16 MiB with the largest contents.
const MAX_UNSETTLED: usize = 256;
/// How long a request may take, over reconnects.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
