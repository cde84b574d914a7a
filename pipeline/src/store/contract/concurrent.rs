//! Appenders and readers beside each other, and appends that are dropped.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tidegate_proto::timeline::Timeline;

use super::{Place, append, inbox, into_stored, page, text, user, whole};
use crate::record::Record;
use crate::store::{Range, Store};

const USERS: [&str; 4] = ["a", "b", "c", "d"];
const APPENDERS: usize = 4;
const BATCHES: usize = 25;
const RECORDS: usize = 7;

/// A batch of an appender: to everybody in turn, so that the inboxes of all appenders overlap.
fn batch(appender: usize, batch: usize) -> Vec<Record> {
    let to = |n| USERS[(appender + n) % USERS.len()];
    (0..RECORDS).map(|n| text(USERS[appender], to(n), &format!("{batch:03}-{n}"))).collect()
}

pub(in crate::store) async fn appenders_and_readers_beside_each_other(place: &impl Place) {
    let store = place.open().await;
    let done = AtomicBool::new(false);
    let appender = |number: usize| {
        let store = &store;
        async move {
            for n in 0..BATCHES {
                append(store, &batch(number, n)).await;
            }
        }
    };
    let appenders = async {
        tokio::join!(appender(0), appender(1), appender(2), appender(3));
        done.store(true, Ordering::Relaxed);
    };
    let (_, one, two) = tokio::join!(appenders, follow(&store, "a", &done), follow(&store, "b", &done));

    for (owner, seen) in [("a", one), ("b", two)] {
        assert_eq!(seen, whole(&store, &inbox(owner)).await, "what a reader saw is what there is");
    }
    for owner in USERS {
        let local_ids: Vec<_> = senders_and_local_ids(&store, &inbox(owner)).await;
        let distinct: HashSet<_> = local_ids.iter().collect();
        assert_eq!(distinct.len(), local_ids.len(), "nothing twice");
        for sender in USERS {
            let own: Vec<_> = local_ids.iter().filter(|(from, _)| from == sender).collect();
            assert!(own.is_sorted(), "{sender}'s order in {owner}'s inbox");
        }
        let expected = (0..APPENDERS).flat_map(|n| batch(n, 0));
        let expected = expected.filter(|record| record.recipients().contains(&user(owner))).count();
        assert_eq!(local_ids.len(), expected * BATCHES);
    }
}

/// Reads an inbox as it grows, until all appends are done; the local_ids in the order seen. Never a hole.
async fn follow(store: &Store, owner: &str, done: &AtomicBool) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let finished = done.load(Ordering::Relaxed);
        let after = seen.len() as u64;
        let page = page(store, &inbox(owner), Range::After(after)).await;
        let seqs = page.entries.iter().map(|(seq, _)| *seq);
        assert!(seqs.eq(after + 1..=page.bounds.head), "a hole or a part of a transaction");
        seen.extend(super::local_ids(&page));
        if finished {
            return seen;
        }
    }
}

async fn senders_and_local_ids(store: &Store, timeline: &Timeline) -> Vec<(String, String)> {
    let page = page(store, timeline, Range::After(0)).await;
    let pair = |(_, entry)| match entry {
        crate::store::PageEntry::Msg(body) => {
            let msg = crate::body::Body::msg(&body, 0);
            (msg.send_id, msg.local_id)
        }
        crate::store::PageEntry::Gone => panic!("nothing expires here"),
    };
    page.entries.into_iter().map(pair).collect()
}

/// Drops appends after their first, second, third … wait.
pub(in crate::store) async fn a_dropped_append_leaves_nothing_half_done(place: &impl Place) {
    let store = place.open().await;
    for waits in 0..40 {
        let records = [text("a", "b", &format!("{waits}-1")), text("a", "b", &format!("{waits}-2"))];
        let refs: Vec<&Record> = records.iter().collect();
        wait_times(waits, store.append(&refs)).await;
        let outcomes = append(&store, &records).await;
        let seqs: Vec<u64> = outcomes.into_iter().map(|outcome| into_stored(outcome).conv_seq).collect();
        assert_eq!(seqs, [2 * waits as u64 + 1, 2 * waits as u64 + 2], "both or none, and only once");
    }
    assert_eq!(whole(&store, &inbox("b")).await.len(), 80);
}

/// Polls a future to its end or to its `count`th wait, and drops it there.
async fn wait_times<F: Future>(count: usize, future: F) {
    let mut future = pin!(future);
    for _ in 0..count {
        let mut waits = 0;
        let ready = std::future::poll_fn(|context: &mut Context<'_>| {
            waits += 1;
            match future.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if waits > 1 => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        });
        if ready.await {
            return;
        }
    }
    // One last poll with a waker that wakes nobody: it waits somewhere, and is dropped there.
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}
