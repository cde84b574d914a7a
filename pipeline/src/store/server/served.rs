//! The store on a server: what does not depend on which one. Appends and reads are the engine's.

use std::fmt;
use std::sync::Arc;

use sqlx::Connection;

use super::channels::retain_channels;
use super::cursors::{CURSORS_AT_ONCE, merged};
use super::guard::{Guard, GuardError, Hold, Sharing};
use super::pool::{Engine, Pool, within};
use super::retain::{Retain, Walk, retain};
use crate::channels::Rules;
use crate::store::{CursorUpdate, Removed, Retention, StoreError};

/// The store on a server. Cheap to clone.
pub struct Store<C: Connection> {
    pub(in crate::store) pool: Arc<Pool<C>>,
    walk: Arc<tokio::sync::Mutex<Walk>>,
}

/// What the store asks of an engine's connection beside appends, reads and retention.
pub(in crate::store) trait Serve: Retain {
    /// The epoch that is stored.
    async fn epoch(&mut self) -> Result<Option<String>, sqlx::Error>;

    /// Stores an epoch.
    async fn set_epoch(&mut self, epoch: &str) -> Result<(), sqlx::Error>;

    /// Keeps cursors that were used at `now_ms`: each device once, in the order of the table's key.
    async fn save_cursors(
        &mut self,
        cursors: &[(&CursorUpdate, u64)],
        now_ms: i64,
    ) -> Result<(), sqlx::Error>;
}

// Each method has its bound, since the engines' traits are less public than the store.
impl<C: Connection> Store<C> {
    pub(in crate::store) fn new(pool: Pool<C>) -> Self
    where
        C: Engine,
    {
        Self { pool: Arc::new(pool), walk: Arc::default() }
    }

    /// See [`crate::store::Store::close`].
    pub(in crate::store) async fn close(&self) -> Result<(), StoreError>
    where
        C: Engine,
    {
        self.pool.close().await;
        Ok(())
    }

    /// See [`crate::store::Store::guard`].
    pub(in crate::store) async fn guard(&self, sharing: Sharing) -> Result<Guard<C>, GuardError>
    where
        C: Hold,
    {
        Guard::take(self.pool.clone(), sharing).await
    }

    /// See [`crate::store::Store::epoch`].
    pub(in crate::store) async fn epoch(&self) -> Result<String, StoreError>
    where
        C: Serve,
    {
        let mut lent = self.pool.lend().await?;
        let epoch = within::<C, _>(lent.epoch()).await?;
        lent.give_back();
        epoch.ok_or_else(|| StoreError::Damaged("meta has no epoch".to_owned()))
    }

    /// See [`crate::store::Store::new_epoch`].
    pub(in crate::store) async fn new_epoch(&self) -> Result<String, StoreError>
    where
        C: Serve,
    {
        let epoch = super::draw_epoch();
        let mut lent = self.pool.lend().await?;
        within::<C, _>(lent.set_epoch(&epoch)).await?;
        lent.give_back();
        Ok(epoch)
    }

    /// See [`crate::store::Store::save_cursors`].
    pub(in crate::store) async fn save_cursors(
        &self,
        cursors: &[CursorUpdate],
        now_ms: i64,
    ) -> Result<(), StoreError>
    where
        C: Serve,
    {
        for chunk in merged(cursors).chunks(CURSORS_AT_ONCE) {
            let mut lent = self.pool.lend().await?;
            within::<C, _>(lent.save_cursors(chunk, now_ms)).await?;
            lent.give_back();
        }
        Ok(())
    }

    /// See [`crate::store::Store::retain`].
    pub(in crate::store) async fn retain(
        &self,
        policy: Retention,
        now_ms: i64,
        budget: usize,
    ) -> Result<Removed, StoreError>
    where
        C: Serve,
    {
        let mut walk = self.walk.lock().await;
        retain(&self.pool, &mut walk, policy, now_ms, budget).await
    }

    /// See [`crate::store::Store::retain_channels`].
    pub(in crate::store) async fn retain_channels(
        &self,
        kept: (&Rules, u64),
        now_ms: i64,
        budget: usize,
    ) -> Result<Removed, StoreError>
    where
        C: Serve,
    {
        let mut walk = self.walk.lock().await;
        retain_channels(&self.pool, &mut walk.channel, kept, now_ms, budget).await
    }

    /// See [`crate::store::Store::ping`].
    pub(in crate::store) async fn ping(&self) -> Result<(), StoreError>
    where
        C: Serve,
    {
        self.epoch().await.map(drop)
    }
}

impl<C: Connection> Clone for Store<C> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), walk: self.walk.clone() }
    }
}

impl<C: Connection> fmt::Debug for Store<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("pool", &self.pool).finish_non_exhaustive()
    }
}
