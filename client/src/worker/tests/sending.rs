//! What goes: a send is settled by its receipt, and goes out again until it has one.

use std::time::Duration;

use tidegate_proto::limits::MAX_IN_FLIGHT;
use tidegate_proto::v1::{Code, Error, Msg, Welcome, server_frame};
use tokio::time::{Instant, timeout};

use super::peer::{self, Peer, Stage, accepted, deliver, direct, rejected, stored};
use super::{disconnect, position, seqs, within};
use crate::{Disconnect, SendError};

#[tokio::test(start_paused = true)]
async fn receipts_settle_a_send() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let msg = peer.next_send().await;
    assert_eq!((&*msg.local_id, &msg.content[..]), (sent.local_id(), &b"hi"[..]));
    assert!(msg.create_time > 0 && uuid::Uuid::parse_str(&msg.local_id).unwrap().get_version_num() == 7);
    peer.send(accepted(&msg.local_id)).await;
    assert_eq!(within(sent.accepted()).await.unwrap().send_time, 100);
    peer.send(stored(&msg.local_id, 1)).await;
    let settled = within(sent.stored()).await.unwrap();
    assert_eq!((settled.seq, settled.send_time), (1, 101));
    // The seq counts as received: the next one is contiguous.
    peer.send(deliver(2, direct("bob", "m"))).await;
    seqs(&mut events, 1).await;
    assert_eq!(client.position().unwrap().cursor, 2);
}

