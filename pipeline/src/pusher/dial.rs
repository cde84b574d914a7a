//! Opens the stream of a link: one connection of its own for each gateway.

use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{self, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::wire::MAX_MESSAGE_BYTES;
use crate::presence::lease::Lease;
use crate::rpc::v1::msg_service_client::MsgServiceClient;
use crate::rpc::v1::{Handed, Handover, Open, handed, handover};

/// How other gateways are reached.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    token: Option<MetadataValue<Ascii>>,
}

/// An open link.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) to: mpsc::Sender<Handover>,
    pub(super) from: Streaming<Handed>,
}

/// Why a link is not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("the gateway is not reached")]
    Unreachable(#[from] transport::Error),
    #[error("the gateway refuses the link")]
    Refused(#[source] Status),
    #[error("the gateway is another one, or another incarnation")]
    Another,
    #[error("the gateway does not answer in time")]
    Silent,
}

impl Dialer {
    /// Plain text, with the service token that the gateways ask for, if they do.
    pub fn new(token: Option<&str>) -> Result<Self, tonic::metadata::errors::InvalidMetadataValue> {
        let token = token.map(|token| MetadataValue::try_from(format!("Bearer {token}"))).transpose()?;
        let token = token.map(|mut token| {
            token.set_sensitive(true);
            token
        });
        Ok(Self { token })
    }

    /// Opens a link to the gateway of a lease.
    pub(super) async fn open(&self, lease: &Lease, capacity: usize) -> Result<Stream, OpenError> {
        timeout(OPEN_LIMIT, self.try_open(lease, capacity)).await.unwrap_or(Err(OpenError::Silent))
    }

    async fn try_open(&self, lease: &Lease, capacity: usize) -> Result<Stream, OpenError> {
        let channel = endpoint(&lease.address)?.connect().await?;
        let mut client = MsgServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (to, outgoing) = mpsc::channel(capacity);
        let open = Open { gateway: lease.gateway.to_string(), incarnation: lease.incarnation };
        let first = Handover { kind: Some(handover::Kind::Open(open)) };
        let outgoing = stream::unfold((Some(first), outgoing), |(first, mut outgoing)| async {
            let next = match first {
                Some(first) => first,
                None => outgoing.recv().await?,
            };
            Some((next, (None, outgoing)))
        });
        let mut request = Request::new(outgoing);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        let mut from = client.deliver(request).await.map_err(refused)?.into_inner();
        match from.message().await.map_err(refused)?.and_then(|handed| handed.kind) {
            Some(handed::Kind::Opened(_)) => Ok(Stream { to, from }),
            _ => Err(OpenError::Refused(Status::internal("the first answer is not Opened"))),
        }
    }
}

fn refused(status: Status) -> OpenError {
    if status.code() == Code::FailedPrecondition { OpenError::Another } else { OpenError::Refused(status) }
}

/// Where and how a gateway is dialled.
fn endpoint(address: &str) -> Result<Endpoint, transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_LIMIT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_LIMIT)
        .keep_alive_while_idle(true))
}

/// A server that takes links: windows, and an end to peers that vanished.
pub fn server() -> transport::Server {
    transport::Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PONG_LIMIT))
}

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// From dialling to Opened.
const OPEN_LIMIT: Duration = Duration::from_secs(4);
/// A silent peer is given up after both together: before its lease, which lives 10 s, has run out.
const PING_EVERY: Duration = Duration::from_secs(3);
const PONG_LIMIT: Duration = Duration::from_secs(5);
/// HTTP/2's own 64 KiB would have a link wait for each batch.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
