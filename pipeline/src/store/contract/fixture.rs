//! Records to append, and short ways to ask a store.

use tidegate_proto::Refusal;
use tidegate_proto::id::{ChannelName, DeviceId, LocalId, UserId};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Msg;

use crate::record::Record;
use crate::store::{Outcome, Page, PageEntry, Range, Store, Stored};

pub(in crate::store) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(in crate::store) fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

pub(in crate::store) fn inbox(id: &str) -> Timeline {
    Timeline::inbox(&user(id))
}

pub(in crate::store) fn direct(a: &str, b: &str) -> Timeline {
    Timeline::direct(&user(a), &user(b))
}

pub(in crate::store) fn channel(name: &str) -> Timeline {
    Timeline::channel(&ChannelName::new(name).unwrap())
}

/// A record of what `from` sends.
pub(in crate::store) fn record(from: &str, msg: Msg, send_time: i64) -> Record {
    Record::new(msg, &user(from), send_time, || LocalId::new("unnamed").unwrap(), None).unwrap()
}

/// A text from one user to another, sent at `send_time` 1,000.
pub(in crate::store) fn text(from: &str, to: &str, local_id: &str) -> Record {
    sent_at(from, to, local_id, 1_000)
}

pub(in crate::store) fn sent_at(from: &str, to: &str, local_id: &str, send_time: i64) -> Record {
    record(from, msg(to, local_id), send_time)
}

pub(in crate::store) fn msg(to: &str, local_id: &str) -> Msg {
    let content = format!("this is {local_id}").into();
    Msg { receiver_id: to.into(), local_id: local_id.into(), content, ..Msg::default() }
}

/// Appends the records as one batch.
pub(in crate::store) async fn append(store: &Store, records: &[Record]) -> Vec<Outcome> {
    let records: Vec<&Record> = records.iter().collect();
    let outcomes = store.append(&records).await.unwrap();
    assert_eq!(outcomes.len(), records.len());
    outcomes
}

/// Appends a record that must be stored.
pub(in crate::store) async fn stored(store: &Store, record: Record) -> Stored {
    into_stored(append(store, &[record]).await.remove(0))
}

pub(in crate::store) fn into_stored(outcome: Outcome) -> Stored {
    match outcome {
        Outcome::Stored(stored) => stored,
        Outcome::Refused(refusal) => panic!("refused: {refusal}"),
    }
}

pub(in crate::store) fn into_refusal(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        Outcome::Stored(stored) => panic!("stored: {stored:?}"),
    }
}

/// A page without limits, at time 2,000.
pub(in crate::store) async fn page(store: &Store, timeline: &Timeline, range: Range) -> Page {
    store.page(timeline, range, 100_000, usize::MAX, 2_000).await.unwrap()
}

/// The local_ids of a whole timeline, "-" for what is gone; its seqs are dense from its floor to its head.
pub(in crate::store) async fn whole(store: &Store, timeline: &Timeline) -> Vec<String> {
    let page = page(store, timeline, Range::After(0)).await;
    assert!(!page.more);
    let seqs: Vec<u64> = page.entries.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (page.bounds.floor..=page.bounds.head).collect::<Vec<_>>(), "{timeline}");
    local_ids(&page)
}

pub(in crate::store) fn local_ids(page: &Page) -> Vec<String> {
    let local_id = |(_, entry): &(u64, PageEntry)| match entry {
        PageEntry::Msg(body) => body.local_id().to_owned(),
        PageEntry::Gone => "-".to_owned(),
    };
    page.entries.iter().map(local_id).collect()
}
