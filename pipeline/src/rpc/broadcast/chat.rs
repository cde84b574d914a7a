//! `chat.Chat`: adds to everybody's channel by the log, like any backend, and reads it from the store.

use std::slice;
use std::time::Duration;

use tidegate_proto::Refusal;
use tidegate_proto::id::{ChannelName, LocalId};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Code;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use tracing::debug;

use super::said;
use super::wire::chat_server::{self, ChatServer};
use super::wire::{Message, MessageNum, UserId};
use crate::rpc::chat::unread;
use crate::rpc::server::MAX_REQUEST_BYTES;
use crate::rpc::status::{self, RETRY};
use crate::store::{Range, Store};
use crate::submit::{Submitted, Submitter, now_ms};

/// Sends to the log and reads the store.
#[derive(Debug)]
pub struct Chat {
    submitter: Submitter,
    store: Store,
    look_ups: Semaphore,
}

/// The service, for [`crate::rpc::Server::with`]. The log does not end while it is served.
pub fn service(submitter: Submitter, store: Store) -> ChatServer<Chat> {
    ChatServer::new(Chat::new(submitter, store)).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl chat_server::Chat for Chat {
    async fn send_all(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let message = request.into_inner();
        let until = Instant::now() + ANSWER_LIMIT;
        let submitted = self.submitter.submit(said::sender(), said::msg(&message)).await;
        let submitted = submitted.map_err(not_sent)?;
        let number = timeout_at(until, self.number(&submitted)).await.map_err(|_| not_numbered())?;
        Ok(Response::new(Message { id: number.cast_signed(), ..message }))
    }

    async fn get_mess_num(&self, _: Request<UserId>) -> Result<Response<MessageNum>, Status> {
        let bounds = self.store.heads(slice::from_ref(&everybodys())).await;
        let bounds = bounds.map_err(|error| unread(&error))?;
        let messnum = bounds.first().map_or(0, |bounds| bounds.head.cast_signed());
        Ok(Response::new(MessageNum { messnum }))
    }

    async fn have_all(&self, request: Request<UserId>) -> Result<Response<Message>, Status> {
        let id = request.into_inner().id;
        let number = u64::try_from(id).ok().filter(|&number| number > 0);
        let number = number.ok_or_else(|| status::invalid("id must be at least 1, the first message's"))?;
        let page = self.store.page(&everybodys(), Range::After(number - 1), 1, ANY_BYTES, now_ms()).await;
        let page = page.map_err(|error| unread(&error))?;
        said::numbered(number, page).map(Response::new).map_err(|refusal| status::refused(&refusal))
    }
}

impl Chat {
    pub(crate) fn new(submitter: Submitter, store: Store) -> Self {
        Self { submitter, store, look_ups: Semaphore::new(MAX_LOOK_UPS) }
    }

    /// Waits until the store has what the log has: embedded at once, with Kafka when a pipeline has stored it.
    async fn number(&self, submitted: &Submitted) -> u64 {
        let local_id = LocalId::new(&submitted.local_id).expect("it was drawn as one");
        let mut wait = FIRST_WAIT;
        loop {
            let turn = self.look_ups.acquire().await;
            match self.store.conv_seq(&said::sender(), &local_id).await {
                Ok(Some(number)) => return number,
                Ok(None) => {}
                Err(error) => debug!(error = &error as &dyn std::error::Error, "a message has no number yet"),
            }
            drop(turn);
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

fn everybodys() -> Timeline {
    Timeline::channel(&ChannelName::everybodys())
}

/// Nothing names a call's message, so a client that tried again by itself would double it: it is told not to.
fn not_sent(refusal: Refusal) -> Status {
    if refusal.code != Code::Unavailable {
        return status::refused(&refusal);
    }
    let message = "the outcome is unknown; sent again it may be there twice".to_owned();
    let mut status = status::refused(&Refusal { message, retry_after_ms: 0, ..refusal });
    status.metadata_mut().insert(RETRY, MetadataValue::from(-1));
    status
}

fn not_numbered() -> Status {
    Status::deadline_exceeded("the message is accepted and has no number yet; do not send it again")
}

/// Less than a request's own limit.
const ANSWER_LIMIT: Duration = Duration::from_secs(11);
/// What a page of one entry may have.
const ANY_BYTES: usize = usize::MAX;
/// Between two looks for a number, growing.
const FIRST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// Looks for numbers at once: a small part of the connections that read.
const MAX_LOOK_UPS: usize = 2;
