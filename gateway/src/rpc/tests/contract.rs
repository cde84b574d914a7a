//! What every link does; run on the one within the process and on gRPC.

use tidegate_pipeline::metrics;
use tidegate_pipeline::pusher::link;
use tidegate_pipeline::pusher::plan::Placed;
use tidegate_proto::id::UserId;
use tidegate_proto::v1::ReceiptStatus;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{LIMIT, Node, Pipeline, World, record, stored};
use crate::gateway::link as taking;

/// A gateway and a pusher with a link to it.
struct Rig {
    _world: World,
    node: Node,
    pipeline: Pipeline,
    /// The gateway's end of a link within the process, until it takes.
    local: Option<link::Receiver>,
    tasks: JoinSet<()>,
}

impl Rig {
    /// Nothing is taken yet.
    async fn local() -> Self {
        let world = World::new().await;
        let node = world.gateway("one").await;
        let counted = metrics::Metrics::default();
        let (local, receiver) = link::local(counted.link.clone());
        let pipeline = world.pipeline_with(&counted, Some(("one".into(), local)));
        Self { _world: world, node, pipeline, local: Some(receiver), tasks: JoinSet::new() }
    }

    /// Nothing is taken yet.
    async fn remote() -> Self {
        let world = World::new().await;
        let (node, pipeline) = (world.gateway("one").await, world.pipeline());
        Self { _world: world, node, pipeline, local: None, tasks: JoinSet::new() }
    }

    /// The gateway takes from now on.
    async fn take(&mut self) {
        if let Some(receiver) = self.local.take() {
            let gateway = self.node.gateway.shared().clone();
            self.tasks.spawn(async move { taking::run(receiver, &gateway).await });
        } else {
            self.node.serve("127.0.0.1:0".parse().unwrap()).await;
            self.node.begin_lease().await;
        }
    }
}

#[tokio::test]
async fn within_the_process() {
    messages_come_in_order_each_once(Rig::local().await).await;
    the_sending_session_and_its_receipts(Rig::local().await).await;
    a_gateway_that_does_not_take_gets_marks(Rig::local().await).await;
}

#[tokio::test]
async fn over_grpc() {
    messages_come_in_order_each_once(Rig::remote().await).await;
    the_sending_session_and_its_receipts(Rig::remote().await).await;
    a_gateway_that_does_not_take_gets_marks(Rig::remote().await).await;
}

async fn messages_come_in_order_each_once(mut rig: Rig) {
    rig.take().await;
    let bob = rig.node.recipient("bob").await;
    let mut seen = Vec::new();
    // As many at once as a mailbox holds.
    for hundred in 0..5 {
        for seq in hundred * 100 + 1..=hundred * 100 + 100 {
            rig.pipeline.push(&bob.user, seq).await;
        }
        seen.extend(bob.reaches(hundred * 100 + 100).await);
    }
    assert!(seen.into_iter().eq(1..=500));
}

async fn the_sending_session_and_its_receipts(mut rig: Rig) {
    rig.take().await;
    let (phone, laptop) = (rig.node.recipient("sender").await, rig.node.recipient("sender").await);
    let bob = UserId::new("bob").unwrap();
    let first = record(&bob, 1, 10, Some(rig.node.origin(&phone)));
    let place = stored(&[(&phone.user, 4), (&bob, 9)], false);
    rig.pipeline.pusher.push(&[Placed { record: &first, stored: &place }], &[]).await;
    for (session, own) in [(&phone, true), (&laptop, false)] {
        let mut pushes = Vec::new();
        session
            .until(|mail| {
                pushes.extend(mail.pushes);
                !pushes.is_empty()
            })
            .await;
        assert_eq!((pushes.len(), pushes[0].seq, pushes[0].own), (1, 4, own));
        assert_eq!(pushes[0].body.msg(4).receiver_id, "bob");
        assert_eq!(pushes[0].body.server_id(), first.server_id);
    }

    let place = stored(&[(&phone.user, 4), (&bob, 9)], true);
    rig.pipeline.pusher.push(&[Placed { record: &first, stored: &place }], &[]).await;
    rig.pipeline.reject(&first).await;
    let (mut receipts, mut mark) = (Vec::new(), 0);
    phone
        .until(|mail| {
            mark = mark.max(mail.mark);
            receipts.extend(mail.receipts);
            receipts.len() == 2 && mark > 0
        })
        .await;
    let statuses: Vec<_> = receipts.iter().map(|receipt| (receipt.status(), receipt.seq)).collect();
    assert_eq!(statuses, [(ReceiptStatus::Stored, 4), (ReceiptStatus::Rejected, 0)]);
    assert_eq!(laptop.reaches(4).await.len(), 0, "a repeat is a mark");
    assert_eq!(mark, 4);
}

/// What has no room becomes a mark, and what comes after is pushed again.
async fn a_gateway_that_does_not_take_gets_marks(mut rig: Rig) {
    let bob = rig.node.recipient("bob").await;
    let count = 1_000;
    for seq in 1..=count {
        let push = rig.pipeline.push_sized(&bob.user, seq, 60_000);
        timeout(LIMIT, push).await.expect("a push waits for no link");
    }
    rig.take().await;
    let pushed = bob.reaches(count).await;
    let first_dropped = pushed.iter().zip(1..).take_while(|(seq, n)| **seq == *n).count() as u64 + 1;
    assert!((200..count).contains(&rig.pipeline.metric("tidegate_drops_total{reason=\"link_full\"}")));
    assert!(first_dropped < count, "the last one is known by its mark: {pushed:?}");
    rig.pipeline.push(&bob.user, count + 1).await;
    let mut last = 0;
    bob.until(|mail| {
        last = mail.pushes.back().map_or(last, |pushed| pushed.seq);
        last == count + 1
    })
    .await;
}
