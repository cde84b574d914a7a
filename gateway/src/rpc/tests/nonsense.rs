//! What no pusher says, and what it gets.

use futures_util::future::join;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tidegate_pipeline::pusher::link;
use tidegate_pipeline::rpc::v1::msg_service_client::MsgServiceClient;
use tidegate_pipeline::rpc::v1::{
    Batch, Handed, Handover, HeadMark, Open, Push, Taken, handed, handover::Kind,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::{LIMIT, Node, World};
use crate::rpc::deliver::MAX_LINKS;

async fn dial(node: &Node) -> MsgServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", node.lease.address)).unwrap();
    MsgServiceClient::new(endpoint.connect().await.unwrap()).max_encoding_message_size(16 << 20)
}

/// Says all that at once, and gives the answers up to the end.
async fn say(client: &MsgServiceClient<Channel>, kinds: Vec<Kind>) -> Result<Vec<Handed>, Status> {
    let handovers = kinds.into_iter().map(|kind| Handover { kind: Some(kind) });
    let mut answers = client.clone().deliver(stream::iter(handovers)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

fn open(node: &Node) -> Kind {
    Kind::Open(Open { gateway: node.lease.id.to_string(), incarnation: node.lease.incarnation })
}

fn batch(number: u64) -> Kind {
    Kind::Batch(Batch { number, ..Batch::default() })
}

#[tokio::test]
async fn nonsense_ends_the_link_and_nothing_else() {
    let world = World::new().await;
    let node = world.node("one").await;
    let client = dial(&node).await;
    let other = |gateway: &str, incarnation| Kind::Open(Open { gateway: gateway.into(), incarnation });
    let malformed = |batch: Batch| Kind::Batch(Batch { number: 1, ..batch });
    let mark = HeadMark { timeline: "x".into(), head: 1 };
    let large = Push { msg: vec![0; 2 << 20].into(), ..Push::default() };
    let not_a_msg = Push { msg: vec![0xff].into(), ..Push::default() };
    for (kinds, code) in [
        (vec![], Code::InvalidArgument),
        (vec![batch(1)], Code::InvalidArgument),
        (vec![other("two", node.lease.incarnation)], Code::FailedPrecondition),
        (vec![other("one", node.lease.incarnation + 1)], Code::FailedPrecondition),
        (vec![open(&node), open(&node)], Code::InvalidArgument),
        (vec![open(&node), batch(0)], Code::InvalidArgument),
        (vec![open(&node), batch(2)], Code::InvalidArgument),
        (vec![open(&node), batch(1), batch(1)], Code::InvalidArgument),
        (
            vec![open(&node), malformed(Batch { marks: vec![mark], ..Batch::default() })],
            Code::InvalidArgument,
        ),
        (
            vec![open(&node), malformed(Batch { pushes: vec![not_a_msg], ..Batch::default() })],
            Code::InvalidArgument,
        ),
        (vec![open(&node), malformed(Batch { pushes: vec![large], ..Batch::default() })], Code::OutOfRange),
    ] {
        let status = say(&client, kinds).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
    let answers = say(&client, vec![open(&node), batch(1), batch(2)]).await.unwrap();
    let last = answers.last().unwrap().kind.clone();
    assert_eq!(
        (answers.len(), last),
        (3, Some(handed::Kind::Taken(Taken { number: 2, ..Taken::default() })))
    );

    // Sessions go on as well.
    let bob = node.recipient("bob").await;
    let pipeline = world.pipeline();
    pipeline.push(&bob.user, 1).await;
    assert_eq!(bob.reaches(1).await, [1]);
}

#[tokio::test]
async fn links_are_bounded_and_their_places_come_back() {
    let world = World::new().await;
    let node = world.node("one").await;
    let client = dial(&node).await;
    let links = node.gateway.shared().links.clone();
    let all = links.clone().try_acquire_many_owned(MAX_LINKS as u32).unwrap();
    let status = say(&client, vec![open(&node)]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    drop(all);
    for _ in 0..3 {
        assert_eq!(say(&client, vec![open(&node)]).await.unwrap().len(), 1);
    }
    assert_eq!(links.available_permits(), MAX_LINKS);
}

#[tokio::test]
async fn a_gateway_ends_its_links_with_its_lease_and_in_order() {
    let world = World::new().await;
    let node = world.node("one").await;
    let client = dial(&node).await;
    let without_end = stream::iter([Handover { kind: Some(open(&node)) }]).chain(stream::pending());
    let mut answers = client.clone().deliver(without_end).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let (_local, receiver) = link::local(link::Counters::default());
    let stop = CancellationToken::new();
    let stopped = async {
        node.gateway.drain(1).await;
        assert!(answers.message().now_or_never().is_none(), "it may still be meant");
        stop.cancel();
        answers.message().await
    };
    let ((), end) = timeout(LIMIT, join(node.gateway.run(receiver, stop.clone()), stopped)).await.unwrap();
    assert!(end.unwrap().is_none());
}
