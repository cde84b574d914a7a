//! The sequencer over the partitions of a real Kafka.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use tokio_util::sync::CancellationToken;

use super::child::{FOLDER, NAME};
use super::*;
use crate::log::Log;
use crate::log::kafka::tests::Topics;
use crate::log::kafka::{dead, open_reader};

const PAIRS: [(&str, &str); 6] = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c"), ("e", "f")];

/// Appends messages of six conversations with these numbers, and waits until they are accepted.
async fn append(log: &Log, numbers: std::ops::Range<u64>) {
    let answered = Arc::new(Answered::default());
    let count = numbers.clone().count();
    for number in numbers {
        let record = record(PAIRS[(number % 6) as usize], number, 50);
        within(log.append(record, Waiter::new(answered.clone(), number))).await.unwrap();
    }
    answered.all_accepted(count).await;
}

/// Every inbox is dense, and has each message of its user once and each conversation's in order.
async fn check(store: &Store, count: u64) {
    for user in ["a", "b", "c", "d", "e", "f"] {
        let entries = inbox(store, user).await;
        let mine = |pair: usize| PAIRS[pair].0 == user || PAIRS[pair].1 == user;
        assert!(entries.iter().zip(1..).all(|((seq, _), expected)| *seq == expected), "{user}");
        for pair in (0..6).filter(|pair| mine(*pair)) {
            let of_pair =
                entries.iter().map(|(_, number)| *number).filter(|number| number % 6 == pair as u64);
            let expected: Vec<_> = (0..count).filter(|number| number % 6 == pair as u64).collect();
            assert_eq!(of_pair.collect::<Vec<_>>(), expected, "{user}, {:?}", PAIRS[pair]);
        }
    }
}

