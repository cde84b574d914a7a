//! Dead letters: written before the partition goes on, listed, shown, sent again.

use super::*;
use crate::log::kafka::dead::{self, DeadError, Id, Letter};
use crate::log::kafka::partition::MAX_RECORD_BYTES;

/// Buries what a batch has found and is done with it.
async fn bury(batch: Batch) {
    for letter in &batch.dead {
        assert!(within(batch.hand.bury(letter)).await);
    }
    batch.hand.done();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn what_is_no_record_is_buried_and_the_partition_goes_on() {
    let topics = Topics::new(1).await;
    topics.append(0..2).await;
    topics.produce(0, b"no record").await;
    topics.produce(0, &vec![b'x'; MAX_RECORD_BYTES + 1]).await;
    topics.append(2..4).await;
    let (reader, _stop) = topics.reader();
    let mut taken = Vec::new();
    while taken.len() < 4 {
        let batch = next(&reader).await;
        taken.extend(numbers(&batch));
        bury(batch).await;
    }
    assert_eq!(taken, [0, 1, 2, 3]);

    let dead = dead::list(&topics.settings, None, 10).await.unwrap();
    let topic = &topics.settings.topic;
    assert_eq!(
        dead.iter().map(|dead| dead.from.clone()).collect::<Vec<_>>(),
        [format!("{topic}/0/2"), format!("{topic}/0/3")]
    );
    assert_eq!((&*dead[0].value, &*dead[0].key), (&b"no record"[..], &b"k"[..]));
    assert!(dead[1].reason.contains("over the limit"), "{}", dead[1].reason);
    assert_eq!(dead[1].value.len(), MAX_RECORD_BYTES + 1);
    assert!(dead[0].record().is_none() && dead[0].at_ms > 0);
    let shown = dead::show(&topics.settings, dead[1].id).await.unwrap();
    assert_eq!(shown.reason, dead[1].reason);
    let rest = dead::list(&topics.settings, Some(dead[0].id), 10).await.unwrap();
    assert_eq!(rest.iter().map(|dead| dead.id).collect::<Vec<_>>(), [dead[1].id]);
    let none = Id { partition: 0, offset: 99 };
    assert!(matches!(dead::show(&topics.settings, none).await, Err(DeadError::NotFound(_))));
    let count = topics.metrics.dead.get_or_create_owned(&[("reason", "too_large")]).get();
    assert_eq!(count, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka: scripts/test services"]
async fn a_refused_record_can_be_sent_again() {
    let topics = Topics::new(3).await;
    topics.append(7..8).await;
    let (reader, _stop) = topics.reader();
    let batch = next(&reader).await;
    let refused = batch.records[0].record.clone();
    let place = batch.hand.place(batch.records[0].offset);
    let letter = Letter::refused(&refused, "NUL bytes".to_owned(), place);
    assert!(within(batch.hand.bury(&letter)).await);
    batch.hand.done();

    let dead = dead::list(&topics.settings, None, 10).await.unwrap();
    assert_eq!((dead.len(), &*dead[0].reason), (1, "NUL bytes"));
    assert_eq!(dead[0].record().unwrap(), refused);
    dead::retry(&topics.settings, dead[0].id).await.unwrap();
    let again = next(&reader).await;
    assert_eq!(again.records[0].record, refused);
}

#[test]
fn names_of_dead_letters() {
    assert_eq!("3-17".parse(), Ok(Id { partition: 3, offset: 17 }));
    assert_eq!(Id { partition: 3, offset: 17 }.to_string(), "3-17");
    for wrong in ["", "3", "3-", "-3", "3-x", "3--1"] {
        assert!(wrong.parse::<Id>().is_err(), "{wrong}");
    }
}
