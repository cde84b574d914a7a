//! Connections to a server: at most so many, opened at need, kept, lent to one caller at a time.
//!
//! A connection whose work did not end cleanly (an error, a dropped future) is closed, never lent again; the server rolls
//! back. So no state of a connection is ever in doubt.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::{ConnectOptions as _, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::store::StoreError;

/// What an engine says of its connections.
pub(in crate::store) trait Engine: Connection + Sized {
    /// Makes a fresh connection's session what our SQL expects.
    fn set_up(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Sorts an error.
    fn classify(error: sqlx::Error) -> StoreError;
}

/// The connections to a server.
pub(in crate::store) struct Pool<C: Connection> {
    options: C::Options,
    count: u32,
    permits: Semaphore,
    idle: Mutex<Vec<(Instant, C)>>,
}

/// A connection while it is lent.
pub(in crate::store) struct Lent<'a, C: Connection> {
    connection: C,
    pool: &'a Pool<C>,
    _permit: SemaphorePermit<'a>,
}

impl<C: Engine> Pool<C> {
    pub(in crate::store) fn new(options: C::Options, count: u32) -> Self {
        let count = count.max(1);
        Self { options, count, permits: Semaphore::new(count as usize), idle: Mutex::default() }
    }

    /// Waits for a connection; it is lent until `give_back`, and closed if the loan is dropped without.
    pub(in crate::store) async fn lend(&self) -> Result<Lent<'_, C>, StoreError> {
        let busy = |_| StoreError::Passing(sqlx::Error::PoolTimedOut);
        let closed = |_| StoreError::Passing(sqlx::Error::PoolClosed);
        let permit = timeout(WAIT, self.permits.acquire()).await.map_err(busy)?.map_err(closed)?;
        let connection = match self.idle().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lent { connection, pool: self, _permit: permit })
    }

    /// Waits for what is lent and closes everything; later calls of `lend` fail.
    pub(in crate::store) async fn close(&self) {
        // Whoever takes longer finds the pool closed when it gives back.
        let _all = timeout(WAIT, self.permits.acquire_many(self.count)).await;
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        for (_, connection) in idle {
            // Nothing is lost with it: every transaction has ended.
            let _ = timeout(WAIT, connection.close()).await;
        }
    }

    /// The one that was used last, if it is still good: a server that was restarted has dropped it.
    async fn idle(&self) -> Option<C> {
        loop {
            let (since, mut connection) = self.idle.lock().pop()?;
            if since.elapsed() < TRUSTED || within::<C, _>(connection.ping()).await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// One that counts for none of the pool's, for as long as the caller wants it.
    pub(in crate::store) async fn connect(&self) -> Result<C, StoreError> {
        let mut connection: C = within::<C, _>(self.options.connect()).await?;
        within::<C, _>(connection.set_up()).await?;
        Ok(connection)
    }
}

impl<C: Connection> Lent<'_, C> {
    /// Its work ended cleanly, outside of any transaction.
    pub(in crate::store) fn give_back(self) {
        if !self.pool.permits.is_closed() {
            self.pool.idle.lock().push((Instant::now(), self.connection));
        }
    }
}

/// Waits for the server, at most `LIMIT`, and sorts the error. What is over the limit leaves the connection in doubt: do
/// not give it back.
pub(in crate::store) async fn within<C: Engine, T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    limited(work).await.map_err(C::classify)
}

/// Waits for the server, at most `LIMIT`.
pub(in crate::store) async fn limited<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(LIMIT, work).await.unwrap_or_else(|_| {
        let text = "the database server did not answer in time";
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
    })
}

impl<C: Connection> Deref for Lent<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C: Connection> DerefMut for Lent<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<C: Connection> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they have the password.
        f.debug_struct("Pool")
            .field("count", &self.count)
            .field("permits", &self.permits)
            .finish_non_exhaustive()
    }
}

/// How long a caller waits for a connection that another one has.
const WAIT: Duration = Duration::from_secs(10);
/// How long the server has for a statement; it gives up by itself at `STATEMENT_LIMIT`.
const LIMIT: Duration = Duration::from_secs(15);
/// A connection used so recently is lent without asking whether it still works.
const TRUSTED: Duration = Duration::from_secs(1);
/// The server's own limit to a statement.
pub(in crate::store) const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
/// The server's own limit to the wait for a row.
pub(in crate::store) const LOCK_LIMIT: Duration = Duration::from_secs(5);
