//! Opens the stream of a link: one connection of its own for each gateway.

use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming, transport};

use super::wire::MAX_MESSAGE_BYTES;
use crate::presence::lease::Lease;
use crate::rpc::security::{BadAddress, Security};
use crate::rpc::v1::msg_service_client::MsgServiceClient;
use crate::rpc::v1::{Handed, Handover, Open, handed, handover};

/// How other gateways are reached.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    security: Security,
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
    #[error("the gateway's address cannot be dialled")]
    Address(#[from] BadAddress),
    #[error("the gateway refuses the link")]
    Refused(#[source] Status),
    #[error("the gateway is another one, or another incarnation")]
    Another,
    #[error("the gateway does not answer in time")]
    Silent,
}

impl Dialer {
    /// With the token and the certificates that processes show each other.
    pub fn new(security: Security) -> Self {
        Self { security }
    }

    /// Opens a link to the gateway of a lease.
    pub(super) async fn open(&self, lease: &Lease, capacity: usize) -> Result<Stream, OpenError> {
        timeout(OPEN_LIMIT, self.try_open(lease, capacity)).await.unwrap_or(Err(OpenError::Silent))
    }

    async fn try_open(&self, lease: &Lease, capacity: usize) -> Result<Stream, OpenError> {
        let endpoint = self.security.endpoint(&lease.address)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_LIMIT);
        let channel = endpoint.connect().await?;
        let mut client = MsgServiceClient::with_interceptor(channel, self.security.credentials())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (to, outgoing) = mpsc::channel(capacity);
        let open = Open { gateway: lease.id.to_string(), incarnation: lease.incarnation };
        let first = Handover { kind: Some(handover::Kind::Open(open)) };
        let outgoing = stream::unfold((Some(first), outgoing), |(first, mut outgoing)| async {
            let next = match first {
                Some(first) => first,
                None => outgoing.recv().await?,
            };
            Some((next, (None, outgoing)))
        });
        let mut from = client.deliver(outgoing).await.map_err(refused)?.into_inner();
        match from.message().await.map_err(refused)?.and_then(|handed| handed.kind) {
            Some(handed::Kind::Opened(_)) => Ok(Stream { to, from }),
            _ => Err(OpenError::Refused(Status::internal("the first answer is not Opened"))),
        }
    }
}

fn refused(status: Status) -> OpenError {
    if status.code() == Code::FailedPrecondition { OpenError::Another } else { OpenError::Refused(status) }
}

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// From dialling to Opened.
const OPEN_LIMIT: Duration = Duration::from_secs(4);
/// A silent peer is given up after both together: before its lease, which lives 10 s, has run out.
const PING_EVERY: Duration = Duration::from_secs(3);
const PONG_LIMIT: Duration = Duration::from_secs(5);
