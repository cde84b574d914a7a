//! Whether a request is a WebSocket handshake, and the answer to it (RFC 6455, section 4.2). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use sha1::{Digest as _, Sha1};
use tidegate_proto::v1::Code;
use tidegate_proto::{SUBPROTOCOL, SUBPROTOCOL_JSON};

use super::refused::Refused;
use crate::origin::Caller;

/// The subprotocols served on `/ws`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subprotocol {
    Binary,
    Json,
}

impl Subprotocol {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Binary => SUBPROTOCOL,
            Self::Json => SUBPROTOCOL_JSON,
        }
    }
}

/// Checks the handshake and gives the value of Sec-WebSocket-Accept. Extensions are not looked at: none is accepted.
pub(super) fn check(method: &Method, version: Version, headers: &HeaderMap) -> Result<String, Refused> {
    if *method != Method::GET || version != Version::HTTP_11 {
        return Err(bad("a WebSocket is opened with GET over HTTP/1.1"));
    }
    if !has_token(headers, &CONNECTION, "upgrade") || !has_token(headers, &UPGRADE, "websocket") {
        return Err(upgrade_required(
            "this path speaks WebSocket: send Connection: Upgrade and Upgrade: websocket",
        ));
    }
    if single(headers, &SEC_WEBSOCKET_VERSION) != Ok(Some("13")) {
        return Err(upgrade_required("Sec-WebSocket-Version must be 13"));
    }
    let key = single(headers, &SEC_WEBSOCKET_KEY).ok().flatten();
    match key {
        Some(key) if STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES) => Ok(accept(key)),
        _ => Err(bad("Sec-WebSocket-Key must be 16 bytes in base64")),
    }
}

/// The first subprotocol offered that is served.
pub(super) fn subprotocol(headers: &HeaderMap) -> Result<Subprotocol, Refused> {
    tokens(headers, &SEC_WEBSOCKET_PROTOCOL)
        .find_map(|offered| {
            [Subprotocol::Binary, Subprotocol::Json].into_iter().find(|own| own.as_str() == offered)
        })
        .ok_or_else(|| bad("offer a subprotocol (Sec-WebSocket-Protocol): tidegate.v1 or tidegate.v1.json"))
}

/// The Origin header. More than one, or one that is no text, is an origin that is never allowed.
pub(super) fn origin(headers: &HeaderMap) -> Option<&str> {
    single(headers, &ORIGIN).unwrap_or(Some(NO_ORIGIN))
}

/// What tells who asks.
pub(super) fn caller(headers: &HeaderMap) -> Caller<'_> {
    let fetch_site = single(headers, &HeaderName::from_static("sec-fetch-site")).unwrap_or(Some(NO_ORIGIN));
    Caller { host: single(headers, &HOST).ok().flatten(), origin: origin(headers), fetch_site }
}

/// A header that may come at most once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, NotOne> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|value| Some(value.trim())).map_err(|_| NotOne),
        (Some(_), Some(_)) => Err(NotOne),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct NotOne;

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|given| given.eq_ignore_ascii_case(token))
}

fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

fn bad(message: &str) -> Refused {
    Refused::bad_request("handshake", message)
}

fn upgrade_required(message: &str) -> Refused {
    Refused::new(StatusCode::UPGRADE_REQUIRED, Code::InvalidArgument, "handshake", message)
}

/// What `null` stands for: a page without an origin of its own.
const NO_ORIGIN: &str = "null";
/// RFC 6455, section 4.1.
const KEY_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn status(method: &Method, version: Version, headers: &HeaderMap) -> u16 {
        check(method, version, headers).map_or_else(|refused| refused.status.as_u16(), |_| 101)
    }

    #[test]
    fn the_example_of_the_rfc() {
        let accept = check(&Method::GET, Version::HTTP_11, &headers(&GOOD));
        assert_eq!(accept.as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn what_is_no_handshake() {
        let good = headers(&GOOD);
        assert_eq!(status(&Method::POST, Version::HTTP_11, &good), 400);
        assert_eq!(status(&Method::GET, Version::HTTP_10, &good), 400);
        for (name, value, expected) in [
            ("connection", "keep-alive", 426),
            ("upgrade", "h2c", 426),
            ("sec-websocket-version", "12", 426),
            ("sec-websocket-version", "8, 13", 426),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25j", 400),
            ("sec-websocket-key", "not base64 at all!!", 400),
        ] {
            let mut headers = good.clone();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(status(&Method::GET, Version::HTTP_11, &headers), expected, "{name}: {value}");
        }
        for (missing, expected) in [
            ("connection", 426),
            ("upgrade", 426),
            ("sec-websocket-version", 426),
            ("sec-websocket-key", 400),
        ] {
            let mut headers = good.clone();
            headers.remove(missing);
            assert_eq!(status(&Method::GET, Version::HTTP_11, &headers), expected, "no {missing}");
        }
        let mut twice = good;
        twice.append("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        assert_eq!(status(&Method::GET, Version::HTTP_11, &twice), 400);
    }

    #[test]
    fn the_first_subprotocol_that_is_known() {
        let of = |value| subprotocol(&headers(&[("sec-websocket-protocol", value)])).map_err(|_| ());
        assert_eq!(of("tidegate.v1"), Ok(Subprotocol::Binary));
        assert_eq!(of("x, tidegate.v1.json,tidegate.v1"), Ok(Subprotocol::Json));
        assert_eq!(of("tidegate.v2"), Err(()));
        assert!(subprotocol(&HeaderMap::new()).is_err());
    }

    #[test]
    fn an_origin_that_cannot_be_read_is_none_that_is_allowed() {
        assert_eq!(origin(&HeaderMap::new()), None);
        assert_eq!(origin(&headers(&[("origin", "http://a")])), Some("http://a"));
        assert_eq!(origin(&headers(&[("origin", "http://a"), ("origin", "http://b")])), Some("null"));
    }
}
