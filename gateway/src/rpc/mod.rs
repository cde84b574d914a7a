//! The gateway's gRPC services (docs/GRPC.md); the server they stand in is the pipeline's.

pub mod admin;
pub mod deliver;
mod following;
mod passing;
#[cfg(test)]
mod tests;

use tidegate_pipeline::pusher::wire::MAX_MESSAGE_BYTES;
use tidegate_pipeline::rpc::v1::msg_service_server::{self, MsgServiceServer};
use tidegate_pipeline::rpc::v1::{Handover, SendMsgRequest, SendMsgToUserRequest, TakenBySessions};
use tonic::{Request, Response, Status, Streaming};

use crate::gateway::Gateway;

/// MsgService of a gateway.
#[derive(Debug, Clone)]
pub struct MsgService(Gateway);

impl MsgService {
    /// The service, with its limits, for the pipeline's `rpc::Server::with`.
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

    async fn send_message(
        &self,
        request: Request<SendMsgRequest>,
    ) -> Result<Response<TakenBySessions>, Status> {
        passing::send_message(self.0.hub(), request.into_inner()).map(Response::new)
    }

    async fn send_msg_to_user(
        &self,
        request: Request<SendMsgToUserRequest>,
    ) -> Result<Response<TakenBySessions>, Status> {
        passing::send_msg_to_user(self.0.hub(), request.into_inner()).map(Response::new)
    }
}
