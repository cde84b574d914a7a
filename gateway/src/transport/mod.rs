//! What a session needs of a connection, whichever transport it is on (ARCHITECTURE.md invariant 11).
//!
//! A transport turns bytes into [`ClientFrame`]s and queues what the session sends. It decides nothing: order, limits
//! and closing are the session's. Each runs on its session's task; nothing here spawns.

pub mod pipe;
pub mod queue;
pub mod quic;
pub mod stream;
pub mod websocket;
pub mod webtransport;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_pipeline::body::Body;
use tidegate_proto::v1::{ClientFrame, CloseCode, Code, ServerFrame};

use crate::auth::Identity;
use crate::burst::Burst;

/// A connection whose transport is set up, ready for Hello.
pub trait Transport: Send + 'static {
    /// What is known of the connection before Hello.
    fn info(&self) -> &Info;

    /// Waits until something happens, writing what is queued meanwhile. With `read` false nothing is read, so that flow
    /// control holds the client.
    ///
    /// Cancel safe: a dropped future loses neither input nor output.
    fn next(&mut self, read: bool) -> impl Future<Output = Event> + Send;

    /// Queues something to be sent; the next [`Transport::next`] writes it. Never blocks; the session keeps the queue
    /// bounded by looking at [`Transport::queued_bytes`] before it sends more than an answer.
    fn send(&mut self, out: Outgoing);

    /// Bytes queued and not yet taken by the transport below, on all streams.
    fn queued_bytes(&self) -> usize;

    /// Bytes ever taken by the transport below: a figure that stands still tells a client that takes nothing.
    fn written_bytes(&self) -> u64;

    /// After Welcome: frames up to `max_frame_bytes` are read from now on, and up to `lanes` lanes and datagrams are
    /// used where the transport has them.
    fn open(&mut self, max_frame_bytes: usize, lanes: u32, datagrams: bool);

    /// How the path to the client does, where the transport measures it. Not for every message: it takes a lock.
    fn path(&self) -> Option<PathStats> {
        None
    }

    /// Writes what is queued and the last frame, finishes, waits until the client has closed or finished, at the
    /// latest for 2 s, and closes with `code` (docs/PROTOCOL.md "Errors and closing").
    fn close(self, code: CloseCode, last: ServerFrame) -> impl Future<Output = ()> + Send;
}

/// Where a listener hands its connections: the gateway, which runs a session on each.
pub trait Accept: Clone + Send + Sync + 'static {
    /// Starts a session on the connection and returns at once.
    fn accept<T: Transport>(&self, transport: T);
}

/// What is known of a connection before Hello.
#[derive(Clone)]
pub struct Info {
    /// For logs and metrics only.
    pub kind: Kind,
    /// The client's address.
    pub remote: SocketAddr,
    /// A token from the URL. Never logged.
    pub token: Option<String>,
    /// Set when the user is known without a token in Hello: the plain route looks at it before the upgrade.
    pub identity: Option<Identity>,
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("kind", &self.kind)
            .field("remote", &self.remote)
            .field("has_token", &self.token.is_some())
            .field("identity", &self.identity)
            .finish()
    }
}

/// What a transport measured of the path to its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathStats {
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets of those that were declared lost.
    pub lost_packets: u64,
}

/// Which transport, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Raw QUIC.
    Quic,
    /// WebTransport.
    WebTransport,
    /// WebSocket over TLS or not, binary frames.
    WebSocket,
    /// WebSocket, the JSON subprotocol.
    WebSocketJson,
    /// WebSocket, the plain `Msg` mode.
    WebSocketPlain,
    /// A pipe in memory, in tests.
    Pipe,
}

impl Kind {
    /// The name in logs and as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebTransport => "webtransport",
            Self::WebSocket => "websocket",
            Self::WebSocketJson => "websocket_json",
            Self::WebSocketPlain => "websocket_plain",
            Self::Pipe => "pipe",
        }
    }
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// A frame from the client.
    Frame(ClientFrame),
    /// A frame that came as a datagram: only a signal may.
    Datagram(ClientFrame),
    /// What the client sent cannot be used. With a close code the session ends; without one it is answered `Error` and
    /// lives (the plain and JSON modes forgive a text that is no frame).
    Bad(Bad),
    /// The queue is empty again, or a good part of it was written.
    Written,
    /// The connection is gone, with the client's close code when it said one, or with IDLE when it answered no pings.
    Gone(Option<u32>),
}

/// Something a client sent that is no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// How the session ends; `None`: it lives.
    pub close: Option<CloseCode>,
    /// The code of the answer.
    pub code: Code,
    /// What was wrong.
    pub message: String,
}

/// What a session sends.
#[derive(Debug)]
pub enum Outgoing {
    /// On the control stream.
    Frame(ServerFrame),
    /// An entry of a timeline (`""`: the inbox), by the lane of its conversation. One of the inbox that is gone has none
    /// any more: it goes by the control stream.
    Deliver {
        /// Empty for the inbox.
        timeline: std::sync::Arc<str>,
        /// The entry's seq.
        seq: u64,
        /// The message; `None`: gone.
        body: Option<Body>,
    },
    /// Messages of a channel, by the lane of their conversation.
    Burst(std::sync::Arc<Burst>),
    /// What has its place among the entries of a channel, by the lane of those.
    OfChannel {
        /// The channel's timeline, which is the conversation of its messages.
        timeline: std::sync::Arc<str>,
        /// Subscribed, Unsubscribed or HistoryGone.
        frame: ServerFrame,
    },
    /// STORED in place of the own message, by the lane of its conversation.
    Stored {
        /// Its seq in the sender's inbox.
        seq: u64,
        /// The own message.
        body: Body,
    },
    /// An answer to Pull, on a stream of its own where there are streams, after live frames.
    Page(ServerFrame),
    /// A signal: as a datagram where both sides have them and it fits, otherwise on the control stream.
    Signal(ServerFrame),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let token = Some("eyJhbGciOiJIUzI1NiJ9".to_owned());
        let info = Info { kind: Kind::WebSocket, remote: ([127, 0, 0, 1], 1).into(), token, identity: None };
        let shown = format!("{info:?} {info:#?}");
        assert!(shown.contains("has_token: true") && !shown.contains("eyJ"), "{shown}");
    }
}