/// Waits until the store has so many messages in all conversations of `e`, which has a sixth of them.
async fn until_stored(store: &Store, count: u64) {
    within(async {
        loop {
            let mut entries = 0;
            for user in ["a", "b", "c", "d", "e", "f"] {
                entries += inbox(store, user).await.len() as u64;
            }
            if entries >= 2 * count {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// The receipts that the pusher hands to the gateway, once there are so many.
async fn receipts(receiver: &mut Receiver, count: usize) -> Vec<(u64, Receipt)> {
    let mut receipts = Vec::new();
    while receipts.len() < count {
        let handed = within(receiver.take()).await.expect("the pusher lives");
        let batches = handed.batches.into_iter().flat_map(|batch| batch.receipts);
        receipts.extend(batches.map(|(_, session, receipt)| (session, receipt)));
    }
    receipts
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn partitions_are_stored_in_order_each_message_once() {
    let (world, topics) = (World::new().await, Topics::new(4).await);
    let (sequencer, _receiver) = world.sequencer();
    let stop = CancellationToken::new();
    let reader = open_reader(&topics.settings, &topics.metrics, stop.clone()).unwrap();
    let working = start(sequencer, reader);
    append(&topics.log(), 0..3_000).await;
    until_stored(&world.store, 3_000).await;
    check(&world.store, 3_000).await;
    stop.cancel();
    within(working).await.unwrap();
    assert_eq!((world.metrics.stored.get(), world.metrics.repeated.get()), (3_000, 0));

    // All of it is committed: another sequencer finds nothing to repeat.
    let (sequencer, _receiver) = world.sequencer();
    let reader = open_reader(&topics.settings, &topics.metrics, CancellationToken::new()).unwrap();
    let _working = start(sequencer, reader);
    append(&topics.log(), 3_000..3_060).await;
    until_stored(&world.store, 3_060).await;
    assert_eq!(world.metrics.repeated.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn refused_records_are_buried_and_their_senders_told() {
    let (world, topics) = (World::new().await, Topics::new(1).await);
    world.refuse(11).await;
    let log = topics.log();
    append(&log, 0..24).await;
    // The same name with another body.
    let answered = Arc::new(Answered::default());
    log.append(record(PAIRS[0], 6, 7), Waiter::new(answered.clone(), 6)).await.unwrap();
    answered.all_accepted(1).await;
    let (sequencer, mut receiver) = world.sequencer();
    let reader = open_reader(&topics.settings, &topics.metrics, CancellationToken::new()).unwrap();
    let _working = start(sequencer, reader);

    let mut told = receipts(&mut receiver, 2).await;
    told.sort_by_key(|(session, _)| *session);
    let told: Vec<_> =
        told.iter().map(|(session, receipt)| (*session, receipt.status(), receipt.code())).collect();
    let rejected = ReceiptStatus::Rejected;
    assert_eq!(told, [(6, rejected, Code::Conflict), (11, rejected, Code::Internal)]);
    let dead = dead::list(&topics.settings, None, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(dead[0].reason.contains("not this one"), "{}", dead[0].reason);
    assert_eq!(dead[0].record().unwrap().local_id.as_str(), "11");
    assert_eq!(world.inbox("e").await, dense([5, 17, 23]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_store_that_is_away_holds_the_partition_and_loses_nothing() {
    let (world, topics) = (World::new().await, Topics::new(2).await);
    let mut holder = world.client().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let (sequencer, _receiver) = world.sequencer();
    let reader = open_reader(&topics.settings, &topics.metrics, CancellationToken::new()).unwrap();
    let _working = start(sequencer, reader);
    append(&topics.log(), 0..60).await;
    within(async {
        // Beyond the tries that an embedded log's senders get.
        while world.metrics.append_retried.get() < 3 || topics.metrics.waiting.get() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
    until_stored(&world.store, 60).await;
    check(&world.store, 60).await;
    within(async {
        while topics.metrics.waiting.get() > 0 {
            sleep(Duration::from_millis(20)).await
        }
    })
    .await;
    assert_eq!(world.metrics.append_given_up.get(), 0);
}

/// A database in a trouble that every message meets, in the middle of the traffic: no message is given up for it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_database_that_is_not_fit_holds_the_partition_and_buries_nobody() {
    let (world, topics) = (World::new().await, Topics::new(2).await);
    let (sequencer, _receiver) = world.sequencer();
    let reader = open_reader(&topics.settings, &topics.metrics, CancellationToken::new()).unwrap();
    let _working = start(sequencer, reader);
    let log = topics.log();
    append(&log, 0..60).await;
    until_stored(&world.store, 60).await;
    let mut client = world.client().await;
    sqlx::query("ALTER TABLE names RENAME TO elsewhere").execute(&mut client).await.unwrap();
    append(&log, 60..120).await;
    within(async {
        while world.metrics.append_retried.get() < 3 || topics.metrics.waiting.get() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    sqlx::query("ALTER TABLE elsewhere RENAME TO names").execute(&mut client).await.unwrap();
    until_stored(&world.store, 120).await;
    check(&world.store, 120).await;
    assert!(dead::list(&topics.settings, None, 10).await.unwrap().is_empty());
}

/// A process is killed in the middle of its work; another one takes its partitions when its session has run out.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_killed_sequencer_loses_nothing_and_doubles_nothing() {
    const COUNT: u64 = 6_000;
    let topics = Topics::new(4).await;
    let folder = TempDir::new().unwrap();
    append(&topics.log(), 0..COUNT).await;
    let name = topics.settings.topic.strip_suffix(".messages").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sequencer::tests::child::works_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .env(NAME, name)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let stored = output.lines().map_while(Result::ok).filter_map(|line| {
        let (_, number) = line.split_once("stored ")?;
        number.parse::<u64>().ok()
    });
    let at = tokio::task::block_in_place(|| stored.into_iter().find(|stored| *stored > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(at.is_some(), "the child works");

    let metrics = Metrics::default();
    let store = open_store(folder.path().join("store.sqlite")).await;
    let (sequencer, _receiver) = sequencer(store.clone(), &metrics);
    let reader = open_reader(&topics.settings, &topics.metrics, CancellationToken::new()).unwrap();
    let _working = start(sequencer, reader);
    until_stored(&store, COUNT).await;
    check(&store, COUNT).await;
}
