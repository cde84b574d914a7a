//! Partitions: what is not done comes again, what is does not; they move without loss.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::log::kafka::codec;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn what_is_not_done_comes_again_and_what_is_done_does_not() {
    let topics = Topics::new(1).await;
    topics.append(0..10).await;
    let (first, stop) = topics.reader();
    assert_eq!(take(&first, 10).await, (0..10).collect::<Vec<_>>());
    topics.append(10..20).await;
    let in_hand = next(&first).await;
    let begun = numbers(&in_hand);
    assert_eq!(begun[0], 10);
    // The batch is dropped without being done, as the sequencer does when its partition goes.
    drop(in_hand);
    stop.cancel();
    within(first.ended()).await;
    assert!(first.batch().await.is_none());

    let (second, _stop) = topics.reader();
    assert_eq!(take(&second, 10).await, (10..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_partition_has_one_batch_in_hand_and_the_others_go_on() {
    let topics = Topics::new(8).await;
    let (reader, _stop) = topics.reader();
    topics.append(0..5).await;
    let in_hand = next(&reader).await;
    let begun = numbers(&in_hand);
    assert_eq!(begun[0], 0);
    topics.append(5..10).await;
    // Eight conversations, of which most are in other partitions.
    for user in 0..8 {
        topics.append_as((&format!("u{user}"), "b"), 100 + user..101 + user).await;
    }
    let mut others = BTreeSet::new();
    while let Ok(Some(batch)) = timeout(Duration::from_secs(2), reader.batch()).await {
        assert_ne!(batch.hand.partition(), in_hand.hand.partition());
        others.extend(numbers(&batch));
        batch.hand.done();
    }
    assert!(!others.is_empty() && others.iter().all(|number| *number >= 100), "{others:?}");
    in_hand.hand.done();
    // 0..10 and 100..108, without the batch that was in hand.
    let mut seen = others;
    seen.extend(begun);
    while seen.len() < 18 {
        seen.extend(take(&reader, 1).await);
    }
}

/// Two readers share the partitions; when one comes or goes, nothing is lost and no conversation's order changes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn readers_share_the_partitions_and_hand_them_over() {
    let topics = Topics::new(6).await;
    let metrics = [Metrics::default(), Metrics::default()];
    let (first, _stop) = topics.counted_reader(&metrics[0]);
    until(&metrics[0].held, 6).await;
    let (second, stop) = topics.counted_reader(&metrics[1]);
    until(&metrics[0].held, 3).await;
    until(&metrics[1].held, 3).await;

    for user in 0..30 {
        topics.append_as((&format!("u{user}"), "b"), user * 10..user * 10 + 10).await;
    }
    let mut taken = Vec::new();
    while taken.len() < 300 {
        let batch = tokio::select! {
            batch = next(&first) => batch,
            batch = next(&second) => batch,
        };
        taken.extend(numbers(&batch));
        batch.hand.done();
    }
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 300, "each once");
    for user in 0..30 {
        let of_user: Vec<_> = taken.iter().filter(|number| *number / 10 == user).copied().collect();
        assert_eq!(of_user, (user * 10..user * 10 + 10).collect::<Vec<_>>());
    }

    stop.cancel();
    within(second.ended()).await;
    until(&metrics[0].held, 6).await;
    topics.append(1_000..1_010).await;
    assert_eq!(take(&first, 10).await, (1_000..1_010).collect::<Vec<_>>(), "and nothing again");
}

/// A rebalance lets the batch in hand end and gives up on one that takes too long.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_rebalance_waits_for_the_batch_in_hand_but_not_for_ever() {
    let topics = Topics::new(2).await;
    let metrics = [Metrics::default(), Metrics::default()];
    let (first, _stop) = topics.counted_reader(&metrics[0]);
    until(&metrics[0].held, 2).await;
    // One batch in hand of each partition: one of them is to be let go.
    for user in 0..20 {
        topics.append_as((&format!("u{user}"), "b"), user..user + 1).await;
    }
    let (zero, one) = (next(&first).await, next(&first).await);
    let (in_zero, in_one) = (numbers(&zero), numbers(&one));
    let hands = [zero.hand, one.hand];
    assert_ne!(hands[0].partition(), hands[1].partition());
    let (second, _stop) = topics.counted_reader(&metrics[1]);
    let leaving = tokio::select! {
        () = hands[0].leaving().cancelled() => 0,
        () = hands[1].leaving().cancelled() => 1,
    };
    let [zero, one] = hands;
    let (leaving, staying, in_staying) =
        if leaving == 0 { (zero, one, in_one) } else { (one, zero, in_zero) };
    // Not done, as after a panic: it comes again, here.
    drop(staying);
    assert!(!leaving.lost().is_cancelled(), "it has a while");
    within(leaving.lost().cancelled()).await;
    assert_eq!(take(&first, in_staying.len()).await[..in_staying.len()], in_staying);
    let moved = next(&second).await;
    assert_eq!(moved.hand.partition(), leaving.partition());
    // Too late: it is another's.
    leaving.done();
    moved.hand.done();
    until(&metrics[0].held, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_newer_record_stops_its_partition_and_is_not_skipped() {
    let topics = Topics::new(1).await;
    topics.append(0..3).await;
    topics.produce(0, &[0x0d, 0x65, 0x64, 0x69, 0x74, 0x10, 0x02]).await;
    topics.append(3..6).await;
    let (reader, stop) = topics.reader();
    assert_eq!(take(&reader, 3).await, [0, 1, 2]);
    until(&topics.metrics.waiting, 1).await;
    assert!(timeout(Duration::from_secs(2), reader.batch()).await.is_err(), "nothing beyond it");
    stop.cancel();
    within(reader.ended()).await;
    until(&topics.metrics.waiting, 0).await;
    let (reader, _stop) = topics.reader();
    tokio::select! {
        batch = reader.batch() => panic!("{batch:?} is beyond it"),
        () = until(&topics.metrics.waiting, 1) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn the_lag_is_shown() {
    let topics = Topics::new(3).await;
    for user in 0..20 {
        topics.append_as((&format!("u{user}"), "b"), user..user + 1).await;
    }
    let (reader, _stop) = topics.reader();
    until(&topics.metrics.lag, 20).await;
    take(&reader, 20).await;
    until(&topics.metrics.lag, 0).await;
}

/// How long decoding takes is what decides that a record carries nothing that can be computed.
#[test]
fn a_record_carries_only_what_cannot_be_computed() {
    let record = record(("a", "b"), 1, 100);
    let message = record.encoded.len();
    assert!(codec::encode(record).len() < message + 40);
}
