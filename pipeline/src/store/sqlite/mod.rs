//! The store on SQLite: one file, a write-ahead log, every commit on disk before it is answered.
//!
//! The tables are in `migrations/`. What makes it fast on many users is that a batch changes few pages: timelines have
//! numbers, a head is the last of the entries and no row of its own, the index of names begins with the time-ordered
//! local_id, bodies are appended. Numbers of messages rise in the order of the appends, so within every timeline they
//! rise with the seq: what was stored before some message is a prefix of every timeline, which is what retention
//! removes.
//!
//! It knows of no other process: a lock on the data folder sees to that (ARCHITECTURE.md "The store").

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};

mod append;
mod channels;
mod cursors;
mod epoch;
mod error;
mod floors;
mod heads;
mod open;
mod read;
mod readers;
mod retain;
mod row;
mod script;
#[cfg(test)]
mod tests;
mod wal;
mod writer;
mod written;

use std::sync::Arc;
use std::time::Duration;

pub use error::OpenError;
pub use open::Config;
use readers::Readers;
use retain::Walk;
use script::{Answers, Script};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use writer::Writer;

use super::StoreError;

/// The store on SQLite. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    walk: Arc<tokio::sync::Mutex<Walk>>,
}

impl Store {
    fn new(writer: Writer, readers: Readers) -> Self {
        Self { writer: Arc::new(writer), readers: Arc::new(readers), walk: Arc::default() }
    }

    /// See [`super::Store::keep_up`].
    pub(super) async fn keep_up(&self, stop: &CancellationToken) {
        self.writer.keep_log_short(stop).await;
    }

    /// See [`super::Store::ping`].
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.read_optional(sqlx::query("SELECT value FROM meta WHERE name = 'epoch'")).await.map(drop)
    }

    /// See [`super::Store::close`].
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.readers.close().await;
        self.writer.close().await
    }

    /// Runs a SELECT; its rows.
    async fn read_all(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        self.read(async |reading| query.fetch_all(reading).await).await
    }

    /// Runs SELECTs; the rows of each.
    async fn read_script(&self, script: Script) -> Result<Answers, StoreError> {
        self.read(async |reading| script.run(reading).await).await
    }

    /// Runs a SELECT; its first row.
    async fn read_optional(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Option<SqliteRow>, StoreError> {
        self.read(async |reading| query.fetch_optional(reading).await).await
    }

    /// Reads with a connection that is lent for it; a connection with which something went wrong is closed.
    ///
    /// Reading has a time limit, since the write-ahead log grows for as long as somebody reads from it.
    async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let mut reading = self.readers.lend().await?;
        let late = |_| Err(sqlx::Error::PoolTimedOut);
        let result = timeout(WAIT, work(&mut reading)).await.unwrap_or_else(late);
        result.map_err(|error| {
            reading.discard();
            error::classify(error)
        })
    }
}

/// How long a caller waits for a connection, and reads. Both take milliseconds, so a longer wait means that the disk
/// hangs.
const WAIT: Duration = Duration::from_secs(10);
