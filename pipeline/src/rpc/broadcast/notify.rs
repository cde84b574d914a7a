//! `chat.Notify`: the head of everybody's channel as a stream.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{self, Stream};
use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::follow::Follow;
use super::wire::notify_server::{self, NotifyServer};
use super::wire::{NotiCode, UserId};
use crate::rpc::server::MAX_REQUEST_BYTES;
use crate::rpc::status;

/// Tells whoever listens how far the channel goes.
#[derive(Debug)]
pub struct Notify {
    channel: Arc<dyn Follow>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
}

/// The service, for [`crate::rpc::Server::with`]. Streams end at `stop`.
pub fn service(channel: Arc<dyn Follow>, stop: CancellationToken) -> NotifyServer<Notify> {
    let places = Arc::new(Semaphore::new(MAX_STREAMS));
    NotifyServer::new(Notify { channel, places, stop }).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl notify_server::Notify for Notify {
    type NotifyStream = Pin<Box<dyn Stream<Item = Result<NotiCode, Status>> + Send>>;

    async fn notify(&self, _: Request<UserId>) -> Result<Response<Self::NotifyStream>, Status> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| full())?;
        let heads = self.channel.follow().map(move |head| {
            // It is given back with the stream.
            let _ = &place;
            let unread = |_| status::unavailable("the store does not answer; call again");
            head.map(|head| NotiCode { code: head.cast_signed() }).map_err(unread)
        });
        let stopped = stream::once(async { Err(status::unavailable("the process stops; call another")) });
        Ok(Response::new(Box::pin(heads.take_until(self.stop.clone().cancelled_owned()).chain(stopped))))
    }
}

fn full() -> Status {
    let message =
        format!("{MAX_STREAMS} streams of Notify are open; call another process, or ask GetMessNum");
    status::refused(&Refusal::new(Code::Limit, message))
}

/// Streams at once: with a gateway each is a subscriber, of a few hundred bytes.
const MAX_STREAMS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::broadcast::follow::Heads;

    /// A channel in which nothing happens.
    #[derive(Debug)]
    struct Still;

    impl Follow for Still {
        fn follow(&self) -> Heads {
            Box::pin(stream::pending())
        }
    }

    #[tokio::test]
    async fn beyond_the_limit_there_is_no_stream_until_another_ends() {
        let places = Arc::new(Semaphore::new(1));
        let notify = Notify { channel: Arc::new(Still), places, stop: CancellationToken::new() };
        let ask = || notify_server::Notify::notify(&notify, Request::new(UserId::default()));
        let first = ask().await.unwrap();
        let status = ask().await.err().expect("it is full");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        drop(first);
        ask().await.unwrap();
    }
}
