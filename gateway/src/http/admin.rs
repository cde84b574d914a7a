//! What operators ask for, on a listener of their own: health, readiness, metrics. Knows nothing of what is counted.

use std::fmt;
use std::future::Future;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tidegate_proto::v1::Code;

use super::refused::{Refused, method_not_allowed};
use super::{Edge, Refusals};
use crate::transport::{Accept, Transport};

/// What the operators' listener asks of the server behind it.
pub trait Admin: Clone + Send + Sync + 'static {
    /// Whether clients can be served now; otherwise why not. Answers within a few seconds.
    fn ready(&self) -> impl Future<Output = Result<(), &'static str>> + Send;

    /// All metrics in the OpenMetrics text format.
    fn metrics(&self) -> Result<String, fmt::Error>;
}

/// Nobody is connected by way of the operators' routes.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Accept for Nobody {
    fn accept<T: Transport>(&self, _transport: T) {}
}

impl<B: Refusals> Edge<Nobody, B> {
    /// The operators' routes, and only those.
    pub fn admin(refusals: B, admin: impl Admin) -> Self {
        Self { accept: Nobody, backend: refusals, router: routes(admin) }
    }
}

fn routes<M: Admin>(admin: M) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready::<M>))
        .route("/metrics", get(metrics::<M>))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(async || Refused::not_found())
        .with_state(admin)
}

/// The process lives and its runtime has time for a request.
async fn health() -> Response {
    plain(StatusCode::OK, "ok\n")
}

async fn ready<M: Admin>(State(admin): State<M>) -> Response {
    match admin.ready().await {
        Ok(()) => plain(StatusCode::OK, "ready\n"),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("not ready: {reason}\n")),
    }
}

async fn metrics<M: Admin>(State(admin): State<M>) -> Result<Response, Refused> {
    match admin.metrics() {
        Ok(text) => Ok(([(CONTENT_TYPE, OPENMETRICS), (CACHE_CONTROL, "no-store")], text).into_response()),
        Err(fmt::Error) => {
            let message = "the metrics cannot be written";
            Err(Refused::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "internal", message))
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (status, headers, text.to_owned()).into_response()
}

/// What a scraper expects of the format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
