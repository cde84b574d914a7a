//! The broadcast service in a process without a gateway; tests/foreign has the whole of it.

use futures_util::future::join_all;
use tonic::{Code as Grpc, Request, Status, Streaming};

use super::*;
use crate::log::Answer;
use crate::rpc::broadcast::wire::chat_client::ChatClient;
use crate::rpc::broadcast::wire::chat_server::Chat as _;
use crate::rpc::broadcast::wire::notify_client::NotifyClient;
use crate::rpc::broadcast::wire::{Message, NotiCode, UserId};
use crate::rpc::status::RETRY;

impl World {
    async fn say(&self, content: &str) -> Result<Message, Status> {
        soon(ChatClient::new(self.connect()).send_all(said(content))).await.map(tonic::Response::into_inner)
    }

    async fn head(&self) -> Result<i64, Status> {
        let answer = soon(ChatClient::new(self.connect()).get_mess_num(UserId::default())).await;
        answer.map(|answer| answer.into_inner().messnum)
    }

    async fn message(&self, id: i64) -> Result<Message, Status> {
        soon(ChatClient::new(self.connect()).have_all(UserId { id })).await.map(tonic::Response::into_inner)
    }

    async fn listen(&self) -> Streaming<NotiCode> {
        let asked = NotifyClient::new(self.connect()).notify(UserId::default()).await;
        asked.unwrap().into_inner()
    }
}

fn said(content: &str) -> Message {
    let (speakername, time) = ("Zoë".into(), "now".into());
    Message { id: 77, speakername, content: content.into(), time }
}

/// What a call's trailer says about trying again.
fn retry(status: &Status) -> Option<&str> {
    status.metadata().get(RETRY).map(|after| after.to_str().unwrap())
}

#[tokio::test]
async fn every_call_is_a_message_with_a_number_of_its_own() {
    let world = World::new().await;
    let mut codes = world.listen().await;
    assert_eq!(soon(codes.message()).await.unwrap(), Some(NotiCode { code: 0 }));
    let answers = join_all((0..50).map(|_| world.say("the same"))).await;
    let mut answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    answers.sort_by_key(|message| message.id);
    assert!(answers.iter().map(|message| message.id).eq(1..=50));
    for answer in &answers {
        assert_eq!(*answer, Message { id: answer.id, ..said("the same") });
        assert_eq!(world.message(answer.id).await.unwrap(), *answer);
    }
    assert_eq!(world.head().await.unwrap(), 50);
    let mut told = 0;
    while told < 50 {
        let NotiCode { code } = soon(codes.message()).await.unwrap().unwrap();
        assert!(code > told, "{code} after {told}");
        told = code;
    }
    for (id, grpc) in [(51, Grpc::NotFound), (i64::MAX, Grpc::NotFound), (0, Grpc::InvalidArgument)] {
        assert_eq!(world.message(id).await.unwrap_err().code(), grpc, "{id}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_process() {
    let world = World::new().await;
    let mut codes = world.listen().await;
    soon(codes.message()).await.unwrap();
    world.stop.cancel();
    let status = soon(codes.message()).await.unwrap_err();
    assert_eq!((status.code(), retry(&status)), (Grpc::Unavailable, Some("1000")));
    soon(world.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn without_log_and_store_nothing_is_said() {
    let world = World::new().await;
    // The log ends with its reader.
    world.sequencer.abort();
    world.store.close().await.unwrap();
    let refused = world.say("hello").await.unwrap_err();
    assert_eq!(refused.code(), Grpc::Unavailable);
    assert!(refused.message().contains("sent again it may be there twice"), "{refused}");
    // Who retries by himself would double it.
    assert_eq!(retry(&refused), Some("-1"));
    assert_eq!(world.head().await.unwrap_err().code(), Grpc::Unavailable);
    assert_eq!(world.message(1).await.unwrap_err().code(), Grpc::Unavailable);
    let status = soon(world.listen().await.message()).await.unwrap_err();
    assert_eq!(status.code(), Grpc::Unavailable);
}

/// As with Kafka while nobody stores what it has.
#[tokio::test]
async fn what_is_accepted_and_not_stored_has_no_number() {
    let world = World::new().await;
    let (log, mut reader) = log::embedded::open();
    let submitter = Submitter::new(Log::Embedded(log), world.metrics.clone(), Sampling::default());
    let chat = broadcast::Chat::new(submitter, world.store.clone());
    tokio::time::pause();
    let accepting = async {
        for appended in reader.batch().await {
            appended.waiter.answer(Answer::Accepted { send_time: 1 });
        }
    };
    let (status, ()) = tokio::join!(chat.send_all(Request::new(said("hello"))), accepting);
    let status = status.unwrap_err();
    assert_eq!((status.code(), retry(&status)), (Grpc::DeadlineExceeded, None));
    assert!(status.message().contains("do not send it again"), "{status}");
}
