//! The store on PostgreSQL, with writers beside each other: claims and locked heads decide (ARCHITECTURE.md "The store").
//!
//! Batches travel as arrays, one statement each. A session is told to use indexes and nested loops only: every statement
//! here is made of look-ups by key, and a plan must not depend on how old the server's statistics are.

mod append;
mod cursors;
mod error;
mod open;
mod read;
mod retain;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use open::Config;
use sqlx::postgres::PgConnection;

use super::server::pool::{Pool, within};
use super::server::retain::Walk;
use super::server::{draw_epoch, retain as retention};
use super::{Removed, Retention, StoreError};

/// The store on PostgreSQL. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Arc<Pool<PgConnection>>,
    walk: Arc<tokio::sync::Mutex<Walk>>,
}

impl Store {
    /// See [`super::Store::epoch`].
    pub(super) async fn epoch(&self) -> Result<String, StoreError> {
        let mut lent = self.pool.lend().await?;
        let query = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'epoch'");
        let epoch = within::<PgConnection, _>(query.fetch_optional(&mut *lent)).await?;
        lent.give_back();
        epoch.ok_or_else(|| StoreError::Damaged("meta has no epoch".to_owned()))
    }

    /// See [`super::Store::new_epoch`].
    pub(super) async fn new_epoch(&self) -> Result<String, StoreError> {
        let epoch = draw_epoch();
        let mut lent = self.pool.lend().await?;
        let query = sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('epoch', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        );
        within::<PgConnection, _>(query.bind(&epoch).execute(&mut *lent)).await?;
        lent.give_back();
        Ok(epoch)
    }

    /// See [`super::Store::retain`].
    pub(super) async fn retain(
        &self,
        policy: Retention,
        now_ms: i64,
        budget: usize,
    ) -> Result<Removed, StoreError> {
        let mut walk = self.walk.lock().await;
        retention::retain(&self.pool, &mut walk, policy, now_ms, budget).await
    }

    /// See [`super::Store::ping`].
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        self.epoch().await.map(drop)
    }

    /// See [`super::Store::close`].
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.pool.close().await;
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("pool", &self.pool).finish_non_exhaustive()
    }
}
