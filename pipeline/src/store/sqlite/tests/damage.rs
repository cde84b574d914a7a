//! Files that are not what they should be, and a disk without room.

use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::*;
use crate::store::Outcome;
use crate::store::contract::{into_refusal, msg, record};
use tidegate_proto::v1::{Code, Msg};

impl Folder {
    /// Runs a statement past the store.
    async fn tamper(&self, sql: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// Gives the writer a database that may have at most so many pages, as a full disk would.
async fn limit_pages(store: &Store, pages: u32) {
    let mut writing = store.writer.lend().await.unwrap();
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
        .fetch_one(&mut *writing)
        .await
        .unwrap();
    assert!(row.get::<i64, _>(0) >= i64::from(pages));
    writing.give_back();
}

#[tokio::test]
async fn a_full_disk_passes() {
    let folder = Folder::new();
    let sqlite = folder.open_sqlite().await;
    let store = AnyStore::Sqlite(sqlite.clone());
    append(&store, &[text("alice", "bob", "0")]).await;
    let batch = |n: usize| {
        let large =
            |m| record("alice", Msg { content: vec![1; 4_000].into(), ..msg("bob", &format!("{n}-{m}")) }, 1);
        (0..8).map(large).collect::<Vec<_>>()
    };
    limit_pages(&sqlite, 64).await;
    let mut stored = 0;
    let full = loop {
        let records = batch(stored);
        match store.append(&records.iter().collect::<Vec<_>>()).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Passing(_)), "{full:?}");
    assert!(stored > 1);
    // Reads go on, and nothing of the batch that failed is there.
    assert_eq!(whole(&store, &inbox("bob")).await.len(), 1 + 8 * stored);
    // It recovers by itself: the connection that failed was replaced, and the limit was the old one's.
    let outcomes = append(&store, &batch(stored)).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored(stored) if !stored.repeated)));
    assert_eq!(whole(&store, &inbox("bob")).await.len(), 1 + 8 * (stored + 1));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = Folder::new();
    folder.open().await.close().await.unwrap();
    folder
        .tamper("INSERT INTO _sqlx_migrations VALUES (99, 'of the future', '2030-01-01', 1, x'00', 0)")
        .await;
    let error = Store::open(&Config::new(folder.path())).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, known: 2, .. }), "{error:?}");
    assert!(error.to_string().ends_with("has schema 99, this program knows 2: use a newer tidegate"));
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path().parent().unwrap()).unwrap();
    std::fs::write(folder.path(), [b'x'; 8_192]).unwrap();
    let error = Store::open(&Config::new(folder.path())).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");

    let under_a_file = folder.path().join("store.db");
    let error = Store::open(&Config::new(under_a_file)).await.unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error:?}");
}

#[tokio::test]
async fn damaged_rows_are_served_as_gone() {
    let folder = Folder::new();
    let store = folder.open().await;
    let batch: Vec<_> = (1..=6).map(|n| text("alice", "bob", &n.to_string())).collect();
    append(&store, &batch).await;
    folder.tamper("UPDATE messages SET body = x'ff' WHERE id = 2").await;
    folder.tamper("DELETE FROM messages WHERE id = 4").await;
    folder.tamper("DELETE FROM entries WHERE message = 5").await;
    assert_eq!(whole(&store, &inbox("bob")).await, ["1", "-", "3", "-", "-", "6"]);
}

#[tokio::test]
async fn a_damaged_name_harms_no_other() {
    for damage in [
        "UPDATE names SET placements = x'ff'",
        "UPDATE names SET placements = x'0101'",
        "UPDATE names SET placements = NULL",
        "UPDATE names SET hash = x'00'",
        "UPDATE names SET refused = 1000000, reason = ''",
    ] {
        let folder = Folder::new();
        let store = folder.open().await;
        append(&store, &[text("alice", "bob", "1")]).await;
        folder.tamper(damage).await;
        let outcomes = append(&store, &[text("alice", "bob", "1"), text("alice", "bob", "2")]).await;
        assert_eq!(into_refusal(outcomes[0].clone()).code, Code::Internal, "{damage}");
        assert!(matches!(outcomes[1], Outcome::Stored(_)), "{damage}");
    }
}

#[tokio::test]
async fn two_stores_on_one_file_wait_for_each_other() {
    let folder = Folder::new();
    let (one, two) = (folder.open().await, folder.open().await);
    let many = |store: AnyStore, from: &'static str| async move {
        for n in 0..50 {
            append(&store, &[text(from, "bob", &n.to_string())]).await;
        }
    };
    tokio::join!(many(one.clone(), "alice"), many(two, "carol"));
    assert_eq!(whole(&one, &inbox("bob")).await.len(), 100);
}
