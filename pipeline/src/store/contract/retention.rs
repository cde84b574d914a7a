//! Retention: the floor, what goes and what is remembered.

use super::{Place, append, direct, inbox, into_stored, page, record, sent_at, stored, whole};
use crate::record::Record;
use crate::store::contract::msg;
use crate::store::{Bounds, Outcome, Range, Removed, Retention, Store, Stored};
use tidegate_proto::v1::Msg;

const NOTHING: Retention =
    Retention { max_age_ms: None, max_entries: None, remember_ms: 1_000_000, cursor_ms: 1_000_000 };

/// Steps until nothing is left to do; the sum, and how many steps removed something.
async fn retain(store: &Store, retention: Retention, now_ms: i64, budget: usize) -> (Removed, usize) {
    let mut sum = Removed::default();
    for steps in 0.. {
        let removed = store.retain(retention, now_ms, budget).await.unwrap();
        if removed.is_nothing() {
            return (sum, steps);
        }
        let rows = removed.entries + removed.names + removed.cursors;
        assert!(rows <= budget.max(3) as u64, "{removed:?} is over the budget");
        sum.entries += removed.entries;
        sum.bodies += removed.bodies;
        sum.names += removed.names;
        sum.cursors += removed.cursors;
    }
    unreachable!("it counts without an end")
}

/// `count` messages in turn from alice to bob and from carol to bob, sent at 1, 2, 3, …
fn batch(count: i64) -> Vec<Record> {
    let sender = |n| if n % 2 == 1 { "alice" } else { "carol" };
    (1..=count).map(|n| sent_at(sender(n), "bob", &n.to_string(), n)).collect()
}

async fn bounds(store: &Store, user: &str) -> (u64, u64) {
    let Bounds { floor, head } = page(store, &inbox(user), Range::After(0)).await.bounds;
    (floor, head)
}

pub(in crate::store) async fn retention_by_age(place: &impl Place) {
    let store = place.open().await;
    append(&store, &batch(10)).await;
    let by_age = Retention { max_age_ms: Some(100), ..NOTHING };
    assert_eq!(retain(&store, NOTHING, 1_000, 100).await.0, Removed::default());
    assert_eq!(retain(&store, by_age, 101, 100).await.0, Removed::default());

    let (removed, _) = retain(&store, by_age, 105, 100).await;
    assert_eq!(removed, Removed { entries: 12, bodies: 4, ..Removed::default() });
    assert_eq!((bounds(&store, "bob").await, bounds(&store, "alice").await), ((5, 10), (3, 5)));
    assert_eq!(whole(&store, &inbox("bob")).await, ["5", "6", "7", "8", "9", "10"]);
    assert_eq!(whole(&store, &direct("alice", "bob")).await, ["5", "7", "9"]);
    let before = page(&store, &inbox("bob"), Range::Before(7)).await;
    assert_eq!((before.entries.len(), before.more), (2, false), "nothing below the floor");

    retain(&store, by_age, 1_000, 100).await;
    for owner in ["bob", "alice", "carol"] {
        assert!(whole(&store, &inbox(owner)).await.is_empty());
    }
    assert_eq!(bounds(&store, "bob").await, (11, 10));
    // Seqs go on where they were.
    assert_eq!(stored(&store, sent_at("bob", "alice", "x", 1_000)).await.conv_seq, 6);
    assert_eq!((bounds(&store, "bob").await, bounds(&store, "alice").await), ((11, 11), (6, 6)));
}

pub(in crate::store) async fn retention_by_count(place: &impl Place) {
    let store = place.open().await;
    append(&store, &batch(10)).await;
    let by_count = Retention { max_entries: Some(4), ..NOTHING };
    let (removed, _) = retain(&store, by_count, 1_000, 100).await;
    // Six of bob's inbox, one each of alice's, of carol's, and of the two conversations.
    assert_eq!(removed, Removed { entries: 10, bodies: 2, ..Removed::default() });
    assert_eq!(whole(&store, &inbox("bob")).await, ["7", "8", "9", "10"]);
    assert_eq!(whole(&store, &inbox("alice")).await, ["3", "5", "7", "9"], "still readable here");
    assert_eq!(retain(&store, by_count, 1_000, 100).await.0, Removed::default());

    // A message goes when its last entry goes.
    stored(&store, sent_at("alice", "bob", "11", 11)).await;
    let (removed, _) = retain(&store, by_count, 1_000, 100).await;
    assert_eq!(removed, Removed { entries: 3, bodies: 1, ..Removed::default() });
    let none = Retention { max_entries: Some(0), ..NOTHING };
    retain(&store, none, 1_000, 100).await;
    assert_eq!((bounds(&store, "bob").await, bounds(&store, "alice").await), ((12, 11), (7, 6)));
}

