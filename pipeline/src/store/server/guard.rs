//! Keeps processes off one database that would not push to each other: one whose presence is in memory must be alone.
//!
//! Each process holds a lock of the server's for as long as a connection of its own lives, so that the server lets go of
//! it when the process dies. It guards the start: a process that runs goes on whatever becomes of the connection, and
//! takes the lock again when it can.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::pool::{Engine, Pool, within};
use crate::store::StoreError;

/// Who else may use the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: the other's sessions would not be known here.
    Alone,
    /// Those that say the same.
    Shared,
}

/// Why the database is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// Somebody else uses it.
    #[error(
        "another process uses this database already, and here presence is in memory: neither would push to the other's \
         users. Set presence.url for all processes of a database, or stop the other one"
    )]
    NotAlone,
    /// Somebody uses it alone.
    #[error(
        "a process whose presence is in memory uses this database already: neither would push to the other's users. Set \
         presence.url for all processes of a database, or stop that one"
    )]
    Taken,
    /// The server does not say.
    #[error("it cannot be seen who else uses this database")]
    Store(#[from] StoreError),
}

/// What the guard asks of an engine's connection.
pub(in crate::store) trait Hold: Engine {
    /// Takes the lock for as long as the connection lives; `false` if another one is against it, and then the connection
    /// is to be closed, since it may hold a part.
    async fn try_hold(&mut self, sharing: Sharing) -> Result<bool, sqlx::Error>;
}

/// The lock while it is held.
pub struct Guard<C: Connection> {
    pool: Arc<Pool<C>>,
    sharing: Sharing,
    connection: Option<C>,
}

// Each method has its bound, since the engines' traits are less public than the guard.
impl<C: Connection> Guard<C> {
    /// Takes the lock. One who has just died or stops is waited for.
    pub(in crate::store) async fn take(pool: Arc<Pool<C>>, sharing: Sharing) -> Result<Self, GuardError>
    where
        C: Hold,
    {
        let mut guard = Self { pool, sharing, connection: None };
        let until = Instant::now() + WAIT;
        while !guard.is_held().await? {
            if Instant::now() > until {
                return Err(match sharing {
                    Sharing::Alone => GuardError::NotAlone,
                    Sharing::Shared => GuardError::Taken,
                });
            }
            // At random: two that start together would be against each other again and again.
            sleep(AGAIN.mul_f64(rand::random_range(0.5..1.5))).await;
        }
        Ok(guard)
    }

    /// Holds it until `stop`, and takes it again after a loss of the connection.
    pub(in crate::store) async fn keep(mut self, stop: &CancellationToken)
    where
        C: Hold,
    {
        let mut is_told = false;
        while stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
            let held = stop.run_until_cancelled(self.is_held()).await;
            match held {
                None => break,
                Some(Ok(true)) if is_told => {
                    info!("the database is guarded again");
                    is_told = false;
                }
                Some(Ok(true)) => {}
                Some(Ok(false)) => {
                    is_told = true;
                    error!("another process uses this database without the same presence: stop one of them");
                }
                Some(Err(cause)) if !is_told => {
                    is_told = true;
                    warn!(error = &cause as &dyn std::error::Error, "the database is not guarded for now");
                }
                Some(Err(_)) => {}
            }
        }
        if let Some(connection) = self.connection {
            // Without a farewell the server notices by itself.
            let _ = within::<C, _>(connection.close()).await;
        }
    }

    /// Whether it is held still, or again.
    async fn is_held(&mut self) -> Result<bool, StoreError>
    where
        C: Hold,
    {
        if let Some(mut connection) = self.connection.take()
            && within::<C, _>(connection.ping()).await.is_ok()
        {
            self.connection = Some(connection);
            return Ok(true);
        }
        let mut connection = self.pool.connect().await?;
        let held = within::<C, _>(connection.try_hold(self.sharing)).await?;
        if held {
            self.connection = Some(connection);
        } else {
            within::<C, _>(connection.close()).await?;
        }
        Ok(held)
    }
}

impl<C: Connection> fmt::Debug for Guard<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("sharing", &self.sharing).finish_non_exhaustive()
    }
}

/// For how long another one may be against it: longer than a server takes to notice that a process is dead.
const WAIT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);
/// Often enough that no server takes the connection for idle.
const LOOK_EVERY: Duration = Duration::from_secs(5);
