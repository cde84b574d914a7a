//! What the demo page asks for, in development mode and of its own pages only (docs/OPERATIONS.md "Development mode").

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use tidegate_proto::Refusal;
use tidegate_proto::id::UserId;
use tidegate_proto::pattern::Pattern;
use tidegate_proto::v1::Code;

use super::handshake::caller;
use super::refused::Refused;
use super::upgrade::Connection;
use super::{Backend, Shared};
use crate::auth::{Grants, Patterns};

/// `/demo/token?user=NAME`; with `subscribe` and `publish` it grants channels, by patterns with commas between them.
pub(super) async fn token<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    Extension(connection): Extension<Connection>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    guard(&shared, &connection, &headers)?;
    let token = UserId::new(&asked.user).and_then(|user| {
        let grants = Grants { subscribe: patterns(&asked.subscribe)?, publish: patterns(&asked.publish)? };
        shared.backend.demo_token(&user, &grants)
    });
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

/// Who a token is asked for, and what it is to grant.
#[derive(serde::Deserialize)]
pub(super) struct Asked {
    user: String,
    #[serde(default)]
    subscribe: String,
    #[serde(default)]
    publish: String,
}

fn patterns(text: &str) -> Result<Patterns, Refusal> {
    let patterns = text.split(',').filter(|text| !text.is_empty()).map(Pattern::new);
    let patterns: Vec<Pattern> =
        patterns.collect::<Result<_, _>>().map_err(|error| Refusal::invalid(error.to_string()))?;
    Patterns::try_from(patterns).map_err(|error| Refusal::invalid(error.to_string()))
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
