//! The gateways' end: back-pressure, a broker that is away, an end with nothing forgotten.

use std::process::Command;

use tidegate_proto::v1::Code;

use super::*;
use crate::log::{Answer, NotAppended};

/// Nobody is there.
fn nowhere() -> Settings {
    Settings { brokers: vec!["127.0.0.1:1".to_owned()], ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_holds_the_sender_and_all_are_told_at_the_end() {
    let metrics = Metrics::default();
    let log = open_log(&nowhere(), &metrics).unwrap();
    let answered = Arc::new(Answered::default());
    let mut tag = 0;
    let held = loop {
        match log.try_append(record(("a", "b"), tag, 64_000), Waiter::new(answered.clone(), tag)) {
            Ok(()) => tag += 1,
            Err(NotAppended::Full(held)) => break held,
            Err(NotAppended::Closed) => panic!("it is open"),
        }
    };
    assert_eq!(log.depth(), tag as usize);
    assert!((1_000..1_100).contains(&tag), "64 MiB of 64 KiB each, not {tag}");
    let other = log.clone();
    let mut late = Box::pin(async move { other.append(held.record, held.waiter).await });
    assert!(futures_util::poll!(late.as_mut()).is_pending());
    assert_eq!(answered.count(), 0);
    // Nothing is answered in time, so the end is one without.
    within(log.close()).await;
    within(late).await.unwrap_err();
    drop(log);
    let answers = answered.wait(tag as usize + 1).await;
    for (_, answer) in answers {
        assert!(matches!(answer, Answer::Rejected(refusal) if refusal.code == Code::Unavailable));
    }
    assert_eq!(metrics.produce_failures.get(), tag);
}

/// After a fatal error everybody is told that the outcome is unknown, and a new producer takes over.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_producer_that_failed_for_good_is_built_anew() {
    let topics = Topics::new(1).await;
    let log::Log::Kafka(log) = topics.log() else { unreachable!() };
    log.break_for_good();
    let answered = Arc::new(Answered::default());
    let mut tag = 0;
    within(async {
        loop {
            log.append(record(("a", "b"), tag, 10), Waiter::new(answered.clone(), tag)).await.unwrap();
            tag += 1;
            let (_, answer) = answered.wait(tag as usize).await.pop().expect("answered");
            match answer {
                Answer::Accepted { .. } => break,
                Answer::Rejected(refusal) => assert_eq!(refusal.code, Code::Unavailable),
                Answer::Passed { .. } => panic!("nothing here is volatile"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(tag > 1, "the broken one takes none");
    assert_eq!((log.depth(), topics.metrics.produce_failures.get()), (0, tag - 1));
}

fn services(what: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let done = Command::new(script).args([what, "kafka"]).status().expect("scripts/services runs");
    assert!(done.success(), "scripts/services {what} kafka");
}

/// While the broker is away nothing is answered and nothing is given up; when it is back all is there, in order, once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_broker_that_is_away_loses_nothing() {
    let topics = Topics::new(2).await;
    let (reader, _stop) = topics.reader();
    let (log, answered) = (topics.log(), Arc::new(Answered::default()));
    let append = async |tags: std::ops::Range<u64>| {
        for tag in tags {
            within(log.append(record(("a", "b"), tag, 10), Waiter::new(answered.clone(), tag)))
                .await
                .unwrap();
        }
    };
    append(0..500).await;
    answered.all_accepted(500).await;
    // The others have the broker only while it runs.
    let Topics { settings, metrics, _up } = topics;
    drop(_up);
    let alone = alone().await;
    tokio::task::spawn_blocking(|| services("stop")).await.unwrap();
    append(500..1_000).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(answered.count(), 500, "no receipt that is not true");
    tokio::task::spawn_blocking(|| services("start")).await.unwrap();
    answered.all_accepted(1_000).await;
    append(1_000..1_200).await;
    answered.all_accepted(1_200).await;
    let mut taken = take(&reader, 1_200).await;
    // A batch that could not be committed may come again.
    taken.dedup();
    assert_eq!(taken, (0..1_200).collect::<Vec<_>>());
    assert_eq!(metrics.produce_failures.get(), 0);
    drop((alone, settings));
}
