//! The connections: one that writes, lent to one transaction at a time, and a few that read.
//!
//! A connection whose transaction did not end cleanly (an error, a dropped future) is closed, never lent again; closing
//! rolls back. SQLite ends some transactions by itself (disk full), and a driver's own count of them is wrong then. The
//! next one pays for opening a new connection.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error;
use crate::store::StoreError;

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    slot: tokio::sync::Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Open(SqliteConnection),
    /// In use, or given up: the next one opens another.
    Empty,
    Closed,
}

/// The writer's connection while it is lent.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    slot: MutexGuard<'a, Slot>,
    connection: SqliteConnection,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self { options, slot: tokio::sync::Mutex::new(Slot::Open(connection)) }
    }

    /// Waits for the connection; it is lent until `give_back`, and closed if the loan is dropped without.
    pub(super) async fn lend(&self) -> Result<Writing<'_>, StoreError> {
        let busy = |_| StoreError::Passing(sqlx::Error::PoolTimedOut);
        let mut slot = timeout(WAIT, self.slot.lock()).await.map_err(busy)?;
        let connection = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Open(connection) => connection,
            Slot::Empty => self.options.connect().await.map_err(error::classify)?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(StoreError::Passing(sqlx::Error::PoolClosed));
            }
        };
        Ok(Writing { slot, connection })
    }

    /// Waits for the transaction in hand and closes the connection; later calls of `lend` fail.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.lock().await;
        match std::mem::replace(&mut *slot, Slot::Closed) {
            Slot::Open(connection) => connection.close().await.map_err(error::classify),
            Slot::Empty | Slot::Closed => Ok(()),
        }
    }
}

impl Writing<'_> {
    /// The transaction ended: the connection is as good as new.
    pub(super) fn give_back(mut self) {
        *self.slot = Slot::Open(self.connection);
    }
}

impl Deref for Writing<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// The connections that read. They are opened at need and kept.
#[derive(Debug)]
pub(super) struct Readers {
    options: SqliteConnectOptions,
    permits: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

/// A reading connection while it is lent.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// `None` only while it is dropped.
    connection: Option<SqliteConnection>,
    readers: &'a Readers,
    _permit: SemaphorePermit<'a>,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions, count: usize) -> Self {
        Self { options, permits: Semaphore::new(count), idle: Mutex::default() }
    }

    /// Waits for a connection. It is for single SELECTs: those leave it clean whenever the loan is dropped.
    pub(super) async fn lend(&self) -> Result<Reading<'_>, StoreError> {
        let busy = |_| StoreError::Passing(sqlx::Error::PoolTimedOut);
        let closed = |_| StoreError::Passing(sqlx::Error::PoolClosed);
        let permit = timeout(WAIT, self.permits.acquire()).await.map_err(busy)?.map_err(closed)?;
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(error::classify)?,
        };
        Ok(Reading { connection: Some(connection), readers: self, _permit: permit })
    }

    /// Closes what is idle; what is lent is closed when it comes back; later calls of `lend` fail.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        for connection in idle {
            // A reader has nothing to lose; what is wrong with the file, closing the writer says.
            let _ = connection.close().await;
        }
    }
}

impl Reading<'_> {
    /// Something is wrong with this connection or with the file: it is closed rather than lent again.
    pub(super) fn discard(mut self) {
        self.connection = None;
    }
}

impl Deref for Reading<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Reading<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let closed = self.readers.permits.is_closed();
        self.readers.idle.lock().extend(self.connection.take().filter(|_| !closed));
    }
}

/// How long a caller waits for a connection. A transaction takes milliseconds, so a longer wait means that the disk
/// hangs.
const WAIT: Duration = Duration::from_secs(10);