pub(in crate::store) async fn retention_by_both_leaves_nothing_behind(place: &impl Place) {
    let store = place.open().await;
    append(&store, &batch(40)).await;
    append(&store, &[sent_at("alice", "alice", "note", 41)]).await;
    let both = Retention { max_age_ms: Some(100), max_entries: Some(3), ..NOTHING };
    let (one, _) = retain(&store, both, 120, 7).await;
    let (two, _) = retain(&store, both, 1_000, 7).await;
    assert_eq!(one.entries + two.entries, 3 * 40 + 2);
    assert_eq!(one.bodies + two.bodies, 41);
    let (names, _) = retain(&store, Retention { remember_ms: 0, ..both }, 1_000, 7).await;
    assert_eq!(names, Removed { names: 41, ..Removed::default() });
}

pub(in crate::store) async fn retention_is_done_in_steps(place: &impl Place) {
    let store = place.open().await;
    append(&store, &batch(100)).await;
    let by_count = Retention { max_entries: Some(10), ..NOTHING };
    let (_, steps) = retain(&store, by_count, 1_000, 10).await;
    assert!(steps >= 25, "{steps}");
    assert_eq!(whole(&store, &inbox("bob")).await.len(), 10);
    let by_age = Retention { max_age_ms: Some(100), ..NOTHING };
    let (_, steps) = retain(&store, by_age, 1_000, 10).await;
    assert!(steps >= 5, "{steps}");
    let (removed, steps) = retain(&store, Retention { remember_ms: 0, ..NOTHING }, 1_000, 10).await;
    assert_eq!((removed.names, steps), (100, 10));
}

pub(in crate::store) async fn names_outlive_their_messages(place: &impl Place) {
    let store = place.open().await;
    let first = append(&store, &batch(3)).await;
    let remember =
        Retention { max_age_ms: Some(10), max_entries: None, remember_ms: 1_000, cursor_ms: 1_000 };
    retain(&store, remember, 1_001, 100).await;
    assert!(whole(&store, &inbox("bob")).await.is_empty());

    drop(store);
    let store = place.open().await;
    let repeated = |outcome| Outcome::Stored(Stored { repeated: true, ..into_stored(outcome) });
    let again = append(&store, &batch(3)).await;
    assert_eq!(again, first.into_iter().map(repeated).collect::<Vec<_>>());
    let other = record("alice", Msg { content: "x".into(), ..msg("bob", "1") }, 1);
    assert!(matches!(append(&store, &[other]).await[0], Outcome::Refused(_)));

    let (removed, _) = retain(&store, remember, 1_002, 100).await;
    assert_eq!(removed.names, 1);
    let new = stored(&store, sent_at("alice", "bob", "1", 1_002)).await;
    assert_eq!((new.repeated, new.conv_seq), (false, 3), "its name was forgotten: a new message");
    // What can still be read is remembered however old it is.
    let forever = Retention { max_age_ms: None, remember_ms: 0, ..remember };
    assert_eq!(retain(&store, forever, 9_000, 100).await.0.names, 2);
    assert!(stored(&store, sent_at("alice", "bob", "1", 1)).await.repeated);
}

pub(in crate::store) async fn a_name_that_is_old_goes_with_its_message(place: &impl Place) {
    let store = place.open().await;
    append(&store, &batch(10)).await;
    let forgetful = Retention { remember_ms: 0, ..NOTHING };
    assert_eq!(retain(&store, forgetful, 1_000, 100).await.0, Removed::default());
    let by_count = Retention { max_entries: Some(4), ..forgetful };
    let (removed, _) = retain(&store, by_count, 1_000, 100).await;
    assert_eq!((removed.bodies, removed.names), (2, 2));
    assert!(!stored(&store, sent_at("alice", "bob", "1", 1_000)).await.repeated);
    assert!(stored(&store, sent_at("alice", "bob", "3", 1_000)).await.repeated);
}

pub(in crate::store) async fn a_clock_ahead_does_not_stop_retention(place: &impl Place) {
    let store = place.open().await;
    let times = [1, 900_000, 2, 500, 900_000];
    let records: Vec<_> =
        (1..).zip(times).map(|(n, at)| sent_at("alice", "bob", &n.to_string(), at)).collect();
    append(&store, &records).await;
    let by_age = Retention { max_age_ms: Some(100), ..NOTHING };
    retain(&store, by_age, 550, 100).await;
    assert_eq!(whole(&store, &inbox("bob")).await, ["4", "5"]);
    retain(&store, by_age, 1_000, 100).await;
    assert_eq!(whole(&store, &inbox("bob")).await, ["5"]);
}
