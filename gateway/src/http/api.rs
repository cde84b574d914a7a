//! The API for backends: `POST /api/v1/messages` sends as a user or as the system, `POST /api/v1/channels/{name}/messages`
//! to a channel.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use tidegate_pipeline::submit;
use tidegate_proto::Refusal;
use tidegate_proto::id::ChannelName;
use tidegate_proto::v1::{Code, Msg};
use tokio::time::timeout;

use super::refused::Refused;
use super::{Backend, Shared, Submitted};

/// The keys that may use the API. Kept and compared as hashes.
#[derive(Clone, Default)]
pub struct ApiKeys(Arc<[[u8; 32]]>);

impl ApiKeys {
    /// The keys of the configuration. An empty one is left out: it would let everybody in.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().filter(|key| !key.is_empty()).map(hash).collect())
    }

    /// Whether `key` is one of them, in a time that does not tell how nearly.
    fn contains(&self, key: &str) -> bool {
        let given = hash(key);
        self.0.iter().fold(false, |found, own| found | is_equal(own, &given))
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

/// `POST /api/v1/messages`: a `Msg` in JSON, with `send_id` the user it is sent as; without one, the system.
pub(super) async fn messages<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    request: Request,
) -> Result<Json<Submitted>, Refused> {
    let sent = send(&shared, request, None).await;
    sent.map(Json).map_err(|refused| shared.refuse(refused))
}

/// `POST /api/v1/channels/{name}/messages`: the same to a channel.
pub(super) async fn channel_messages<B: Backend>(
    State(shared): State<Arc<Shared<B>>>,
    request: Request,
) -> Result<Json<Submitted>, Refused> {
    let Some(name) = channel_of(request.uri().path()) else {
        return Err(shared.refuse(Refused::not_found()));
    };
    let sent = send(&shared, request, Some(&name)).await;
    sent.map(Json).map_err(|refused| shared.refuse(refused))
}

/// The channel in a path, whose slashes may be encoded or not; `None` if the path ends otherwise. The name is checked with
/// the message.
fn channel_of(path: &str) -> Option<String> {
    let name = path.strip_prefix(CHANNELS)?.strip_suffix(MESSAGES)?;
    Some(percent_decode_str(name).decode_utf8_lossy().into_owned())
}

async fn send<B: Backend>(
    shared: &Shared<B>,
    request: Request,
    channel: Option<&str>,
) -> Result<Submitted, Refused> {
    let (head, body) = request.into_parts();
    authorize(&shared.settings.api_keys, &head.headers)?;
    let body = read(&head.headers, body).await?;
    let mut msg: Msg = serde_json::from_slice(&body).map_err(|error| no_msg(&error))?;
    if let Some(channel) = channel {
        set_channel(&mut msg, channel)?;
    }
    let sender = submit::sender(&msg)?;
    let submitted = timeout(SUBMIT_TIMEOUT, shared.backend.submit(sender, msg)).await;
    Ok(submitted.unwrap_or_else(|_| Err(unavailable()))?)
}

fn set_channel(msg: &mut Msg, channel: &str) -> Result<(), Refusal> {
    let name = ChannelName::new(channel)?;
    if !msg.channel.is_empty() && msg.channel != channel {
        return Err(Refusal::invalid("channel must be that of the path, or be left out"));
    }
    msg.channel = name.as_str().to_owned();
    Ok(())
}

fn authorize(keys: &ApiKeys, headers: &HeaderMap) -> Result<(), Refused> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = value
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if key.is_some_and(|(_, key)| keys.contains(key.trim())) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Unauthenticated,
        "send Authorization: Bearer with an API key of the configuration",
    )
    .into())
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refused> {
    let too_large = || Refusal::new(Code::TooLarge, format!("a body may have {MAX_BODY_BYTES} bytes")).into();
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // Either over the limit, or gone or malformed, when nobody reads the answer.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => {
            let message = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, Code::InvalidArgument, "timeout", message))
        }
    }
}

/// The error may quote what was sent, so it is cut.
fn no_msg(error: &serde_json::Error) -> Refused {
    let mut message = format!("the body is no Msg in JSON: {error}");
    message.truncate(message.floor_char_boundary(MAX_QUOTED_BYTES));
    Refused::bad_request("invalid_argument", message)
}

fn unavailable() -> Refusal {
    Refusal::new(Code::Unavailable, "the outcome is not known: send it again with the same local_id")
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn is_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

/// What a channel's path begins with.
const CHANNELS: &str = "/api/v1/channels/";
/// What it ends with.
const MESSAGES: &str = "/messages";
/// The largest body: the largest content, as JSON escapes it, and room for the rest.
const MAX_BODY_BYTES: usize = 128 * 1024;
/// The longest text that may hold a client's own words (docs/OPERATIONS.md "Log").
const MAX_QUOTED_BYTES: usize = 256;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A little more than the log's own limit of 10 s (ARCHITECTURE.md "A message's way").
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_stands_in_the_path_with_slashes_or_without() {
        for (path, name) in [
            ("/api/v1/channels/news/messages", Some("news")),
            ("/api/v1/channels/news/sport/messages", Some("news/sport")),
            ("/api/v1/channels/news%2Fsport%2f1/messages", Some("news/sport/1")),
            ("/api/v1/channels/%40all/messages", Some("@all")),
            ("/api/v1/channels/@all/messages", Some("@all")),
            ("/api/v1/channels/a+b/messages", Some("a+b")),
            ("/api/v1/channels/messages/messages", Some("messages")),
            ("/api/v1/channels/%2e%2e/messages", Some("..")),
            ("/api/v1/channels//messages", Some("")),
            ("/api/v1/channels/%ff/messages", Some("\u{fffd}")),
            ("/api/v1/channels/a%/messages", Some("a%")),
            ("/api/v1/channels/news%2Fmessages", None),
            ("/api/v1/channels/news", None),
            ("/api/v1/channels/messages", None),
            ("/api/v1/channels/news/messages/", None),
        ] {
            assert_eq!(channel_of(path).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn keys_match_whole() {
        let keys = ApiKeys::new(["one", "", "two"]);
        for (key, known) in
            [("one", true), ("two", true), ("", false), ("on", false), ("one ", false), ("three", false)]
        {
            assert_eq!(keys.contains(key), known, "{key:?}");
        }
        assert!(!ApiKeys::default().contains(""));
    }
}