#[tokio::test(start_paused = true)]
async fn stored_implies_accepted_and_a_late_accepted_is_ignored() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let msg = peer.next_send().await;
    peer.send(stored(&msg.local_id, 1)).await;
    peer.send(accepted(&msg.local_id)).await;
    assert_eq!(within(sent.accepted()).await.unwrap().send_time, 101);
    assert!(within(sent.stored()).await.is_ok() && within(sent.stored()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_also_after_accepted() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let msg = peer.next_send().await;
    peer.send(accepted(&msg.local_id)).await;
    peer.send(rejected(&msg.local_id, Code::Conflict, 0)).await;
    assert!(
        matches!(within(sent.stored()).await, Err(SendError::Rejected(refusal)) if refusal.code == Code::Conflict)
    );
    assert!(within(sent.accepted()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_error_with_the_requests_number_refuses_a_send() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let id = peer.next().await.id;
    let error = Error { code: Code::Unimplemented.into(), id, ..Error::default() };
    peer.send(server_frame::Kind::Error(error)).await;
    let refusal = within(sent.accepted()).await.unwrap_err();
    assert!(matches!(refusal, SendError::Rejected(refusal) if refusal.code == Code::Unimplemented));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_now_is_sent_again_with_the_same_local_id() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "hi")).await.unwrap();
    let first = peer.next_send().await;
    for code in [Code::Unavailable, Code::RateLimited] {
        let refused = Instant::now();
        peer.send(rejected(&first.local_id, code, 5_000)).await;
        assert_eq!(peer.next_send().await, first);
        assert!(refused.elapsed() >= Duration::from_secs(5));
    }
    peer.send(stored(&first.local_id, 1)).await;
    assert!(within(sent.stored()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn at_most_64_are_in_flight_and_256_inside() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut handles = Vec::new();
    for _ in 0..256 {
        handles.push(client.send(direct("", "m")).await.unwrap());
    }
    assert!(timeout(Duration::from_secs(1), client.send(direct("", "m"))).await.is_err());
    let mut local_ids = Vec::new();
    for _ in 0..MAX_IN_FLIGHT {
        local_ids.push(peer.next_send().await.local_id);
    }
    assert!(timeout(Duration::from_secs(1), peer.next()).await.is_err());
    peer.send(accepted(&local_ids[0])).await;
    assert_eq!(peer.next_send().await.local_id, handles[64].local_id());
    peer.send(stored(&local_ids[1], 1)).await;
    assert!(within(handles[1].stored()).await.is_ok());
    client.send(direct("", "m")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_stored_it_is_sent_again_30_seconds_after_accepted() {
    let (mut peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", "m")).await.unwrap();
    let first = peer.next_send().await;
    let begin = Instant::now();
    peer.send(accepted(&first.local_id)).await;
    assert_eq!(peer.next_send().await, first);
    assert!(begin.elapsed() >= Duration::from_secs(30));
    peer.send(stored(&first.local_id, 1)).await;
    assert!(within(sent.stored()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_new_session_sends_again_in_order_what_is_unanswered() {
    let (mut peer, client, mut events, mut stage) = Stage::session().await;
    let mut handles = Vec::new();
    for name in ["a", "b", "c"] {
        handles.push(client.send(Msg { local_id: name.into(), ..direct("", name) }).await.unwrap());
    }
    for _ in 0..3 {
        peer.next_send().await;
    }
    peer.send(stored("b", 1)).await;
    peer.send(accepted("c")).await;
    within(handles[2].accepted()).await.unwrap();
    drop(peer);
    assert!(matches!(disconnect(&mut events).await, Disconnect::Broken(_)));
    handles.push(client.send(Msg { local_id: "d".into(), ..direct("", "d") }).await.unwrap());

    let (mut peer, hello) = Peer::greeted(&mut stage).await;
    assert_eq!(hello.start, position(1));
    // No frame goes out before Welcome.
    assert!(timeout(Duration::from_secs(1), peer.next()).await.is_err());
    peer.welcome(Welcome { start: 1, head: 3, ..peer::welcome() }).await;
    for name in ["a", "c", "d"] {
        assert_eq!(peer.next_send().await.local_id, name);
    }
    // The own messages of the session that is no more come as deliveries.
    peer.send(deliver(2, Msg { send_id: "alice".into(), local_id: "a".into(), ..Msg::default() })).await;
    peer.send(deliver(3, Msg { send_id: "alice".into(), local_id: "c".into(), ..Msg::default() })).await;
    peer.send(stored("d", 4)).await;
    for (handle, seq) in handles.iter_mut().zip([2, 1, 3, 4]) {
        assert_eq!(within(handle.stored()).await.unwrap().seq, seq);
    }
    // They are no messages to the application.
    peer.send(deliver(5, direct("bob", "m"))).await;
    assert_eq!(seqs(&mut events, 1).await, [5]);
    assert_eq!(client.position().unwrap().cursor, 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_nowhere_settles_no_send() {
    let (mut peer, client, mut events, _stage) = Stage::session().await;
    let mut handle = client.send(Msg { local_id: "a".into(), ..direct("", "m") }).await.unwrap();
    peer.next_send().await;
    let volatile = Msg { send_id: "alice".into(), local_id: "a".into(), ..Msg::default() };
    peer.send(deliver(0, volatile)).await;
    assert_eq!(seqs(&mut events, 1).await, [0]);
    peer.send(stored("a", 1)).await;
    assert_eq!(within(handle.stored()).await.unwrap().seq, 1);
}

#[tokio::test(start_paused = true)]
async fn a_local_id_is_on_its_way_once() {
    let (_peer, client, _events, _stage) = Stage::session().await;
    let msg = Msg { local_id: "a".into(), ..direct("", "m") };
    let _first = client.send(msg.clone()).await.unwrap();
    let mut second = client.send(msg).await.unwrap();
    assert_eq!(second.accepted().await, Err(SendError::Pending("a".into())));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_no_frame_holds_is_refused_here() {
    let (_peer, client, _events, _stage) = Stage::session().await;
    let mut sent = client.send(direct("", &"m".repeat(80 * 1024))).await.unwrap();
    assert!(
        matches!(within(sent.stored()).await, Err(SendError::Rejected(refusal)) if refusal.code == Code::TooLarge)
    );
}
