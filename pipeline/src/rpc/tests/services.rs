//! What each method does, and how it refuses.

use tidegate_proto::id::DeviceId;
use tidegate_proto::v1::{Code, Deliver, Page, Pull, deliver, pull};
use tonic::{Code as Grpc, Status};

use super::*;
use crate::presence::Route;
use crate::presence::lease::{Lease, Role};
use crate::rpc::status::{CODE, RETRY};
use crate::rpc::v1::chat_service_client::ChatServiceClient;
use crate::rpc::v1::db_service_client::DbServiceClient;
use crate::rpc::v1::push_service_client::PushServiceClient;
use crate::rpc::v1::{
    GetHeadsRequest, PushSingleMsgResponse, SaveMessageResponse, SendMsgRequest, SendMsgResponse,
};

impl World {
    async fn send(&self, msg: Msg) -> Result<SendMsgResponse, Status> {
        let request = SendMsgRequest { msg: Some(msg) };
        let answer = soon(ChatServiceClient::new(self.connect()).send_msg(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn save(&self, msg: Msg) -> Result<SaveMessageResponse, Status> {
        let request = SendMsgRequest { msg: Some(msg) };
        let answer = soon(DbServiceClient::new(self.connect()).save_message(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn push(&self, msg: Msg) -> Result<PushSingleMsgResponse, Status> {
        let request = SendMsgRequest { msg: Some(msg) };
        let answer = soon(PushServiceClient::new(self.connect()).push_single_msg(request)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn pull(&self, timeline: &str, from: pull::From, limit: i64) -> Result<Page, Status> {
        let pull = Pull { timeline: timeline.into(), from: Some(from), limit };
        let answer = soon(ChatServiceClient::new(self.connect()).get_messages(pull)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn heads(&self, timelines: &[&str]) -> Result<Vec<(i64, i64)>, Status> {
        let timelines = timelines.iter().map(|name| (*name).to_owned()).collect();
        let mut client = ChatServiceClient::new(self.connect());
        let bounds = soon(client.get_heads(GetHeadsRequest { timelines })).await?.into_inner().timelines;
        Ok(bounds.iter().map(|bounds| (bounds.head, bounds.floor)).collect())
    }
}

fn contents(page: &Page) -> Vec<(i64, String)> {
    let content = |entry: &Deliver| match &entry.entry {
        Some(deliver::Entry::Msg(msg)) => String::from_utf8(msg.content.to_vec()).unwrap(),
        other => panic!("no message: {other:?}"),
    };
    page.entries.iter().map(|entry| (entry.seq, content(entry))).collect()
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Status>, grpc: Grpc, code: Code) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), grpc, "{status}");
    assert_eq!(status.metadata().get(CODE).unwrap(), code.as_str_name());
    assert!(status.message().starts_with(code.as_str_name()), "{status}");
}

/// What no method takes as a message.
fn wrong() -> Vec<(Msg, Grpc, Code)> {
    let large = Msg { content: vec![0; 65_537].into(), ..msg("alice", "bob", "m") };
    let invalid = [msg("a b", "bob", "m"), msg("alice", "", "m"), msg("alice", "b b", "m"), Msg::default()];
    let group = Msg { group_id: "g".into(), ..msg("alice", "", "m") };
    let mut wrong: Vec<_> = invalid.map(|msg| (msg, Grpc::InvalidArgument, Code::InvalidArgument)).into();
    wrong.push((
        Msg { msg_type: 23, ..msg("alice", "bob", "m") },
        Grpc::InvalidArgument,
        Code::InvalidArgument,
    ));
    wrong.push((large, Grpc::OutOfRange, Code::TooLarge));
    wrong.push((group, Grpc::Unimplemented, Code::Unimplemented));
    wrong
}

#[tokio::test]
async fn a_message_is_stored_once_and_read_by_everybody_it_concerns() {
    let world = World::new().await;
    let first = world.send(msg("alice", "bob", "m1")).await.unwrap();
    assert_eq!((&*first.local_id, first.server_id.len()), ("m1", 32));
    assert_eq!(world.send(msg("alice", "bob", "m1")).await.unwrap(), first, "the same again");
    let system = world.send(msg("", "bob", "")).await.unwrap();
    assert!(!system.local_id.is_empty());

    let timelines = ["i:bob", "d:alice:bob", "i:alice", "i:nobody", "d:@system:bob"];
    assert_eq!(world.heads(&timelines).await.unwrap(), [(2, 1), (1, 1), (1, 1), (0, 1), (1, 1)]);
    let page = world.pull("i:bob", pull::From::After(0), 0).await.unwrap();
    assert_eq!(contents(&page), [(1, "this is m1".to_owned()), (2, "this is ".to_owned())]);
    assert_eq!((&*page.timeline, page.head, page.floor, page.more), ("i:bob", 2, 1, false));
    let page = world.pull("i:bob", pull::From::Before(0), 1).await.unwrap();
    assert_eq!((page.entries[0].seq, page.more), (2, true));
    let Some(deliver::Entry::Msg(last)) = &page.entries[0].entry else { panic!("{page:?}") };
    assert_eq!((&*last.send_id, &last.server_id), ("@system", &system.server_id));
    assert_eq!((last.send_time, last.conv_seq, last.seq), (system.send_time, 1, 0));
    assert_eq!((world.metrics.received.get(), world.metrics.accepted.get()), (3, 3));
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_its_code() {
    let world = World::new().await;
    for (msg, grpc, code) in wrong() {
        is_refused(world.send(msg.clone()).await, grpc, code);
        is_refused(world.save(msg.clone()).await, grpc, code);
        is_refused(world.push(msg).await, grpc, code);
    }
    world.send(msg("alice", "bob", "m1")).await.unwrap();
    let other = Msg { content: "another".into(), ..msg("alice", "bob", "m1") };
    is_refused(world.send(other.clone()).await, Grpc::AlreadyExists, Code::Conflict);
    is_refused(world.save(other).await, Grpc::AlreadyExists, Code::Conflict);
    let huge = Msg { content: vec![0; 80_000].into(), ..msg("alice", "bob", "m2") };
    // It is not even read.
    assert_eq!(world.send(huge).await.unwrap_err().code(), Grpc::OutOfRange);
    assert_eq!(world.heads(&["i:bob"]).await.unwrap(), [(1, 1)]);
    let empty = SendMsgRequest { msg: None };
    let answer = ChatServiceClient::new(world.connect()).send_msg(empty).await;
    is_refused(answer, Grpc::InvalidArgument, Code::InvalidArgument);
}

#[tokio::test]
async fn a_backend_publishes_as_a_user_and_as_the_system() {
    let world = World::new().await;
    let to = |from: &str, channel: &str| {
        let local_id = channel.bytes().take(60).map(char::from).collect::<String>();
        Msg { channel: channel.into(), ..msg(from, "", &local_id) }
    };
    for (from, channel) in
        [("alice", "news/sport"), ("", "news/sport"), ("", "@ops"), ("alice", "@ops"), ("alice", "@all")]
    {
        let first = world.send(to(from, channel)).await.unwrap();
        assert_eq!(world.send(to(from, channel)).await.unwrap(), first, "the same again");
        world.save(Msg { local_id: "saved ".to_owned() + channel, ..to(from, channel) }).await.unwrap();
    }
    let timelines = ["c:news/sport", "c:@ops", "c:@all", "i:alice", "c:empty"];
    assert_eq!(world.heads(&timelines).await.unwrap(), [(4, 1), (4, 1), (2, 1), (0, 1), (0, 1)]);
    let page = world.pull("c:news/sport", pull::From::After(0), 2).await.unwrap();
    let Some(deliver::Entry::Msg(second)) = &page.entries[1].entry else { panic!("{page:?}") };
    assert_eq!((&*second.send_id, &*second.channel, second.conv_seq), ("alice", "news/sport", 2));

    for channel in ["a b", &"x".repeat(129), "news:sport"] {
        is_refused(world.send(to("", channel)).await, Grpc::InvalidArgument, Code::InvalidArgument);
    }
    let both = Msg { channel: "news".into(), ..msg("", "bob", "m3") };
    is_refused(world.send(both).await, Grpc::InvalidArgument, Code::InvalidArgument);
    is_refused(world.push(to("", "news")).await, Grpc::Unimplemented, Code::Unimplemented);
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let world = World::new().await;
    for timeline in ["", "bob", "i:b b", "d:b:a"] {
        let answer = world.pull(timeline, pull::From::After(0), 1).await;
        is_refused(answer, Grpc::InvalidArgument, Code::InvalidArgument);
        is_refused(world.heads(&["i:bob", timeline]).await, Grpc::InvalidArgument, Code::InvalidArgument);
    }
    for (from, limit) in
        [(pull::From::After(-1), 1), (pull::From::Before(-1), 1), (pull::From::After(0), 1_001)]
    {
        let answer = world.pull("i:bob", from, limit).await;
        is_refused(answer, Grpc::InvalidArgument, Code::InvalidArgument);
    }
    assert_eq!(world.heads(&["i:bob"; 500]).await.unwrap().len(), 500);
    is_refused(world.heads(&["i:bob"; 501]).await, Grpc::InvalidArgument, Code::InvalidArgument);
    let longest = format!("c:{}", "x".repeat(128));
    assert_eq!(world.heads(&vec![&*longest; 500]).await.unwrap().len(), 500, "as many as are allowed fit");
}

#[tokio::test]
async fn without_log_and_store_a_retry_is_asked_for() {
    let world = World::new().await;
    // The log ends with its reader.
    world.sequencer.abort();
    world.store.close().await.unwrap();
    let refused = world.send(msg("alice", "bob", "m1")).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.metadata().get(RETRY).unwrap().to_str().unwrap()),
        (Grpc::Unavailable, "1000")
    );
    is_refused(world.save(msg("alice", "bob", "m1")).await, Grpc::Unavailable, Code::Unavailable);
    is_refused(world.heads(&["i:bob"]).await, Grpc::Unavailable, Code::Unavailable);
    is_refused(world.pull("i:bob", pull::From::After(0), 1).await, Grpc::Unavailable, Code::Unavailable);
}

#[tokio::test]
async fn what_is_saved_is_stored_and_pushed_to_nobody() {
    let world = World::new().await;
    let saved = world.save(msg("alice", "bob", "m1")).await.unwrap();
    assert_eq!((saved.conv_seq, saved.repeated, &*saved.local_id), (1, false, "m1"));
    let inboxes = saved.inboxes.iter().map(|place| (&*place.timeline, place.seq)).collect::<Vec<_>>();
    assert_eq!(inboxes, [("i:alice", 1), ("i:bob", 1)]);
    let again = world.save(msg("alice", "bob", "m1")).await.unwrap();
    assert_eq!(again, SaveMessageResponse { repeated: true, ..saved.clone() });
    // Sent as well, it is the same message.
    assert_eq!(world.send(msg("alice", "bob", "m1")).await.unwrap().server_id, saved.server_id);
    assert_eq!(world.heads(&["i:bob"]).await.unwrap(), [(1, 1)]);
    assert!(world.sessions.taken.lock().is_empty());
    assert_eq!((world.metrics.stored.get(), world.metrics.repeated.get()), (1, 2));
}

#[tokio::test]
async fn a_volatile_message_reaches_who_is_there_and_is_stored_nowhere() {
    let world = World::new().await;
    let taken = |sessions, unreachable| PushSingleMsgResponse { sessions, unreachable };
    assert_eq!(world.push(msg("alice", "bob", "now")).await.unwrap(), taken(2, 0));
    assert_eq!(world.push(msg("alice", "nobody", "now")).await.unwrap(), taken(0, 0));
    {
        let bodies = world.sessions.taken.lock();
        let msg = bodies[1].msg(0);
        assert_eq!(
            (&*msg.send_id, &*msg.content, msg.conv_seq, bodies.len()),
            ("alice", &b"this is now"[..], 0, 2)
        );
    }
    assert_eq!(world.heads(&["i:bob", "d:alice:bob"]).await.unwrap(), [(0, 1), (0, 1)]);

    // One gateway that nobody answers for, and one that is without a lease.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = closed.to_string().into();
    let lease = Lease { incarnation: 7, ..Lease::new(Role::Gateway, "gateway-2".into(), address) };
    world.presence.begin_lease(&lease).await.unwrap();
    for (device, gateway) in [("phone", "gateway-2"), ("tablet", "gateway-3"), ("laptop", "gateway-1")] {
        let route = Route {
            gateway: gateway.into(),
            incarnation: 7,
            session: 1,
            attempt: 1,
            platform: "".into(),
            since: 1,
        };
        let device = DeviceId::new(device).unwrap();
        world.presence.register(&user("carol"), &device, &route, 16).await.unwrap();
    }
    assert_eq!(world.push(msg("alice", "carol", "now")).await.unwrap(), taken(1, 2));
}
