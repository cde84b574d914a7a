//! Refusals as HTTP says them: a status, and `{"code","message"}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;

/// A request that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) code: Code,
    pub(super) message: String,
    /// The label of the counter.
    pub(super) reason: &'static str,
    pub(super) retry_after_ms: i64,
}

impl Refused {
    pub(super) fn new(
        status: StatusCode,
        code: Code,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), reason, retry_after_ms: 0 }
    }

    pub(super) fn bad_request(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, reason, message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, "not_found", "there is nothing at this path")
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (status, reason) = match refusal.code {
            Code::InvalidArgument | Code::ProtocolError => (StatusCode::BAD_REQUEST, "invalid_argument"),
            Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
            Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Code::Conflict => (StatusCode::CONFLICT, "conflict"),
            Code::RateLimited | Code::Limit => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
            Code::Internal | Code::Ok => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let Refusal { code, message, retry_after_ms } = refusal;
        Self { status, code, message, reason, retry_after_ms }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
        }
        let body = Body { code: self.code.as_str_name(), message: &self.message };
        let mut response = (self.status, Json(body)).into_response();
        let mut add = |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
        if self.status == StatusCode::UPGRADE_REQUIRED {
            add(UPGRADE, HeaderValue::from_static("websocket"));
            add(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if self.retry_after_ms > 0 {
            let seconds = self.retry_after_ms.unsigned_abs().div_ceil(1000);
            add(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// 405; the router adds which methods are allowed.
pub(super) async fn method_not_allowed(method: Method, _uri: Uri) -> Refused {
    method_refused(&method)
}

/// 405 where GET and HEAD are allowed.
pub(super) fn only_get(method: &Method) -> Response {
    let mut response = method_refused(method).into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn method_refused(method: &Method) -> Refused {
    let message =
        format!("{} is not allowed here", if method.as_str().len() <= 16 { method.as_str() } else { "it" });
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, Code::InvalidArgument, "method", message)
}
