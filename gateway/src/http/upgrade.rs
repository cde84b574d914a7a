//! The WebSocket routes: what has to hold before 101, and the hand-over of the socket after it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tidegate_proto::Refusal;
use tidegate_proto::id::{DeviceId, UserId};
use tidegate_proto::v1::Code;

use super::handshake::{Subprotocol, caller, check, origin, subprotocol};
use super::refused::Refused;
use super::stream::Stream;
use super::{Backend, Shared};
use crate::auth::{Grants, Identity};
use crate::transport::websocket::{Form, WebSocket};

/// The connection a request came by.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) local_port: u16,
    pub(super) secure: bool,
    /// An upgrade that was granted: the connection's task takes it from here when HTTP is over.
    pub(super) granted: Arc<Mutex<Option<Granted>>>,
}

impl Connection {
    pub(super) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// A socket that will be a WebSocket as soon as its 101 is written.
#[derive(Debug)]
pub(super) struct Granted {
    upgrade: OnUpgrade,
    form: Form,
}

impl Granted {
    /// The WebSocket; `None` when the client did not wait for it.
    pub(super) async fn into_websocket(self, remote: SocketAddr) -> Option<WebSocket<Stream>> {
        let parts = self.upgrade.await.ok()?.downcast::<TokioIo<Stream>>().ok()?;
        // Copied, so that the buffer of HTTP is not kept.
        let input = BytesMut::from(&parts.read_buf[..]);
        Some(WebSocket::new(parts.io.into_inner(), input, remote, self.form))
    }
}

/// `/ws`.
pub(super) async fn frames<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    Extension(connection): Extension<Connection>,
    token: Query<Token>,
    mut request: Request,
) -> Result<Response, Refused> {
    let Query(Token { token }) = token;
    let granted = check_frames(&shared, &request).map_err(|refused| shared.refuse(refused));
    let (accept, subprotocol) = granted?;
    let form = match subprotocol {
        Subprotocol::Binary => Form::Binary { token },
        Subprotocol::Json => Form::Json { token },
    };
    let mut response = switch(&connection, &mut request, &accept, form);
    let value = HeaderValue::from_static(subprotocol.as_str());
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
    Ok(response)
}

/// `/ws/{user_id}/conn/{token}/{pointer_id}`.
pub(super) async fn plain<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    Extension(connection): Extension<Connection>,
    Path((user, token, device)): Path<(String, String, String)>,
    mut request: Request,
) -> Result<Response, Refused> {
    let granted = check_plain(&shared, &request, &user, &device, |_| Ok(token));
    let (accept, form) = granted.map_err(|refused| shared.refuse(refused))?;
    Ok(switch(&connection, &mut request, &accept, form))
}

/// `/ws/{user_id}/conn/{pointer_id}`: development mode draws the token that the path does not have.
pub(super) async fn plain_without_token<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    Extension(connection): Extension<Connection>,
    Path((user, device)): Path<(String, String)>,
    mut request: Request,
) -> Result<Response, Refused> {
    let local = caller(request.headers()).is_local(connection.scheme(), connection.local_port);
    let granted = check_plain(&shared, &request, &user, &device, |user| {
        if !shared.settings.development || !local {
            return Err(unauthenticated("this path needs a token: /ws/{user_id}/conn/{token}/{pointer_id}"));
        }
        Ok(shared.backend.demo_token(user, &Grants::default())?.token)
    });
    let (accept, form) = granted.map_err(|refused| shared.refuse(refused))?;
    Ok(switch(&connection, &mut request, &accept, form))
}

/// A token in the query. Never logged.
#[derive(serde::Deserialize)]
pub(super) struct Token {
    token: Option<String>,
}

fn check_frames<B: Backend>(shared: &Shared<B>, request: &Request) -> Result<(String, Subprotocol), Refused> {
    let accept = check_upgrade(shared, request)?;
    Ok((accept, subprotocol(request.headers())?))
}

fn check_plain<B: Backend>(
    shared: &Shared<B>,
    request: &Request,
    user: &str,
    device: &str,
    token: impl FnOnce(&UserId) -> Result<String, Refused>,
) -> Result<(String, Form), Refused> {
    let accept = check_upgrade(shared, request)?;
    let (user, device) = (UserId::new(user)?, DeviceId::new(device)?);
    let identity = shared.backend.verify(&token(&user)?)?;
    check_identity(&identity, &user, &device)?;
    Ok((accept, Form::Plain { identity, device, now_ms: now_ms() }))
}

fn check_upgrade<B: Backend>(shared: &Shared<B>, request: &Request) -> Result<String, Refused> {
    if !shared.settings.origins.allows(origin(request.headers())) {
        let message = "pages of this origin may not connect here: add it to the allowed origins";
        return Err(Refused::new(StatusCode::FORBIDDEN, Code::PermissionDenied, "origin", message));
    }
    check(request.method(), request.version(), request.headers())
}

fn check_identity(identity: &Identity, user: &UserId, device: &DeviceId) -> Result<(), Refused> {
    if identity.user != *user || identity.device.as_ref().is_some_and(|own| own != device) {
        return Err(unauthenticated("the token is another user's or device's"));
    }
    Ok(())
}

fn switch(connection: &Connection, request: &mut Request, accept: &str, form: Form) -> Response {
    let granted = Granted { upgrade: hyper::upgrade::on(request), form };
    *connection.granted.lock() = Some(granted);
    let headers = [(CONNECTION, "Upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_ACCEPT, accept)];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

fn unauthenticated(message: &str) -> Refused {
    Refusal::new(Code::Unauthenticated, message).into()
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
