//! Floods of Subscribe and Unsubscribe: what they are answered, and that the server is afterwards as it was before.

use std::collections::HashSet;

use tidegate_client::{StartAt, Transport};
use tidegate_proto::v1::{Code, Error, ServerFrame, Subscribe, Unsubscribe, client_frame, server_frame};

use super::watch::{WITH_ADMIN, memory_kib, metric, until};
use super::wire::Wire;
use crate::peer::{Peer, text, within};
use crate::server::Server;

over_each_transport!(
    subscribing_and_unsubscribing_without_end,
    what_is_out_of_form_is_refused_again_and_again
);

/// What a server answers requests with.
#[derive(Debug, Default)]
struct Answers {
    subscribed: usize,
    unsubscribed: usize,
    errors: Vec<Error>,
}

impl Answers {
    fn count(&self, code: Code) -> usize {
        self.errors.iter().filter(|error| error.code() == code).count()
    }
}

/// Writes the requests as fast as the server reads them, and takes an answer to each.
async fn ask(wire: &mut Wire, requests: impl IntoIterator<Item = client_frame::Kind>) -> Answers {
    let mut answers = Answers::default();
    let requests: Vec<_> = requests.into_iter().collect();
    // So many that the answers fit into the sockets.
    for requests in requests.chunks(500) {
        for request in requests {
            wire.send(request.clone()).await;
        }
        for _ in requests {
            match within(wire.frame()).await.and_then(|frame: ServerFrame| frame.kind) {
                Some(server_frame::Kind::Subscribed(_)) => answers.subscribed += 1,
                Some(server_frame::Kind::Unsubscribed(_)) => answers.unsubscribed += 1,
                Some(server_frame::Kind::Error(error)) => answers.errors.push(error),
                other => panic!("no answer: {other:?}"),
            }
        }
    }
    answers
}

fn subscribe(channel: impl Into<String>) -> client_frame::Kind {
    client_frame::Kind::Subscribe(Subscribe { channel: channel.into(), after: None })
}

fn unsubscribe(channel: impl Into<String>) -> client_frame::Kind {
    client_frame::Kind::Unsubscribe(Unsubscribe { channel: channel.into() })
}

async fn subscribing_and_unsubscribing_without_end(transport: Transport) {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    within(bob.client.subscribe("news", StartAt::Head)).await.unwrap();
    let mut memory = Vec::new();
    for round in 0..3 {
        for eve in 0..SESSIONS {
            let mut wire = Wire::welcomed(&server, transport, &format!("eve-{round}-{eve}"), "e").await;
            // Ever new channels, and ever the same.
            let channel = |n: usize| {
                if n.is_multiple_of(2) { format!("flood/{round}/{eve}/{n}") } else { "news".into() }
            };
            let requests = (0..REQUESTS).flat_map(|n| [subscribe(channel(n)), unsubscribe(channel(n))]);
            let answers = ask(&mut wire, requests).await;
            assert!(answers.count(Code::RateLimited) > REQUESTS / 4, "{answers:?}");
            let refused = answers.errors.iter().filter(|error| error.code() == Code::RateLimited);
            assert!(refused.into_iter().all(|error| (1..=1_000).contains(&error.retry_after_ms)));
            // Each is answered, also one whose channel is unsubscribed from before it is open.
            assert!(answers.unsubscribed >= 300 && answers.unsubscribed >= answers.subscribed, "{answers:?}");
            // Others are not delayed, and hear what they subscribe to.
            publish(&alice, &mut bob).await;
        }
        until(async || metric(&server, "subscriptions").await == 1).await;
        memory.push(memory_kib(&server));
    }
    println!("{transport:?}: {memory:?} KiB");
    assert!(memory[2] <= memory[1] + SPREAD_KIB, "{memory:?} KiB");
}

async fn what_is_out_of_form_is_refused_again_and_again(transport: Transport) {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let mut wire = Wire::welcomed(&server, transport, "eve", "e").await;
    let names =
        ["", " ", "a b", "ü", "a\0", "c:news", "*", "news?", &"x".repeat(129), "@system", "@", "@all2"];
    let codes = |answers: &Answers| -> HashSet<Code> { answers.errors.iter().map(Error::code).collect() };
    for name in names {
        let answers = ask(&mut wire, [subscribe(name), unsubscribe(name)]).await;
        let expected = match name.starts_with('@') {
            true => HashSet::from([Code::PermissionDenied, Code::NotFound]),
            false => HashSet::from([Code::InvalidArgument]),
        };
        assert_eq!((answers.errors.len(), codes(&answers)), (2, expected), "{name:?}");
    }
    let at = |after| client_frame::Kind::Subscribe(Subscribe { channel: "news".into(), after: Some(after) });
    let answers = ask(&mut wire, [at(-1), at(i64::MIN)]).await;
    assert_eq!(answers.count(Code::InvalidArgument), 2, "{answers:?}");
    // Beyond the head: of another life of the data.
    let answers = ask(&mut wire, [at(i64::MAX), at(0), at(7), subscribe("news")]).await;
    assert_eq!(answers.subscribed, 4, "who subscribes already is told how it is: {answers:?}");
    assert_eq!(metric(&server, "subscriptions").await, 1);
    // Refusals have their price as well.
    let answers = ask(&mut wire, (0..1_000).map(|_| subscribe("a b"))).await;
    assert!(answers.count(Code::RateLimited) > 400, "{answers:?}");
    assert_eq!(answers.errors.len(), 1_000);
    let answers = ask(&mut wire, [unsubscribe("news"), unsubscribe("news")]).await;
    assert_eq!((answers.unsubscribed, answers.count(Code::NotFound)), (1, 1));
    assert_eq!(metric(&server, "subscriptions").await, 0);
}

/// One message to the channel that everybody fights over.
async fn publish(alice: &Peer, bob: &mut Peer) {
    let msg = tidegate_client::v1::Msg { channel: "news".into(), content: "x".into(), ..Default::default() };
    within(within(alice.client.send(msg)).await.unwrap().stored()).await.unwrap();
    assert_eq!(text(&bob.message().await), "x");
}

const SESSIONS: usize = 8;
/// Twice the burst of Subscribes.
const REQUESTS: usize = 800;
/// What the allocator keeps differs by this much.
const SPREAD_KIB: u64 = 8 * 1_024;
