//! What the demo page asks for, in development mode and of its own pages only (docs/OPERATIONS.md "Development mode").

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use tidegate_proto::id::UserId;
use tidegate_proto::v1::Code;

use super::handshake::caller;
use super::refused::Refused;
use super::upgrade::Connection;
use super::{Backend, Shared};

/// `/demo/token?user=NAME`.
pub(super) async fn token<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    Extension(connection): Extension<Connection>,
    Query(User { user }): Query<User>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    guard(&shared, &connection, &headers)?;
    let token = UserId::new(&user).and_then(|user| shared.backend.demo_token(&user));
    Ok(private(token.map_err(|refusal| shared.refuse(refusal.into()))?))
}

/// `/demo/connect`.
pub(super) async fn connect<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    guard(&shared, &connection, &headers)?;
    Ok(private(shared.backend.demo_connect().await))
}

/// Who a token is asked for.
#[derive(serde::Deserialize)]
pub(super) struct User {
    user: String,
}

fn guard<B: Backend>(
    shared: &Shared<B>,
    connection: &Connection,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    if !shared.settings.development {
        return Err(shared.refuse(Refused::not_found()));
    }
    if !caller(headers).is_local(connection.scheme(), connection.local_port) {
        let message = "only for pages of this server on this machine";
        let refused = Refused::new(StatusCode::FORBIDDEN, Code::PermissionDenied, "origin", message);
        return Err(shared.refuse(refused));
    }
    Ok(())
}

fn private(answer: impl serde::Serialize) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}
