//! Retention of channels: each by its own rule, in steps.

use tidegate_proto::pattern::Pattern;
use tidegate_proto::v1::Msg;

use super::{Place, append, channel, inbox, page, record, sent_at, stored, whole};
use crate::channels::{Kept, Rule, Rules};
use crate::record::Record;
use crate::store::{Bounds, Range, Removed, Store};

fn rules(kept: &[(&str, Option<u64>, Option<u64>)]) -> Rules {
    let rule = |(pattern, max_entries, max_age_ms): &(&str, Option<u64>, Option<u64>)| {
        let kept = Some(Kept { max_entries: *max_entries, max_age_ms: *max_age_ms });
        (Pattern::new(pattern).unwrap(), Rule { kept, ..Rule::default() })
    };
    kept.iter().map(rule).collect()
}

/// Sent to a channel at 1, 2, 3, …, under that as local_id.
fn posts(to: &str, count: i64) -> Vec<Record> {
    (1..=count).map(|n| post(to, &n.to_string(), n)).collect()
}

fn post(to: &str, local_id: &str, send_time: i64) -> Record {
    let msg = Msg { channel: to.into(), local_id: format!("{to}/{local_id}"), ..Msg::default() };
    record("alice", msg, send_time)
}

/// Steps until nothing is left to do; the sum, and how many steps removed something.
async fn retain(store: &Store, rules: &Rules, now_ms: i64, budget: usize) -> (Removed, usize) {
    let mut sum = Removed::default();
    for steps in 0.. {
        let removed = store.retain_channels(rules, 1_000_000, now_ms, budget).await.unwrap();
        if removed.is_nothing() {
            return (sum, steps);
        }
        assert!(removed.entries <= budget as u64, "{removed:?} is over the budget");
        sum.entries += removed.entries;
        sum.bodies += removed.bodies;
        sum.names += removed.names;
    }
    unreachable!("it counts without an end")
}

async fn bounds(store: &Store, name: &str) -> (u64, u64) {
    let Bounds { floor, head } = page(store, &channel(name), Range::After(0)).await.bounds;
    (floor, head)
}

pub(in crate::store) async fn channels_are_kept_by_their_rules(place: &impl Place) {
    let store = place.open().await;
    for name in ["few", "short", "both", "all", "usual", "@all"] {
        append(&store, &posts(name, 10)).await;
    }
    append(&store, &[sent_at("alice", "bob", "old", 1)]).await;
    let rules = rules(&[
        ("few", Some(3), None),
        ("short", None, Some(100)),
        ("both", Some(8), Some(100)),
        ("al*", None, None),
    ]);
    let (removed, _) = retain(&store, &rules, 104, 100).await;
    assert_eq!(removed, Removed { entries: 7 + 3 + 3, bodies: 13, ..Removed::default() });
    for (name, kept) in
        [("few", (8, 10)), ("short", (4, 10)), ("both", (4, 10)), ("all", (1, 10)), ("usual", (1, 10))]
    {
        assert_eq!(bounds(&store, name).await, kept, "{name}");
    }
    assert_eq!(whole(&store, &channel("few")).await, ["few/8", "few/9", "few/10"]);
    let before = page(&store, &channel("short"), Range::Before(6)).await;
    assert_eq!((before.entries.len(), before.more), (2, false), "nothing below the floor");

    // A day later.
    let (removed, _) = retain(&store, &rules, 86_400_006, 100).await;
    assert_eq!(removed.entries, 7 + 7 + 5 + 5, "of the usual ones what is over a day old");
    assert_eq!((bounds(&store, "short").await, bounds(&store, "@all").await), ((11, 10), (6, 10)));
    assert_eq!(retain(&store, &rules, 86_400_006, 100).await.1, 0);
    assert_eq!(whole(&store, &inbox("bob")).await, ["old"], "no other timeline is touched");

    // Seqs go on where they were, names are remembered, and another rule holds at once.
    assert!(stored(&store, post("short", "1", 1)).await.repeated);
    assert_eq!(stored(&store, post("short", "11", 86_400_000)).await.conv_seq, 11);
    assert_eq!(
        retain(&store, &self::rules(&[("**", Some(0), None)]), 86_400_006, 100).await.0.entries,
        3 + 10 + 5 + 1
    );
    let forgotten = store.retain_channels(&Rules::default(), 0, 86_400_006, 100).await.unwrap();
    assert_eq!(forgotten.entries, 0, "a channel with nothing left is passed over");
}

pub(in crate::store) async fn channels_are_cut_in_steps(place: &impl Place) {
    let store = place.open().await;
    for n in 0..30 {
        append(&store, &posts(&format!("many/{n}"), 4)).await;
    }
    append(&store, &posts("one", 100)).await;
    let by_count = rules(&[("many/*", Some(3), None), ("one", Some(60), None)]);
    let (removed, steps) = retain(&store, &by_count, 5, 7).await;
    assert_eq!((removed.entries, removed.bodies), (30 + 40, 70));
    assert!(steps >= 10, "{steps}");
    let by_age = rules(&[("many/*", None, Some(10)), ("one", None, Some(10))]);
    let (removed, steps) = retain(&store, &by_age, 1_000, 7).await;
    assert_eq!((removed.entries, removed.bodies), (90 + 60, 150));
    assert!(steps >= 150 / 7, "{steps}");
    assert_eq!((bounds(&store, "one").await, bounds(&store, "many/29").await), ((101, 100), (5, 4)));
}
