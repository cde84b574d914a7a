//! ChatService: backends send, and read timelines.

use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Page, Pull};
use tonic::{Request, Response, Status};
use tracing::warn;

use super::server::MAX_REQUEST_BYTES;
use super::status;
use super::v1::chat_service_server::{ChatService, ChatServiceServer};
use super::v1::{GetHeadsRequest, GetHeadsResponse, SendMsgRequest, SendMsgResponse, TimelineBounds};
use crate::history;
use crate::store::{Bounds, Store, StoreError};
use crate::submit::{self, Submitted, Submitter, now_ms};

/// Sends to the log and reads the store.
#[derive(Debug)]
pub struct Chat {
    submitter: Submitter,
    store: Store,
}

/// The service, for [`super::Server::with`]. The log does not end while it is served.
pub fn service(submitter: Submitter, store: Store) -> ChatServiceServer<Chat> {
    ChatServiceServer::new(Chat { submitter, store }).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl ChatService for Chat {
    async fn send_msg(&self, request: Request<SendMsgRequest>) -> Result<Response<SendMsgResponse>, Status> {
        let msg = request.into_inner().msg.unwrap_or_default();
        let sender = submit::sender(&msg).map_err(|refusal| status::refused(&refusal))?;
        let submitted = self.submitter.submit(sender, msg).await;
        let Submitted { server_id, local_id, send_time } =
            submitted.map_err(|refusal| status::refused(&refusal))?;
        Ok(Response::new(SendMsgResponse { server_id, local_id, send_time }))
    }

    async fn get_messages(&self, request: Request<Pull>) -> Result<Response<Page>, Status> {
        let pull = request.into_inner();
        let timeline = parse(&pull.timeline)?;
        let (range, limit) = history::range(&pull).map_err(|refusal| status::refused(&refusal))?;
        let page = self.store.page(&timeline, range, limit, MAX_PAGE_BYTES, now_ms()).await;
        let page = page.map_err(|error| unread(&error))?;
        Ok(Response::new(history::page(pull.timeline, page)))
    }

    async fn get_heads(
        &self,
        request: Request<GetHeadsRequest>,
    ) -> Result<Response<GetHeadsResponse>, Status> {
        let names = request.into_inner().timelines;
        if names.len() > MAX_HEADS {
            return Err(status::invalid(format!("at most {MAX_HEADS} timelines at once")));
        }
        let timelines = names.iter().map(|name| parse(name)).collect::<Result<Vec<_>, _>>()?;
        let bounds = self.store.heads(&timelines).await.map_err(|error| unread(&error))?;
        let timelines = names.into_iter().zip(bounds).map(|(timeline, Bounds { head, floor })| {
            TimelineBounds { timeline, head: head.cast_signed(), floor: floor.cast_signed() }
        });
        Ok(Response::new(GetHeadsResponse { timelines: timelines.collect() }))
    }
}

fn parse(name: &str) -> Result<Timeline, Status> {
    Timeline::parse(name).map_err(|refusal| status::refused(&refusal))
}

pub(super) fn unread(error: &StoreError) -> Status {
    warn!(error = error as &dyn std::error::Error, "gRPC: the store is not read");
    status::unavailable("the store does not answer; ask again")
}

/// The contents of a page; what is around them is less than that again.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// With the longest names they fit into a request.
const MAX_HEADS: usize = 500;
