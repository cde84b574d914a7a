//! The sequencer on SQLite, with the embedded log here and with Kafka in `kafka`.

mod child;
mod kafka;

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;
use tidegate_proto::id::UserId;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Code, Receipt, ReceiptStatus};

use super::*;
use crate::log::contract::{Answered, record, within};
use crate::log::{self, Waiter};
use crate::presence::{Presence, memory};
use crate::pusher::dial::Dialer;
use crate::pusher::link::{self, Receiver};
use crate::store::{Range, sqlite};

/// A store in a folder of its own, and a pusher whose only gateway is `g`.
struct World {
    folder: TempDir,
    store: Store,
    metrics: Metrics,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = open_store(folder.path().join("store.sqlite")).await;
        Self { folder, store, metrics: Metrics::default() }
    }

    fn sequencer(&self) -> (Sequencer, Receiver) {
        sequencer(self.store.clone(), &self.metrics)
    }

    /// Another connection to the database.
    async fn client(&self) -> SqliteConnection {
        let path = self.folder.path().join("store.sqlite");
        sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap()
    }

    /// From now on the store refuses the message of that number.
    async fn refuse(&self, number: u64) {
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON names WHEN CAST(NEW.local_id AS TEXT) = '{number}' \
             BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        );
        let mut client = self.client().await;
        sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(&mut client).await.unwrap();
        client.close().await.unwrap();
    }

    async fn inbox(&self, user: &str) -> Vec<(u64, u64)> {
        inbox(&self.store, user).await
    }
}

async fn open_store(path: PathBuf) -> Store {
    Store::Sqlite(sqlite::Store::open(&sqlite::Config::new(path)).await.unwrap())
}

fn sequencer(store: Store, metrics: &Metrics) -> (Sequencer, Receiver) {
    let (local, receiver) = link::local(metrics.link.clone());
    let presence = Presence::Memory(memory::Presence::default());
    let own = Some(("g".into(), local));
    let pusher = Pusher::new(presence, own, Dialer::default(), metrics.pusher.clone());
    (Sequencer::new(store, pusher, metrics.clone()), receiver)
}

/// The entries of a user's inbox: seq, and the message's number.
async fn inbox(store: &Store, user: &str) -> Vec<(u64, u64)> {
    let timeline = Timeline::inbox(&UserId::new(user).unwrap());
    let mut entries = Vec::new();
    loop {
        let after = entries.last().map_or(0, |(seq, _)| *seq);
        let page = store.page(&timeline, Range::After(after), 500, 1 << 20, 0).await.unwrap();
        entries.extend(page.entries.into_iter().map(|(seq, entry)| match entry {
            crate::store::PageEntry::Msg(body) => (seq, body.local_id().parse().unwrap()),
            crate::store::PageEntry::Gone => panic!("{seq} is gone"),
        }));
        if !page.more {
            return entries;
        }
    }
}

/// Seqs from 1 on with these numbers.
fn dense(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    (1..).zip(numbers).collect()
}

#[expect(clippy::disallowed_methods, reason = "the assembly of these tests")]
fn start(sequencer: Sequencer, reader: Reader) -> tokio::task::JoinHandle<()> {
    tokio::spawn(sequencer.run(reader))
}

/// An embedded log of messages with these numbers, closed, so that a sequencer ends when it has done them.
async fn written(numbers: std::ops::Range<u64>, answered: &Arc<Answered>) -> Reader {
    let (log, reader) = log::embedded::open();
    let log = log::Log::Embedded(log);
    for number in numbers {
        log.append(record(("a", "b"), number, 5), Waiter::new(answered.clone(), number)).await.unwrap();
    }
    Reader::Embedded(reader)
}

#[tokio::test]
async fn what_the_store_refuses_stands_alone_and_the_others_go_on_in_order() {
    let world = World::new().await;
    world.refuse(11).await;
    let answered = Arc::new(Answered::default());
    let reader = written(0..20, &answered).await;
    let (sequencer, _receiver) = world.sequencer();
    within(sequencer.run(reader)).await;
    let answers = answered.wait(20).await;
    for (number, answer) in answers {
        match answer {
            Answer::Accepted { .. } => assert_ne!(number, 11),
            Answer::Rejected(refusal) => assert_eq!((number, refusal.code), (11, Code::Internal)),
            Answer::Passed { .. } => panic!("nothing here is volatile"),
        }
    }
    assert_eq!(world.inbox("b").await, dense((0..20).filter(|number| *number != 11)));
}

#[tokio::test]
async fn a_store_that_stays_away_is_given_up_and_the_senders_are_told() {
    let world = World::new().await;
    world.store.close().await.unwrap();
    let answered = Arc::new(Answered::default());
    let reader = written(0..3, &answered).await;
    let (sequencer, _receiver) = world.sequencer();
    within(sequencer.run(reader)).await;
    for (_, answer) in answered.wait(3).await {
        assert!(matches!(answer, Answer::Rejected(refusal) if refusal.code == Code::Unavailable));
    }
    assert_eq!((world.metrics.append_retried.get(), world.metrics.append_given_up.get()), (4, 1));
}
