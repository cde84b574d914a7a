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
use sqlx::sqlite::{SqliteArguments, SqliteRow};

mod append;
mod connections;
mod cursors;
mod epoch;
mod error;
mod open;
mod placements;
mod read;
mod retain;
mod row;
mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use connections::{Readers, Writer};
pub use error::OpenError;
pub use open::Config;
use retain::Walk;
use script::{Answers, Script};

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
        let mut reading = self.readers.lend().await?;
        match query.fetch_all(&mut *reading).await {
            Ok(rows) => Ok(rows),
            Err(error) => {
                reading.discard();
                Err(error::classify(error))
            }
        }
    }

    /// Runs SELECTs; the rows of each.
    async fn read_script(&self, script: Script) -> Result<Answers, StoreError> {
        let mut reading = self.readers.lend().await?;
        match script.run(&mut reading).await {
            Ok(answers) => Ok(answers),
            Err(error) => {
                reading.discard();
                Err(error::classify(error))
            }
        }
    }

    /// Runs a SELECT; its first row.
    async fn read_optional(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Option<SqliteRow>, StoreError> {
        let mut reading = self.readers.lend().await?;
        match query.fetch_optional(&mut *reading).await {
            Ok(row) => Ok(row),
            Err(error) => {
                reading.discard();
                Err(error::classify(error))
            }
        }
    }
}
