//! The epoch: a name for the life of the data, drawn at first open and after a restore from a back-up.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::{Store, error};
use crate::store::StoreError;

impl Store {
    /// See [`crate::store::Store::epoch`].
    pub(in crate::store) async fn epoch(&self) -> Result<String, StoreError> {
        let query = sqlx::query("SELECT value FROM meta WHERE name = 'epoch'");
        let row = self.read_optional(query).await?;
        let row = row.ok_or_else(|| StoreError::Damaged("meta has no epoch".to_owned()))?;
        row.try_get(0).map_err(error::classify)
    }

    /// See [`crate::store::Store::new_epoch`].
    pub(in crate::store) async fn new_epoch(&self) -> Result<String, StoreError> {
        let epoch = draw();
        let mut writing = self.writer.lend().await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('epoch', ?) ON CONFLICT DO UPDATE SET value = excluded.value")
            .bind(&epoch)
            .execute(&mut *writing)
            .await
            .map_err(error::classify)?;
        writing.give_back();
        Ok(epoch)
    }
}

/// Draws an epoch unless there is one.
pub(super) async fn draw_first(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ('epoch', ?) ON CONFLICT DO NOTHING")
        .bind(draw())
        .execute(connection)
        .await?;
    Ok(())
}

fn draw() -> String {
    format!("{:016x}", rand::random::<u64>())
}
