//! Reading: pages, their limits and directions, expiry, heads.

use tidegate_proto::v1::Msg;

use super::{Place, append, channel, direct, inbox, local_ids, msg, page, record, stored, text, whole};
use crate::store::{Bounds, PageEntry, Range, Store};

/// Ten messages in bob's inbox, "1" to "10".
async fn ten(place: &impl Place) -> Store {
    let store = place.open().await;
    let batch: Vec<_> = (1..=10).map(|n| text("alice", "bob", &n.to_string())).collect();
    append(&store, &batch).await;
    store
}

pub(in crate::store) async fn after_goes_up(place: &impl Place) {
    let store = ten(place).await;
    for (range, limit, expected, more) in [
        (Range::After(0), 3, &["1", "2", "3"][..], true),
        (Range::After(7), 3, &["8", "9", "10"], false),
        (Range::After(8), 3, &["9", "10"], false),
        (Range::After(10), 3, &[], false),
        (Range::After(u64::MAX), 3, &[], false),
        (Range::After(4), 0, &["5"], true),
    ] {
        let page = store.page(&inbox("bob"), range, limit, usize::MAX, 2_000).await.unwrap();
        assert_eq!((local_ids(&page), page.more), (expected.iter().map(|s| (*s).to_owned()).collect(), more));
        assert_eq!(page.bounds, Bounds { head: 10, floor: 1 });
    }
}

pub(in crate::store) async fn before_goes_down(place: &impl Place) {
    let store = ten(place).await;
    for (range, limit, expected, more) in [
        (Range::Before(u64::MAX), 3, &["8", "9", "10"][..], true),
        (Range::Before(11), 2, &["9", "10"], true),
        (Range::Before(4), 3, &["1", "2", "3"], false),
        (Range::Before(3), 3, &["1", "2"], false),
        (Range::Before(1), 3, &[], false),
        (Range::Before(0), 3, &[], false),
    ] {
        let page = store.page(&inbox("bob"), range, limit, usize::MAX, 2_000).await.unwrap();
        assert_eq!((local_ids(&page), page.more), (expected.iter().map(|s| (*s).to_owned()).collect(), more));
    }
}

pub(in crate::store) async fn a_page_keeps_to_its_limits(place: &impl Place) {
    let store = place.open().await;
    let large = |n: usize, bytes: usize| {
        record("alice", Msg { content: vec![7; bytes].into(), ..msg("bob", &n.to_string()) }, 1_000)
    };
    let batch: Vec<_> = (1..=200).map(|n| large(n, if n == 3 { 60_000 } else { 1_000 })).collect();
    append(&store, &batch).await;

    let mut after = 0;
    let mut sizes = Vec::new();
    loop {
        let page = store.page(&inbox("bob"), Range::After(after), 50, 10_000, 2_000).await.unwrap();
        let bytes: usize = page.entries.iter().map(|(_, entry)| bytes(entry)).sum();
        assert!(bytes <= 10_000 || page.entries.len() == 1, "{bytes}");
        assert_eq!(page.entries[0].0, after + 1);
        after = page.entries.last().unwrap().0;
        sizes.push(page.entries.len());
        assert_eq!(page.more, after < 200);
        if !page.more {
            break;
        }
    }
    assert_eq!(sizes[..2], [2, 1], "the large one has a page of its own");
    assert!(sizes.len() < 30, "pages are filled: {sizes:?}");
    let last = store.page(&inbox("bob"), Range::Before(5), 50, 1, 2_000).await.unwrap();
    assert_eq!((local_ids(&last), last.more), (vec!["4".to_owned()], true));
}

fn bytes(entry: &PageEntry) -> usize {
    match entry {
        PageEntry::Msg(body) => body.bytes().len(),
        PageEntry::Gone => 0,
    }
}

pub(in crate::store) async fn a_missing_timeline_is_empty(place: &impl Place) {
    let store = ten(place).await;
    for range in [Range::After(0), Range::After(5), Range::Before(5)] {
        let page = page(&store, &inbox("nobody"), range).await;
        assert!(page.entries.is_empty() && !page.more);
        assert_eq!(page.bounds, Bounds { head: 0, floor: 1 });
    }
}

pub(in crate::store) async fn what_expired_is_gone(place: &impl Place) {
    let store = place.open().await;
    let expiring =
        |local_id: &str, expire_at| record("alice", Msg { expire_at, ..msg("bob", local_id) }, 1_000);
    let batch = [expiring("1", 0), expiring("2", 1_500), expiring("3", 2_000), expiring("4", 2_001)];
    append(&store, &batch).await;
    assert_eq!(whole(&store, &inbox("bob")).await, ["1", "-", "-", "4"]);
    let earlier = store.page(&inbox("bob"), Range::After(0), 10, usize::MAX, 1_999).await.unwrap();
    assert_eq!(local_ids(&earlier), ["1", "-", "3", "4"]);
    // A repeat of it is a repeat all the same.
    assert!(stored(&store, expiring("2", 1_500)).await.repeated);
}

pub(in crate::store) async fn expired_bodies_take_no_room(place: &impl Place) {
    let store = place.open().await;
    let large = |n: usize| {
        let content = vec![7; 50_000].into();
        record("alice", Msg { expire_at: 1_500, content, ..msg("bob", &n.to_string()) }, 1_000)
    };
    append(&store, &[large(1), large(2), text("alice", "bob", "3"), large(4), text("alice", "bob", "5")])
        .await;
    for (range, expected) in
        [(Range::After(0), ["-", "-", "3", "-", "5"]), (Range::Before(6), ["-", "-", "3", "-", "5"])]
    {
        let page = store.page(&inbox("bob"), range, 10, 1_000, 2_000).await.unwrap();
        assert_eq!(local_ids(&page), expected);
    }
    let earlier = store.page(&inbox("bob"), Range::After(0), 10, 60_000, 1_499).await.unwrap();
    assert_eq!((local_ids(&earlier), earlier.more), (vec!["1".to_owned()], true));
}

pub(in crate::store) async fn heads_come_in_the_order_asked_for(place: &impl Place) {
    let store = ten(place).await;
    stored(&store, text("bob", "carol", "1")).await;
    let asked =
        [inbox("carol"), inbox("nobody"), inbox("bob"), channel("x"), direct("bob", "alice"), inbox("bob")];
    let heads: Vec<u64> = store.heads(&asked).await.unwrap().iter().map(|bounds| bounds.head).collect();
    assert_eq!(heads, [1, 0, 11, 0, 10, 11]);
    assert_eq!(store.heads(&asked[1..2]).await.unwrap(), [Bounds { head: 0, floor: 1 }]);
    assert_eq!(store.heads(&[]).await.unwrap(), []);
}

pub(in crate::store) async fn many_heads(place: &impl Place) {
    let store = ten(place).await;
    let asked: Vec<_> =
        (0..10_001).map(|n| if n % 5_000 == 0 { inbox("bob") } else { inbox(&format!("u{n}")) }).collect();
    let heads = store.heads(&asked).await.unwrap();
    assert_eq!(heads.len(), asked.len());
    for (n, bounds) in heads.iter().enumerate() {
        assert_eq!(bounds.head, if n % 5_000 == 0 { 10 } else { 0 });
    }
}
