//! Cursors, the epoch, the end.

use super::{Place, device, stored, text, user};
use crate::store::{Bounds, CursorUpdate, Inbox, Retention, Store, StoreError};

fn update(owner: &str, on: &str, cursor: u64) -> CursorUpdate {
    CursorUpdate { user: user(owner), device: device(on), cursor }
}

async fn cursor(store: &Store, owner: &str, on: &str) -> Option<u64> {
    store.inbox(&user(owner), &device(on)).await.unwrap().cursor
}

pub(in crate::store) async fn cursors_only_grow(place: &impl Place) {
    let store = place.open().await;
    assert_eq!(store.inbox(&user("bob"), &device("a")).await.unwrap(), Inbox::default());
    for (given, kept) in [(0, 0), (3, 3), (2, 3), (7, 7), (7, 7)] {
        store.save_cursors(&[update("bob", "a", given)], 1).await.unwrap();
        assert_eq!(cursor(&store, "bob", "a").await, Some(kept));
    }
    let twice = [update("bob", "a", 9), update("bob", "a", 8), update("bob", "b", 1), update("bob", "b", 2)];
    store.save_cursors(&twice, 1).await.unwrap();
    assert_eq!((cursor(&store, "bob", "a").await, cursor(&store, "bob", "b").await), (Some(9), Some(2)));
    store.save_cursors(&[], 1).await.unwrap();
}

pub(in crate::store) async fn cursors_belong_to_a_device(place: &impl Place) {
    let store = place.open().await;
    stored(&store, text("alice", "bob", "1")).await;
    store.save_cursors(&[update("bob", "a", 1), update("alice", "a", 0)], 1).await.unwrap();
    let bounds = Bounds { head: 1, floor: 1 };
    for (owner, on, cursor) in [
        ("bob", "a", Some(1)),
        ("alice", "a", Some(0)),
        ("bob", "A", None),
        ("bob", "b", None),
        ("bob", "alice", None),
    ] {
        assert_eq!(store.inbox(&user(owner), &device(on)).await.unwrap(), Inbox { cursor, bounds });
    }
    drop(store);
    let store = place.open().await;
    assert_eq!(cursor(&store, "bob", "a").await, Some(1));
    assert_eq!(cursor(&store, "Bob", "a").await, None);
}

pub(in crate::store) async fn many_cursors(place: &impl Place) {
    let store = place.open().await;
    let name = |n: u64| format!("u{n}");
    let updates: Vec<_> = (0..5_003).map(|n| update(&name(n), "a", n)).collect();
    store.save_cursors(&updates, 1).await.unwrap();
    for n in [0, 1, 1_999, 2_000, 5_002] {
        assert_eq!(cursor(&store, &name(n), "a").await, Some(n));
    }
}

pub(in crate::store) async fn unused_cursors_are_dropped(place: &impl Place) {
    let store = place.open().await;
    store
        .save_cursors(&[update("a", "1", 5), update("b", "1", 5), update("c", "1", 5)], 1_000)
        .await
        .unwrap();
    store.save_cursors(&[update("b", "1", 5)], 2_000).await.unwrap();
    store.save_cursors(&[update("c", "1", 1)], 1_999).await.unwrap();
    let retention = Retention { max_age_ms: None, max_entries: None, remember_ms: 100_000, cursor_ms: 1_000 };
    assert_eq!(store.retain(retention, 2_000, 100).await.unwrap().cursors, 0);
    assert_eq!(store.retain(retention, 2_001, 100).await.unwrap().cursors, 1);
    assert_eq!(cursor(&store, "a", "1").await, None);
    assert_eq!(store.retain(retention, 3_000, 100).await.unwrap().cursors, 1, "touched at 1,999");
    assert_eq!((cursor(&store, "b", "1").await, cursor(&store, "c", "1").await), (Some(5), None));
    assert!(store.retain(retention, 3_000, 100).await.unwrap().is_nothing());
}

pub(in crate::store) async fn the_epoch_stays_until_a_new_one_is_drawn(place: &impl Place) {
    let store = place.open().await;
    let first = store.epoch().await.unwrap();
    assert!(first.len() >= 16);
    drop(store);
    let store = place.open().await;
    assert_eq!(store.epoch().await.unwrap(), first);
    let second = store.new_epoch().await.unwrap();
    assert_ne!(first, second);
    assert_eq!(store.epoch().await.unwrap(), second);
    drop(store);
    assert_eq!(place.open().await.epoch().await.unwrap(), second);
}

pub(in crate::store) async fn a_closed_store_says_so(place: &impl Place) {
    let store = place.open().await;
    stored(&store, text("alice", "bob", "1")).await;
    store.ping().await.unwrap();
    let clone = store.clone();
    store.close().await.unwrap();
    assert!(matches!(clone.ping().await, Err(StoreError::Passing(_))));
    let record = text("alice", "bob", "2");
    for _ in 0..2 {
        assert!(matches!(clone.append(&[&record]).await, Err(StoreError::Passing(_))));
    }
    clone.close().await.unwrap();
    assert_eq!(stored(&place.open().await, record).await.conv_seq, 2);
}
