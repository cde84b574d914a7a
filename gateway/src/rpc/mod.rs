//! What the gateway serves over gRPC (ARCHITECTURE.md "Presence and links").

pub mod deliver;
#[cfg(test)]
mod tests;

use tidegate_pipeline::pusher::wire::MAX_MESSAGE_BYTES;
use tidegate_pipeline::rpc::v1::Handover;
use tidegate_pipeline::rpc::v1::msg_service_server::{self, MsgServiceServer};
use tonic::{Request, Response, Status, Streaming};

use crate::gateway::Gateway;

/// MsgService of a gateway.
#[derive(Debug, Clone)]
pub struct MsgService(Gateway);

impl MsgService {
    /// The service, with its limits, to be added to a server made by [`tidegate_pipeline::pusher::dial::server`].
    pub fn server(gateway: Gateway) -> MsgServiceServer<Self> {
        MsgServiceServer::new(Self(gateway))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl msg_service_server::MsgService for MsgService {
    type DeliverStream = deliver::Answers;

    async fn deliver(
        &self,
        request: Request<Streaming<Handover>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        deliver::deliver(&self.0, request).await
    }
}
