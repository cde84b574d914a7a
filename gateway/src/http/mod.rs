//! The HTTP edge: the WebSocket upgrade, the demo, the API for backends, the operators' page. HTTP/1.1 over TCP and TLS.
//!
//! What it needs of the rest it is given: where connections go ([`Accept`]), what answers requests ([`Backend`]), the
//! demo's files ([`Assets`]).

mod admin;
mod api;
mod assets;
mod demo;
mod handshake;
mod listener;
mod refused;
mod stream;
mod upgrade;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};
use tidegate_proto::Refusal;
use tidegate_proto::id::UserId;
use tidegate_proto::v1::Msg;

pub use self::admin::{Admin, Nobody};
pub use self::api::ApiKeys;
pub use self::assets::{Asset, Assets};
pub use self::listener::{Listener, Stopping, serve};
pub use self::stream::Stream;
use crate::auth::{Grants, Identity};
use crate::origin::OriginPolicy;
use crate::transport::Accept;

/// Whom a listener tells of what it refuses.
pub trait Refusals: Clone + Send + Sync + 'static {
    /// A request or a connection was refused, for the metrics: `reason` is one of a small fixed set.
    fn refused(&self, reason: &'static str);
}

/// What the edge asks of the server behind it.
pub trait Backend: Refusals {
    /// Who a token is. A refusal has the same text for whatever is wrong with it.
    fn verify(&self, token: &str) -> Result<Identity, Refusal>;

    /// Sends `msg` as `sender`; answers when the log has it.
    fn submit(&self, sender: UserId, msg: Msg) -> impl Future<Output = Result<Submitted, Refusal>> + Send;

    /// A token for a user of the demo; asked for in development mode only.
    fn demo_token(&self, user: &UserId, grants: &Grants) -> Result<DemoToken, Refusal>;

    /// Where the demo connects; asked for in development mode only.
    fn demo_connect(&self) -> impl Future<Output = DemoConnect> + Send;
}

/// A message that the log has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Submitted {
    /// The server's name for it.
    pub server_id: String,
    /// The sender's, or a drawn one.
    pub local_id: String,
    /// ms since 1970.
    pub send_time: i64,
}

/// The answer of `/demo/token`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DemoToken {
    /// A token as Hello takes it.
    pub token: String,
    /// Whose.
    pub user: String,
    /// ms since 1970.
    pub expires_at: i64,
}

/// The answer of `/demo/connect`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DemoConnect {
    /// The WebTransport address.
    pub webtransport: String,
    /// The WebSocket address.
    pub websocket: String,
    /// The certificate's SHA-256 in base64, for `serverCertificateHashes`.
    pub cert_sha256: String,
    /// Where the page may go when this gateway is gone.
    pub alternatives: Vec<DemoAlternative>,
}

/// Another gateway, as `host:port`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DemoAlternative {
    /// WebTransport and wss.
    pub secure: String,
    /// ws; empty: it has none.
    pub plain: String,
}

/// What the edge does and for whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose pages may open a WebSocket.
    pub origins: OriginPolicy,
    /// The keys of `/api/`; none: nobody may use it.
    pub api_keys: ApiKeys,
    /// Whether `/demo/` and the plain route without a token work (docs/OPERATIONS.md "Development mode").
    pub development: bool,
    /// The demo's files.
    pub assets: Assets,
}

/// The edge: its routes with what stands behind them. Made once, served on several listeners.
#[derive(Debug, Clone)]
pub struct Edge<A, B> {
    accept: A,
    backend: B,
    router: Router,
}

impl<A: Accept, B: Backend> Edge<A, B> {
    /// Hands upgraded connections to `accept` and requests to `backend`.
    pub fn new(accept: A, backend: B, settings: Settings) -> Self {
        let state = Arc::new(Shared { backend: backend.clone(), settings });
        let router = Router::new()
            .route("/ws", any(upgrade::frames::<B>))
            .route("/ws/{user_id}/conn/{token}/{pointer_id}", any(upgrade::plain::<B>))
            .route("/ws/{user_id}/conn/{pointer_id}", any(upgrade::plain_without_token::<B>))
            .route("/demo/token", get(demo::token::<B>))
            .route("/demo/connect", get(demo::connect::<B>))
            .route("/api/v1/messages", post(api::messages::<B>))
            .route("/api/v1/channels/{*name}", post(api::channel_messages::<B>))
            .method_not_allowed_fallback(refused::method_not_allowed)
            .fallback(assets::file::<B>)
            .with_state(state);
        Self { accept, backend, router }
    }
}

/// What the handlers share.
struct Shared<B> {
    backend: B,
    settings: Settings,
}

impl<B: Backend> Shared<B> {
    /// Counts a refusal.
    fn refuse(&self, refused: refused::Refused) -> refused::Refused {
        self.backend.refused(refused.reason);
        refused
    }
}

#[cfg(test)]
mod tests;
