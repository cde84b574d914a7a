//! The connection that writes, lent to one transaction at a time.
//!
//! A connection whose transaction did not end cleanly (an error, a dropped future) is closed, never lent again; closing
//! rolls back. SQLite ends some transactions by itself (disk full), and a driver's own count of them is wrong then. The
//! next one pays for opening a new connection.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::heads::Heads;
use super::script::Script;
use super::wal::{self, Need, Wal};
use super::{WAIT, error};
use crate::store::StoreError;

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    slot: Mutex<Slot>,
    wal: Wal,
}

#[derive(Debug)]
enum Slot {
    Open(Connection),
    /// In use, or given up: the next one opens another.
    Empty,
    Closed,
}

#[derive(Debug)]
struct Connection {
    sqlite: SqliteConnection,
    heads: Heads,
    /// Transactions since the log's length was last asked for.
    unmeasured: u32,
}

/// The writer's connection while it is lent.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    slot: MutexGuard<'a, Slot>,
    connection: Connection,
    wal: &'a Wal,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection, wal: Wal) -> Self {
        Self { options, slot: Mutex::new(Slot::Open(Connection::new(connection))), wal }
    }

    /// Waits for the connection; it is lent until `commit` or `give_back`, and closed if the loan is dropped without.
    pub(super) async fn lend(&self) -> Result<Writing<'_>, StoreError> {
        let mut slot = self.hold().await?;
        if matches!(*slot, Slot::Closed) {
            return Err(StoreError::Passing(sqlx::Error::PoolClosed));
        }
        self.make_room().await?;
        let connection = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Open(connection) => connection,
            Slot::Empty | Slot::Closed => {
                Connection::new(self.options.connect().await.map_err(error::classify)?)
            }
        };
        Ok(Writing { slot, connection, wal: &self.wal })
    }

    /// Writes the log back whenever it is due, until `stop`. It ends between two rounds, never within one.
    pub(super) async fn keep_log_short(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.wal.due()).await.is_some() {
            if let Err(error) = self.write_back().await {
                warn!(error = &error as &dyn std::error::Error, "the write-ahead log is written back later");
                stop.run_until_cancelled(sleep(RETRY_AFTER)).await;
            }
        }
    }

    /// Waits for the transaction in hand and closes the connection; later calls of `lend` fail.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.lock().await;
        let last = std::mem::replace(&mut *slot, Slot::Closed);
        self.wal.close().await;
        match last {
            // The last connection to close writes the log back and removes it.
            Slot::Open(connection) => connection.sqlite.close().await.map_err(error::classify),
            Slot::Empty | Slot::Closed => Ok(()),
        }
    }

    async fn hold(&self) -> Result<MutexGuard<'_, Slot>, StoreError> {
        let busy = |_| StoreError::Passing(sqlx::Error::PoolTimedOut);
        timeout(WAIT, self.slot.lock()).await.map_err(busy)
    }

    /// One round: most of it beside the commits, the rest between two of them.
    async fn write_back(&self) -> Result<(), StoreError> {
        if self.wal.catch_up().await? {
            let _held = self.hold().await?;
            self.wal.start_over().await?;
        }
        Ok(())
    }

    /// Shortens a log that grew although it is written back beside the commits. The writer is held.
    async fn make_room(&self) -> Result<(), StoreError> {
        let need = self.wal.need();
        if need == Need::Nothing {
            return Ok(());
        }
        let started_over = self.wal.start_over().await;
        match need {
            Need::Room => started_over.map(drop),
            // Appends may still succeed, and if not, they say so.
            _ => Ok(()),
        }
    }
}

impl Connection {
    fn new(sqlite: SqliteConnection) -> Self {
        Self { sqlite, heads: Heads::default(), unmeasured: 0 }
    }
}

impl Writing<'_> {
    /// What is known of timelines without asking.
    pub(super) fn heads(&mut self) -> &mut Heads {
        &mut self.connection.heads
    }

    /// Runs a script, commits, and gives the connection back.
    pub(super) async fn commit(mut self, script: Script) -> Result<(), StoreError> {
        self.try_commit(script).await.map_err(error::classify)?;
        self.give_back();
        Ok(())
    }

    /// Runs a script and commits. After an error it is unknown whether a transaction is open.
    pub(super) async fn try_commit(&mut self, mut script: Script) -> Result<(), sqlx::Error> {
        script.statement("COMMIT").statement(wal::LENGTH);
        let answers = script.run(self).await?;
        self.wal.committed(answers.last().map(|rows| &rows[..]));
        Ok(())
    }

    /// Runs a script of one small statement, which is its own transaction. After an error no transaction is open.
    pub(super) async fn try_alone(&mut self, mut script: Script) -> Result<(), sqlx::Error> {
        self.connection.unmeasured += 1;
        if self.connection.unmeasured < MEASURE_AFTER {
            return script.run(self).await.map(drop);
        }
        self.connection.unmeasured = 0;
        script.statement(wal::LENGTH);
        let answers = script.run(self).await?;
        self.wal.committed(answers.last().map(|rows| &rows[..]));
        Ok(())
    }

    /// No transaction is open: the connection is as good as new.
    pub(super) fn give_back(mut self) {
        *self.slot = Slot::Open(self.connection);
    }
}

impl Deref for Writing<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection.sqlite
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection.sqlite
    }
}

/// Small transactions after which the log's length is asked for. Each changes some ten pages, with the largest bodies
/// 200, and that is less than the length at which the log is due.
const MEASURE_AFTER: u32 = 16;
/// After an error of the disk.
const RETRY_AFTER: Duration = Duration::from_secs(1);
