//! Links that break and gateways that come back: what was lost is found by the check of the heads.

use tidegate_pipeline::pusher::link;
use tidegate_pipeline::pusher::plan::Placed;
use tidegate_pipeline::store::Outcome;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{LIMIT, Node, Pipeline, Recipient, World, record, stored};

/// A gateway with a session of bob's, and a pipeline whose first message he has: the link between them is open.
async fn linked() -> (World, Node, Recipient, Pipeline) {
    let world = World::new().await;
    let node = world.node("one").await;
    let bob = node.recipient("bob").await;
    let pipeline = world.pipeline();
    pipeline.push(&bob.user, 1).await;
    bob.reaches(1).await;
    (world, node, bob, pipeline)
}

#[tokio::test]
async fn heads_are_checked_when_a_link_opens_and_when_it_breaks_but_not_when_it_is_closed() {
    let world = World::new().await;
    let node = world.node("one").await;
    let bob = node.recipient("bob").await;

    let pipeline = world.pipeline();
    assert!(!node.was_told_to_check());
    pipeline.push(&bob.user, 1).await;
    bob.reaches(1).await;
    node.told_to_check().await;
    pipeline.pusher.stop(LIMIT).await;
    assert!(!node.was_told_to_check(), "everything was handed over");

    let pipeline = world.pipeline();
    pipeline.push(&bob.user, 2).await;
    bob.reaches(2).await;
    node.told_to_check().await;
    drop(pipeline);
    node.told_to_check().await;
}

#[tokio::test]
async fn what_the_store_has_reaches_a_session_when_a_link_opens() {
    let world = World::new().await;
    let node = world.node("one").await;
    let (bob, carol) = (node.recipient("bob").await, node.recipient("carol").await);
    let lost = record(&carol.user, 1, 10, None);
    let outcomes = world.store.append(&[&lost]).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Stored(_)));

    let stop = CancellationToken::new();
    let (gateway, until) = (node.gateway.clone(), stop.clone());
    let (_local, receiver) = link::local(link::Counters::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { gateway.run(receiver, until).await });
    // Nobody pushes carol's message: its pipeline has died.
    let pipeline = world.pipeline();
    pipeline.push(&bob.user, 1).await;
    assert_eq!(carol.reaches(1).await.len(), 0, "a mark, and then the store");
    stop.cancel();
}

#[tokio::test]
async fn what_waits_is_handed_over_before_the_stop() {
    let world = World::new().await;
    let node = world.node("one").await;
    let bob = node.recipient("bob").await;
    let pipeline = world.pipeline();
    for seq in 1..=200 {
        pipeline.push(&bob.user, seq).await;
    }
    pipeline.pusher.stop(LIMIT).await;
    assert_eq!(bob.mailbox.take().pushes.len(), 200);
    assert_eq!(pipeline.metric("tidegate_links_open"), 0);
    pipeline.push(&bob.user, 201).await;
    assert_eq!(pipeline.metric("tidegate_link_calls_total{gateway=\"one\"}"), 0, "it has stopped");
}

#[tokio::test]
async fn a_gateway_that_dies_and_comes_back_is_found_where_it_is() {
    let (_world, mut node, bob, pipeline) = linked().await;
    let mut seq = 1;
    let same_port = node.lease.address.parse().unwrap();
    for at in [same_port, "127.0.0.1:0".parse().unwrap()] {
        node.kill().await;
        pipeline.push(&bob.user, seq + 1).await;
        while node.was_told_to_check() {}
        node.serve(at).await;
        node.begin_lease().await;
        // Opened again without a push.
        node.told_to_check().await;
        seq += 2;
        pipeline.push(&bob.user, seq).await;
        bob.reaches(seq).await;
    }
    assert!(pipeline.metric("tidegate_link_openings_total{result=\"opened\"}") >= 3);
    assert_eq!(pipeline.metric("tidegate_link_breaks_total"), 2);
}

#[tokio::test]
async fn another_incarnation_is_not_handed_what_was_meant_for_the_last_one() {
    let (_world, mut node, bob, pipeline) = linked().await;
    node.told_to_check().await;
    // The lease is lost: the link is ended, and the old lease opens none.
    node.gateway.shared().draw_incarnation();
    node.told_to_check().await;
    node.lease.incarnation = node.gateway.shared().incarnation();
    node.begin_lease().await;
    node.told_to_check().await;
    pipeline.push(&bob.user, 2).await;
    // What goes by the old route is a mark.
    let old_route = bob.reaches(2).await;
    assert!(old_route.is_empty(), "{old_route:?}");
    let here = node.recipient("carol").await;
    pipeline.push(&here.user, 1).await;
    assert_eq!(here.reaches(1).await, [1], "and by a new one a push");
}

#[tokio::test]
async fn a_user_who_is_not_there_is_reported() {
    let world = World::new().await;
    let node = world.node("one").await;
    let (mut bob, carol) = (node.recipient("bob").await, node.recipient("carol").await);
    bob.place.take();
    let pipeline = world.pipeline();
    let both = record(&carol.user, 1, 10, None);
    let place = stored(&[(&bob.user, 1), (&carol.user, 1)], false);
    timeout(LIMIT, pipeline.pusher.push(&[Placed { record: &both, stored: &place }], &[])).await.unwrap();
    carol.reaches(1).await;
    pipeline.pusher.stop(LIMIT).await;
    assert_eq!(pipeline.metric("tidegate_link_not_here_total"), 1);
}
