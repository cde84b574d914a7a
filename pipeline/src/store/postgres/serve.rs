//! The epoch and the devices' cursors.

use sqlx::postgres::PgConnection;

use crate::store::CursorUpdate;
use crate::store::server::cursors::day;
use crate::store::server::saturated;
use crate::store::server::served::Serve;

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Serve for PgConnection {
    async fn epoch(&mut self) -> Result<Option<String>> {
        sqlx::query_scalar("SELECT value FROM meta WHERE name = 'epoch'").fetch_optional(self).await
    }

    async fn set_epoch(&mut self, epoch: &str) -> Result<()> {
        sqlx::query(SET_EPOCH).bind(epoch).execute(self).await.map(drop)
    }

    async fn save_cursors(&mut self, cursors: &[(&CursorUpdate, u64)], now_ms: i64) -> Result<()> {
        sqlx::query(SAVE)
            .bind(cursors.iter().map(|(update, _)| update.user.as_str()).collect::<Vec<_>>())
            .bind(cursors.iter().map(|(update, _)| update.device.as_str()).collect::<Vec<_>>())
            .bind(cursors.iter().map(|(_, cursor)| saturated(*cursor)).collect::<Vec<_>>())
            .bind(now_ms)
            .bind(day(now_ms))
            .execute(self)
            .await
            .map(drop)
    }
}

const SET_EPOCH: &str = "INSERT INTO meta (name, value) VALUES ('epoch', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
pub(super) const SAVE: &str = "INSERT INTO cursors (user_id, device_id, cursor, used_at, used_day) \
     SELECT v.user_id, v.device_id, v.cursor, $4, $5 \
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS v (user_id, device_id, cursor) \
     ORDER BY v.user_id COLLATE \"C\", v.device_id COLLATE \"C\" \
     ON CONFLICT (user_id, device_id) DO UPDATE SET cursor = greatest(cursors.cursor, excluded.cursor), \
     used_at = greatest(cursors.used_at, excluded.used_at), used_day = greatest(cursors.used_day, excluded.used_day)";
