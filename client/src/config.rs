//! What a client is told before it connects.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::limits::{HEARTBEAT, MAX_LANES};

use crate::endpoint::Endpoint;
use crate::event::Position;
use crate::read_rate::ReadRate;
use crate::trust::Trust;

/// What a connection runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Raw QUIC, ALPN `tidegate/1`.
    Quic,
    /// WebTransport over HTTP/3, path `/wt`.
    WebTransport,
    /// WebSocket, path `/ws`.
    WebSocket,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::WebTransport => "WebTransport",
            Self::WebSocket => "WebSocket",
        })
    }
}

/// From where the inbox is read at the first connect; later sessions go on where the one before ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// The cursor the server keeps for the device; for a device never seen everything there is.
    #[default]
    Stored,
    /// Only what comes from now on.
    Head,
    /// Everything there is.
    Floor,
    /// After this position, which an earlier life of the program kept.
    At(Position),
}

/// Who tells the server what has been received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// The client: what the application has handled, that is taken from [`Events`](crate::Events) before it came for
    /// more; at most every second or 64 messages, and what it has taken when it leaves.
    #[default]
    Auto,
    /// The application, by [`Client::ack`](crate::Client::ack).
    Manual,
}

/// An error of the application's own.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How to connect, as whom, and how to behave. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) servers: Vec<String>,
    pub(crate) transports: Vec<Transport>,
    pub(crate) plain_websocket: bool,
    pub(crate) trust: Trust,
    pub(crate) server_name: Option<String>,
    pub(crate) token: TokenSource,
    pub(crate) device: String,
    pub(crate) last_attempt: i64,
    pub(crate) start: Start,
    pub(crate) lanes: u32,
    pub(crate) datagrams: bool,
    pub(crate) platform: String,
    pub(crate) agent: String,
    pub(crate) acks: Acks,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) pong_timeout: Duration,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) event_capacity: usize,
    pub(crate) raw_frames: bool,
    pub(crate) read_rate: Option<ReadRate>,
}

impl Config {
    /// For the server at `server`, `host:port`: QUIC first, WebSocket half a second later, trust in the system's
    /// roots, a random device, deliveries on the control stream.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            servers: vec![server.into()],
            transports: vec![Transport::Quic, Transport::WebSocket],
            plain_websocket: false,
            trust: Trust::SystemRoots,
            server_name: None,
            token: TokenSource::Fixed(String::new()),
            device: uuid::Uuid::now_v7().to_string(),
            last_attempt: 0,
            start: Start::Stored,
            lanes: 0,
            datagrams: true,
            platform: std::env::consts::OS.to_owned(),
            agent: concat!("tidegate-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            acks: Acks::Auto,
            backoff: (Duration::from_millis(200), Duration::from_secs(30)),
            heartbeat: None,
            pong_timeout: Duration::from_secs(10),
            bind: None,
            endpoint: None,
            event_capacity: 256,
            raw_frames: false,
            read_rate: None,
        }
    }

    /// One more server, tried in turn.
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.servers.push(server.into());
        self
    }

    /// The transports, raced to open at each connect: the first at once, each other 500 ms after the one before it or
    /// as soon as that has failed.
    pub fn transports(mut self, transports: impl Into<Vec<Transport>>) -> Self {
        self.transports = transports.into();
        self
    }

    /// `ws://` in place of `wss://`: no TLS. For a server on the same machine.
    pub fn plain_websocket(mut self, plain: bool) -> Self {
        self.plain_websocket = plain;
        self
    }

    /// Which certificates are believed.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The name the certificate must have, where it is not the host of the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The token that says who the user is.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = TokenSource::Fixed(token.into());
        self
    }

    /// A source of tokens: asked at every connect, and once more when a token is refused.
    pub fn token_from<F, R>(mut self, source: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        self.token = TokenSource::Provider(Arc::new(move || Box::pin(source())));
        self
    }

    /// The device's id, stable over the life of the installation. One device has one session at a time.
    pub fn device(mut self, id: impl Into<String>) -> Self {
        self.device = id.into();
        self
    }

    /// The highest attempt number the device has used, where the application keeps it; it matters only if the clock
    /// was set back since. See [`Client::attempt`](crate::Client::attempt).
    pub fn last_attempt(mut self, attempt: i64) -> Self {
        self.last_attempt = attempt;
        self
    }

    /// From where the inbox is read at the first connect.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How many lanes deliveries may come on, 0 to 8: with them a lost packet of one conversation does not delay
    /// another. A position kept by the application knows only what is contiguous, so a new life of the program may
    /// see again what came on another lane; `server_id` tells.
    pub fn lanes(mut self, lanes: u32) -> Self {
        self.lanes = lanes.min(MAX_LANES);
        self
    }

    /// Whether signals may go and come as datagrams.
    pub fn datagrams(mut self, datagrams: bool) -> Self {
        self.datagrams = datagrams;
        self
    }

    /// The platform shown to other users, `web`, `cli`, …; at most 64 bytes.
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platform = platform.into();
        self
    }

    /// The program's name and version; at most 128 bytes.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Who acknowledges.
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// The limits of the wait before a new connection: at most `first` after one failure, doubled with each further
    /// one up to `longest`; the wait is a random part of that.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest);
        self
    }

    /// How often the client pings, and how long it waits for a sign of life then. By default as often as the server
    /// says (25 s), and 10 s.
    pub fn heartbeat(mut self, every: Duration, pong_timeout: Duration) -> Self {
        self.heartbeat = Some(every.min(A_DAY));
        self.pong_timeout = pong_timeout.min(A_DAY);
        self
    }

    /// The local address that QUIC and WebTransport are sent from.
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// The UDP socket and TLS state to share with other clients of the process; in place of [`bind`](Self::bind).
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// How many events wait for the application before the client stops reading from the connection; 256.
    pub fn event_capacity(mut self, events: usize) -> Self {
        self.event_capacity = events;
        self
    }

    /// Whether every received frame is also given as [`Event::Frame`](crate::Event::Frame), for tests and tools.
    pub fn raw_frames(mut self, raw: bool) -> Self {
        self.raw_frames = raw;
        self
    }

    /// How fast the client reads from its connections, over TCP also with the smallest buffer in the system; for tests
    /// and measurements.
    pub fn read_rate(mut self, rate: ReadRate) -> Self {
        self.read_rate = Some(rate);
        self
    }

    /// How often to ping on a session whose server wishes `heartbeat_ms`.
    pub(crate) fn ping_every(&self, heartbeat_ms: i64) -> Duration {
        let wished =
            u64::try_from(heartbeat_ms).ok().filter(|&ms| ms > 0).map_or(HEARTBEAT, Duration::from_millis);
        self.heartbeat.unwrap_or(wished.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT))
    }
}

/// Where the token comes from.
#[derive(Clone)]
pub(crate) enum TokenSource {
    Fixed(String),
    Provider(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

type TokenFuture = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

impl std::fmt::Debug for TokenSource {
    /// Never the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Provider(_) => "Provider",
        })
    }
}

/// Longer is never; and a time so far ahead can be computed.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What a server may wish for as a heartbeat: not a busy loop, and within the idle time-out of a connection.
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(1);
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(50);
