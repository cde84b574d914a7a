//! What a client tells its application.

use std::sync::Arc;

use tidegate_proto::v1::{CloseCode, Msg, ServerFrame, Signal, Welcome};

use crate::{ConnectError, Transport};

/// A place in the own inbox: everything up to `cursor` has arrived, without a hole, within the life of the data named
/// `epoch`. Kept by the application, it is where the next life of the program goes on ([`Start::At`](crate::Start::At)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The life of the data; seqs of different epochs have nothing to do with each other.
    pub epoch: Arc<str>,
    /// The last seq before the first hole.
    pub cursor: i64,
}

/// What happened, in the order in which the application should see it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session has begun: the first one, or a new one after [`Event::Disconnected`].
    Connected(Connected),
    /// A message. Each comes once, those of one conversation in order; with lanes, messages of different
    /// conversations may come out of the order of the inbox.
    Message(Message),
    /// An entry of the inbox that has expired or was deleted.
    Gone {
        /// Empty: the own inbox.
        timeline: String,
        /// The entry's seq.
        seq: i64,
    },
    /// A volatile event of another user.
    Signal(Signal),
    /// Entries below `floor` are gone, and this client has not had them all.
    HistoryGone {
        /// Empty: the own inbox. `c:{name}`: a channel.
        timeline: String,
        /// The first seq that is still there.
        floor: i64,
    },
    /// A channel is not subscribed to any more, although the application wants it: the user may not, or the server's limit
    /// is reached.
    Unsubscribed {
        /// Its name.
        channel: String,
        /// For people.
        reason: String,
    },
    /// The server asks to leave; the client does, and comes back by itself where that makes sense.
    GoAway {
        /// Why.
        reason: CloseCode,
        /// How long the client waits before it comes back, in ms.
        retry_after_ms: i64,
        /// Where it goes then, when not where it was.
        alternatives: Vec<String>,
    },
    /// The session has ended and the client tries to begin another one.
    Disconnected(Disconnect),
    /// A frame that the client has no meaning for; with [`Config::raw_frames`](crate::Config::raw_frames) every frame.
    Frame(ServerFrame),
    /// The client has ended. The last event.
    Closed(Disconnect),
}

/// A session that has begun.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected {
    /// What the server said.
    pub welcome: Welcome,
    /// What the session runs over.
    pub transport: Transport,
    /// The server's address as configured, or as named by the server that was left.
    pub server: String,
    /// What the application knew of seqs is void: the data have begun another life.
    pub reset: bool,
}

/// A message that has arrived.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The timeline it came by; empty: the own inbox. `c:{name}`: a channel.
    pub timeline: String,
    /// Its seq there; 0: it is stored nowhere.
    pub seq: i64,
    /// The message, its `seq` filled in.
    pub msg: Msg,
    /// Where the inbox stands once this message is applied: an application that stores both in one transaction gets
    /// every message exactly once.
    pub position: Position,
}

/// Why a session, or the client, ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The server closed it.
    #[error("closed by the server: {} ({}): {message}", code.name(), *code as i32)]
    Closed {
        /// Why.
        code: CloseCode,
        /// The same in words, for people.
        message: String,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] crate::transport::LinkError),
    /// The server did not answer a Ping in time.
    #[error("the server did not answer a Ping in time")]
    NoPong,
    /// Too many seqs arrived above a hole; a new session fills it.
    #[error("too many messages arrived above a hole in the inbox")]
    HoleTooLarge,
    /// [`Client::drop_connection`](crate::Client::drop_connection) was called.
    #[error("the application dropped the connection")]
    Dropped,
    /// [`Client::close`](crate::Client::close) was called, or the last handle was dropped.
    #[error("the application closed the client")]
    Left,
    /// No new session can begin, and trying again does not help.
    #[error("no new session can begin")]
    Refused(#[source] ConnectError),
}
