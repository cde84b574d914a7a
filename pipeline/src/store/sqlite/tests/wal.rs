//! The write-ahead log stays short: beside the commits, without anybody who writes it back, and while somebody reads.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::record::Record;
use crate::store::sqlite::wal;

/// What the log may grow until somebody looks at its length: a message changes ten pages at most.
const UNMEASURED: u64 = 17 * 10;

/// Somebody else on the file.
struct Other(SqliteConnection);

impl Other {
    async fn connect(folder: &Folder) -> Self {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path());
        Self(options.connect().await.unwrap())
    }

    /// Pages in the log.
    async fn log_pages(&mut self) -> i64 {
        sqlx::query(wal::LENGTH).fetch_one(&mut self.0).await.unwrap().get(1)
    }

    async fn run(&mut self, sql: &'static str) {
        sqlx::query(sql).fetch_all(&mut self.0).await.unwrap();
    }
}

impl Folder {
    async fn open_with_log(&self, pages: u64) -> Store {
        let config = Config { wal_bytes: pages * 4_096, ..Config::new(self.path()) };
        Store::open(&config).await.unwrap()
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.path().with_extension("db-wal")).map_or(0, |file| file.len())
    }
}

async fn append_one(store: &Store, number: usize) -> Result<(), StoreError> {
    let record: Record = text("alice", "bob", &number.to_string());
    store.append(&[&record]).await.map(drop)
}

#[tokio::test]
async fn it_is_started_over_beside_constant_commits() {
    const DUE: i64 = 600;
    let folder = Folder::new();
    let store = folder.open_with_log(DUE as u64).await;
    let mut other = Other::connect(&folder).await;
    let stop = CancellationToken::new();
    let commits = async {
        let mut longest = 0;
        for number in 0.. {
            append_one(&store, number).await.unwrap();
            let pages = other.log_pages().await;
            if pages < longest {
                break;
            }
            longest = pages;
        }
        stop.cancel();
        longest
    };
    let (longest, ()) = tokio::join!(commits, store.keep_up(&stop));
    assert!(longest >= DUE, "it is let grow so that a page is written back once: {longest}");
    assert!(longest < 4 * DUE, "the writer had to do it: {longest}");
    let stored = whole(&AnyStore::Sqlite(store), &inbox("bob")).await;
    assert!(stored.is_sorted_by_key(|local_id| local_id.parse::<usize>().unwrap()));
}

#[tokio::test]
async fn the_writer_shortens_it_when_nobody_else_does() {
    const DUE: u64 = 10;
    let folder = Folder::new();
    let store = folder.open_with_log(DUE).await;
    for number in 0..200 {
        append_one(&store, number).await.unwrap();
        assert!(folder.log_bytes() < (4 * DUE + UNMEASURED) * 4_200, "after {number}");
    }
    assert_eq!(whole(&AnyStore::Sqlite(store), &inbox("bob")).await.len(), 200);
}

#[tokio::test]
async fn it_is_bounded_while_somebody_reads_and_then_short_again() {
    const DUE: u64 = 8;
    let folder = Folder::new();
    let store = folder.open_with_log(DUE).await;
    append_one(&store, 0).await.unwrap();
    let mut reader = Other::connect(&folder).await;
    reader.run("BEGIN").await;
    reader.run("SELECT * FROM messages").await;

    let stop = CancellationToken::new();
    let commits = async {
        let mut stored = 1;
        let full = loop {
            match append_one(&store, stored).await {
                Ok(()) => stored += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, StoreError::Passing(_)), "{full:?}");
        let source = std::error::Error::source(&full).unwrap().to_string();
        assert!(source.contains("something reads the database for long"), "{source}");
        assert!(folder.log_bytes() < (64 * DUE + UNMEASURED) * 4_200, "{}", folder.log_bytes());
        // Reads go on, with everything that was answered.
        let any = AnyStore::Sqlite(store.clone());
        assert_eq!(whole(&any, &inbox("bob")).await.len(), stored);

        reader.run("COMMIT").await;
        // It recovers by itself, and the file is cut.
        append_one(&store, stored).await.unwrap();
        assert!(folder.log_bytes() <= 4 * DUE * 4_096, "{}", folder.log_bytes());
        assert_eq!(whole(&any, &inbox("bob")).await.len(), stored + 1);
        stop.cancel();
    };
    tokio::join!(commits, store.keep_up(&stop));
    reader.0.close().await.unwrap();
}

#[tokio::test]
async fn closing_waits_for_who_writes_back_and_leaves_no_log() {
    let folder = Folder::new();
    let store = folder.open_with_log(8).await;
    let stop = CancellationToken::new();
    let commits = async {
        for number in 0..100 {
            append_one(&store, number).await.unwrap();
        }
        store.close().await.unwrap();
        assert!(!folder.path().with_extension("db-wal").exists(), "the last connection removes it");
        stop.cancel();
    };
    let both = async { tokio::join!(commits, store.keep_up(&stop)) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("neither waits for the other");
    assert_eq!(whole(&folder.open().await, &inbox("bob")).await.len(), 100);
}
