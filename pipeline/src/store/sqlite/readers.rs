//! The connections that read: a few, opened at need and kept, each lent to one SELECT at a time.

use std::ops::{Deref, DerefMut};

use parking_lot::Mutex;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{WAIT, error};
use crate::store::StoreError;

/// The connections that read.
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
