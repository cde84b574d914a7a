//! Many gateways: only those with a recipient are called, and one that is stuck delays nobody.

use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt as _};
use tidegate_pipeline::presence::lease::{Lease, State};
use tidegate_pipeline::pusher::plan::Placed;
use tidegate_pipeline::rpc::v1::msg_service_server::{self, MsgServiceServer};
use tidegate_pipeline::rpc::v1::{
    Handed, Handover, Opened, SendMsgRequest, SendMsgToUserRequest, TakenBySessions, handed,
};
use tidegate_pipeline::rpc::{self, Security, Server};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{World, record, stored};

const GATEWAYS: [&str; 5] = ["one", "two", "three", "four", "five"];

#[tokio::test]
async fn of_five_gateways_those_with_a_recipient_are_called() {
    let world = World::new().await;
    let mut nodes = Vec::new();
    for id in GATEWAYS {
        nodes.push(world.node(id).await);
    }
    let (on_three, on_five) = (nodes[2].recipient("bob").await, nodes[4].recipient("carol").await);
    let dave = [nodes[0].recipient("dave").await, nodes[1].recipient("dave").await];
    let pipeline = world.pipeline();
    let calls = |id: &str| pipeline.metric(&format!("tidegate_link_calls_total{{gateway=\"{id}\"}}"));

    for seq in 1..=10 {
        pipeline.push(&on_three.user, seq).await;
    }
    assert!(on_three.reaches(10).await.into_iter().eq(1..=10));
    assert_eq!(GATEWAYS.map(calls), [0, 0, 10, 0, 0], "one recipient, one call a message");

    let record = record(&on_five.user, 11, 10, None);
    let place = stored(&[(&on_three.user, 11), (&on_five.user, 1)], false);
    pipeline.pusher.push(&[Placed { record: &record, stored: &place }], &[]).await;
    on_five.reaches(1).await;
    on_three.reaches(11).await;
    assert_eq!(GATEWAYS.map(calls), [0, 0, 11, 0, 1], "two recipients, two calls");

    pipeline.push(&dave[0].user, 1).await;
    for device in &dave {
        assert_eq!(device.reaches(1).await, [1]);
    }
    assert_eq!(GATEWAYS.map(calls), [1, 1, 11, 0, 1]);
    assert_eq!(pipeline.metric("tidegate_links_open"), 4);

    let messages = |id: &str| pipeline.metric(&format!("tidegate_link_messages_total{{gateway=\"{id}\"}}"));
    assert_eq!(GATEWAYS.map(messages), [1, 1, 11, 0, 1]);
}

/// Opens links and takes nothing.
struct Stuck;

#[tonic::async_trait]
impl msg_service_server::MsgService for Stuck {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Handed, Status>> + Send>>;

    async fn deliver(
        &self,
        request: Request<Streaming<Handover>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let opened = Handed { kind: Some(handed::Kind::Opened(Opened {})) };
        let held = request.into_inner();
        let never = stream::once(async move {
            let _held = held;
            std::future::pending().await
        });
        Ok(Response::new(Box::pin(stream::iter([Ok(opened)]).chain(never))))
    }

    async fn send_message(&self, _: Request<SendMsgRequest>) -> Result<Response<TakenBySessions>, Status> {
        Err(Status::unimplemented("links only"))
    }

    async fn send_msg_to_user(
        &self,
        _: Request<SendMsgToUserRequest>,
    ) -> Result<Response<TakenBySessions>, Status> {
        Err(Status::unimplemented("links only"))
    }
}

#[tokio::test]
async fn a_gateway_that_is_stuck_delays_no_other_and_holds_a_bounded_part() {
    let world = World::new().await;
    let good = world.node("good").await;
    let stuck = world.gateway("stuck").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().into();
    let serve = Server::new(Security::default(), rpc::Metrics::default()).with(MsgServiceServer::new(Stuck));
    let mut tasks = JoinSet::new();
    tasks.spawn(serve.serve(vec![listener], CancellationToken::new()));
    let lease = Lease { state: State::Up, address, ..stuck.lease.clone() };
    world.presence.begin_lease(&lease).await.unwrap();

    let (bob, carol) = (good.recipient("bob").await, stuck.recipient("carol").await);
    let pipeline = world.pipeline();
    let count = 1_000;
    for seq in 1..=count {
        let record = record(&bob.user, seq, 60_000, None);
        let place = stored(&[(&bob.user, seq), (&carol.user, seq)], false);
        pipeline.pusher.push(&[Placed { record: &record, stored: &place }], &[]).await;
        bob.reaches(seq).await;
    }
    // A queue holds 16 MiB; of each link that was opened and given up 4 MiB were on the way, and a batch before them.
    let opened = pipeline.metric("tidegate_link_openings_total{result=\"opened\"}");
    let dropped = pipeline.metric("tidegate_drops_total{reason=\"link_full\"}");
    assert!(dropped + 280 + 80 * opened >= count, "{dropped} dropped, {opened} opened");
    let batches = pipeline.metric("tidegate_link_batches_total");
    assert!(batches <= count + 16 * opened, "{batches} batches, {opened} opened");
}
