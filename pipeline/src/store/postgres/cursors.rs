//! The devices' cursors.

use sqlx::postgres::PgConnection;

use super::Store;
use crate::store::server::cursors::{CURSORS_AT_ONCE, day, merged};
use crate::store::server::pool::within;
use crate::store::server::saturated;
use crate::store::{CursorUpdate, StoreError};

impl Store {
    /// See [`crate::store::Store::save_cursors`].
    pub(in crate::store) async fn save_cursors(
        &self,
        cursors: &[CursorUpdate],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        for chunk in merged(cursors).chunks(CURSORS_AT_ONCE) {
            let mut lent = self.pool.lend().await?;
            let query = sqlx::query(SAVE)
                .bind(chunk.iter().map(|(update, _)| update.user.as_str()).collect::<Vec<_>>())
                .bind(chunk.iter().map(|(update, _)| update.device.as_str()).collect::<Vec<_>>())
                .bind(chunk.iter().map(|(_, cursor)| saturated(*cursor)).collect::<Vec<_>>())
                .bind(now_ms)
                .bind(day(now_ms));
            within::<PgConnection, _>(query.execute(&mut *lent)).await?;
            lent.give_back();
        }
        Ok(())
    }
}

pub(super) const SAVE: &str = "INSERT INTO cursors (user_id, device_id, cursor, used_at, used_day) \
     SELECT v.user_id, v.device_id, v.cursor, $4, $5 \
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS v (user_id, device_id, cursor) \
     ORDER BY v.user_id COLLATE \"C\", v.device_id COLLATE \"C\" \
     ON CONFLICT (user_id, device_id) DO UPDATE SET cursor = greatest(cursors.cursor, excluded.cursor), \
     used_at = greatest(cursors.used_at, excluded.used_at), used_day = greatest(cursors.used_day, excluded.used_day)";
