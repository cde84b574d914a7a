//! From nothing to a session: opens connections, says Hello, waits for Welcome, and tries the next.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use tidegate_proto::framing::put_frame;
use tidegate_proto::limits::MAX_HELLO_BYTES;
use tidegate_proto::v1::{
    self, ClientFrame, CloseCode, Hello, ServerFrame, Welcome, client_frame, server_frame, start,
};
use tokio::time::timeout;

use crate::attempt::Attempts;
use crate::config::{BoxError, Config, Start, TokenSource, Transport};
use crate::dial::{Dialer, OpenError};
use crate::event::Position;
use crate::route::Route;
use crate::state::{Close, End};
use crate::transport::{Link, LinkError};

/// Why no session could begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration names no server or no transport.
    #[error("the configuration names no {0}")]
    Nothing(&'static str),
    /// No connection could be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server said nothing within 3 s.
    #[error("no Welcome from {server} over {transport}")]
    NoWelcome {
        /// Over what.
        transport: Transport,
        /// Which server.
        server: String,
    },
    /// The connection broke before Welcome.
    #[error("the connection to {server} over {transport} broke before Welcome")]
    Broken {
        /// Over what.
        transport: Transport,
        /// Which server.
        server: String,
        /// How.
        #[source]
        source: LinkError,
    },
    /// The server refused the session.
    #[error("{server} refused the session: {} ({}): {message}", code.name(), *code as i32)]
    Refused {
        /// Which server.
        server: String,
        /// Why; 4100 to 4199: it does not help to try again.
        code: CloseCode,
        /// The same in words.
        message: String,
        /// When to come back, in ms; 0: not said.
        retry_after_ms: i64,
    },
    /// The application's source of tokens gave none.
    #[error("there is no token")]
    Token(#[source] BoxError),
    /// Token, device id, platform and agent are too much for one Hello.
    #[error("Hello takes {0} bytes, over the limit of {MAX_HELLO_BYTES}; the token is too long")]
    HelloTooLarge(usize),
}

/// A session that may begin.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) link: Link,
    pub(crate) welcome: Welcome,
    pub(crate) transport: Transport,
    pub(crate) server: String,
}

/// Begins sessions for one device.
#[derive(Debug)]
pub(crate) struct Connector {
    config: Config,
    dialer: Dialer,
    attempts: Attempts,
    /// The last number drawn, for the application.
    attempt: Arc<AtomicI64>,
    route: Route,
}

impl Connector {
    pub(crate) fn new(config: &Config, dialer: Dialer, attempt: Arc<AtomicI64>) -> Self {
        attempt.store(config.last_attempt, Ordering::Relaxed);
        Self {
            config: config.clone(),
            dialer,
            attempts: Attempts::after(config.last_attempt),
            attempt,
            route: Route::new(config.servers.clone()),
        }
    }

    /// Takes note of what a server said when it closed.
    pub(crate) fn note(&mut self, close: &Close) {
        if !close.alternatives.is_empty() {
            self.route.alternatives(close.alternatives.clone());
        }
    }

    /// From now on this is the token, unless there is a source of them.
    pub(crate) fn refresh(&mut self, token: String) {
        if let TokenSource::Fixed(fixed) = &mut self.config.token {
            *fixed = token;
        }
    }

    /// Whether a refused token may be followed by another one.
    pub(crate) fn has_token_source(&self) -> bool {
        matches!(self.config.token, TokenSource::Provider(_))
    }

