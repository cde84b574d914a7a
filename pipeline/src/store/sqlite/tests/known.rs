//! Appends to timelines that the writer knows: written without a look-up, in one statement or in several, and what
//! happens when something is not as it was known.

use super::*;
use crate::record::Record;
use crate::store::Outcome;
use crate::store::contract::{channel, direct, into_stored, msg, record};
use tidegate_proto::v1::Msg;

/// Appends to bob from alice, and the seqs in the conversation with whether each is a repeat.
async fn append_named(store: &AnyStore, local_ids: &[String]) -> Vec<(u64, bool)> {
    let records: Vec<Record> = local_ids.iter().map(|local_id| text("alice", "bob", local_id)).collect();
    let stored = append(store, &records).await.into_iter().map(into_stored);
    stored.map(|stored| (stored.conv_seq, stored.repeated)).collect()
}

fn named(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// Of each size: a batch of new ones, then one in which the first of them comes again among new ones.
#[tokio::test]
async fn a_repeat_among_new_ones() {
    for size in [2, 8, 9, 40] {
        let folder = Folder::new();
        let store = folder.open().await;
        append_named(&store, &named(0..1)).await;
        append_named(&store, &named(1..size)).await;
        let mut again = named(size..2 * size);
        again.insert(size / 2, "0".to_owned());
        let answered = append_named(&store, &again).await;
        let mut expected: Vec<(u64, bool)> =
            (size..2 * size).map(|number| (number as u64 + 1, false)).collect();
        expected.insert(size / 2, (1, true));
        assert_eq!(answered, expected, "batches of {size}");
        assert_eq!(whole(&store, &inbox("bob")).await, named(0..2 * size), "once each");
    }
}

#[tokio::test]
async fn another_writer_is_noticed() {
    let folder = Folder::new();
    let (one, two) = (folder.open().await, folder.open().await);
    let mut expected = 0;
    for round in 0..4 {
        for (store, from) in [(&one, "one"), (&two, "two")] {
            for size in [1, 9] {
                let local_ids: Vec<_> = (0..size).map(|n| format!("{from}-{round}-{size}-{n}")).collect();
                for (seq, repeated) in append_named(store, &local_ids).await {
                    expected += 1;
                    assert_eq!((seq, repeated), (expected, false));
                }
            }
        }
    }
}

#[tokio::test]
async fn every_kind_of_message() {
    let folder = Folder::new();
    let store = folder.open().await;
    for round in 0..3 {
        let to_all = Msg { channel: "news".into(), ..msg("", &format!("all-{round}")) };
        for record in [text("alice", "alice", &format!("self-{round}")), record("alice", to_all, 1)] {
            let outcomes = append(&store, &[record]).await;
            assert!(matches!(&outcomes[..], [Outcome::Stored(stored)] if !stored.repeated));
        }
    }
    for timeline in [inbox("alice"), direct("alice", "alice")] {
        assert_eq!(whole(&store, &timeline).await, ["self-0", "self-1", "self-2"]);
    }
    assert_eq!(whole(&store, &channel("news")).await, ["all-0", "all-1", "all-2"]);
}