    /// Tries every server over every transport once. `position` is where the client stands.
    pub(crate) async fn round(&mut self, position: Option<Position>) -> Result<Opened, ConnectError> {
        let mut last = ConnectError::Nothing("server");
        let mut access = Access { token: self.token().await?, may_ask_again: self.has_token_source() };
        for server in self.route.round() {
            match self.try_server(&server, &mut access, position.clone()).await {
                Ok(opened) => return Ok(opened),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Tries one server, with one transport less after each that opened and had no Welcome.
    async fn try_server(
        &mut self,
        server: &str,
        access: &mut Access,
        position: Option<Position>,
    ) -> Result<Opened, ConnectError> {
        let mut transports = self.config.transports.clone();
        let mut last = ConnectError::Nothing("transport");
        while let Some(opened) = self.dialer.open(server, &transports).await {
            let (transport, link) = opened?;
            let server = server.to_owned();
            let hello = self.hello(&access.token, position.clone())?;
            last = match greet(link, hello).await {
                Ok((link, welcome)) => return Ok(Opened { link, welcome, transport, server }),
                Err(Refusal::Closed(close))
                    if close.code == CloseCode::Unauthenticated && access.may_ask_again =>
                {
                    *access = Access { token: self.token().await?, may_ask_again: false };
                    continue;
                }
                Err(Refusal::Closed(close)) => {
                    self.note(&close);
                    return Err(refused(server, close));
                }
                Err(Refusal::Broken(source)) => ConnectError::Broken { transport, server, source },
                Err(Refusal::Silent) => ConnectError::NoWelcome { transport, server },
            };
            transports.retain(|other| *other != transport);
        }
        Err(last)
    }

    async fn token(&self) -> Result<String, ConnectError> {
        match &self.config.token {
            TokenSource::Fixed(token) => Ok(token.clone()),
            TokenSource::Provider(source) => match timeout(TOKEN_LIMIT, source()).await {
                Ok(token) => token.map_err(ConnectError::Token),
                Err(_) => Err(ConnectError::Token("the source of tokens did not answer in time".into())),
            },
        }
    }

    /// The Hello of the next attempt, as it is written.
    fn hello(&mut self, token: &str, position: Option<Position>) -> Result<BytesMut, ConnectError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let attempt = self.attempts.next(i64::try_from(now.as_millis()).unwrap_or(0));
        self.attempt.store(attempt, Ordering::Relaxed);
        let hello = Hello {
            token: token.to_owned(),
            device_id: self.config.device.clone(),
            attempt,
            platform: self.config.platform.clone(),
            agent: self.config.agent.clone(),
            start: hello_start(&self.config.start, position),
            lanes: self.config.lanes,
            datagrams: self.config.datagrams,
        };
        let mut out = BytesMut::new();
        put_frame(&mut out, &ClientFrame { id: 0, kind: Some(client_frame::Kind::Hello(hello)) });
        if out.len() > MAX_HELLO_BYTES { Err(ConnectError::HelloTooLarge(out.len())) } else { Ok(out) }
    }
}

impl ConnectError {
    /// Whether trying again makes no sense without a change.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Nothing(_) | Self::HelloTooLarge(_) => true,
            Self::Refused { code, .. } => (4100..4200).contains(&(*code as i32)),
            Self::Open(_) | Self::NoWelcome { .. } | Self::Broken { .. } | Self::Token(_) => false,
        }
    }

    /// When the server wishes the client back.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Refused { retry_after_ms, .. } => {
                Duration::from_millis((*retry_after_ms).try_into().unwrap_or(0))
            }
            _ => Duration::ZERO,
        }
    }
}

/// The token of a round, and whether the source of tokens may be asked once more.
#[derive(Debug)]
struct Access {
    token: String,
    may_ask_again: bool,
}

/// Why there is no Welcome.
#[derive(Debug)]
enum Refusal {
    Closed(Close),
    Broken(LinkError),
    Silent,
}

/// Says Hello and waits for Welcome.
async fn greet(mut link: Link, mut hello: BytesMut) -> Result<(Link, Welcome), Refusal> {
    let answer = timeout(WELCOME_LIMIT, async {
        poll_fn(|cx| link.poll_write(cx, &mut hello)).await?;
        poll_fn(|cx| link.poll_frame(cx)).await
    });
    let refusal = match answer.await {
        Ok(Ok(ServerFrame { kind: Some(server_frame::Kind::Welcome(welcome)), .. })) => {
            link.welcomed();
            return Ok((link, welcome));
        }
        Ok(Ok(ServerFrame { kind: Some(server_frame::Kind::GoAway(go_away)), .. })) => {
            Refusal::Closed(go_away.into())
        }
        Ok(Ok(ServerFrame { kind: Some(server_frame::Kind::Error(error)), .. })) => {
            Refusal::Closed(error.into())
        }
        Ok(Ok(_)) => Refusal::Broken(LinkError::Protocol("a frame before Welcome")),
        Ok(Err(error)) => match End::from(error) {
            End::Closed(close) => Refusal::Closed(close),
            End::Lost(crate::Disconnect::Broken(error)) => Refusal::Broken(error),
            End::Lost(_) | End::Left => Refusal::Broken(LinkError::Ended),
        },
        Err(_) => Refusal::Silent,
    };
    if let Refusal::Closed(close) = &refusal {
        // The code goes on its way, and nobody waits for the answer: there is no session to lose anything of.
        link.finish(close.code);
        poll_fn(|cx| {
            let _ = link.poll_write(cx, &mut hello);
            std::task::Poll::Ready(())
        })
        .await;
        link.close(close.code);
    }
    Err(refusal)
}

fn refused(server: String, close: Close) -> ConnectError {
    let Close { code, message, retry_after_ms, .. } = close;
    ConnectError::Refused { server, code, message, retry_after_ms }
}

/// Where the session starts: where the client stands, or at first where the application says.
fn hello_start(start: &Start, position: Option<Position>) -> Option<v1::Start> {
    let from = match (position, start) {
        (Some(Position { epoch, cursor }), _) => {
            start::From::Position(v1::Position { epoch: epoch.to_string(), cursor })
        }
        (None, Start::Head) => start::From::Head(true),
        (None, Start::Floor) => start::From::Floor(true),
        (None, Start::Stored | Start::At(_)) => return None,
    };
    Some(v1::Start { from: Some(from) })
}

/// Without a Welcome by then the next transport is tried (docs/PROTOCOL.md "Transports").
const WELCOME_LIMIT: Duration = Duration::from_secs(3);
/// How long the application's source of tokens may take.
const TOKEN_LIMIT: Duration = Duration::from_secs(30);
