//! The epoch and the devices' cursors.

use sqlx::Executor as _;
use sqlx::mysql::MySqlConnection;

use super::rows::Many;
use crate::store::CursorUpdate;
use crate::store::server::cursors::day;
use crate::store::server::saturated;
use crate::store::server::served::Serve;

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Serve for MySqlConnection {
    async fn epoch(&mut self) -> Result<Option<String>> {
        sqlx::query_scalar("SELECT value FROM meta WHERE name = 'epoch'").fetch_optional(self).await
    }

    async fn set_epoch(&mut self, epoch: &str) -> Result<()> {
        sqlx::query(SET_EPOCH).bind(epoch).execute(self).await.map(drop)
    }

    async fn save_cursors(&mut self, cursors: &[(&CursorUpdate, u64)], now_ms: i64) -> Result<()> {
        // Several statements, and one commit to disk.
        self.execute("START TRANSACTION").await?;
        SAVE.execute(self, cursors, |bound, (update, cursor)| {
            bound.bind(update.user.as_str().as_bytes()).bind(update.device.as_str().as_bytes());
            bound.bind(saturated(*cursor)).bind(now_ms).bind(day(now_ms));
        })
        .await?;
        self.execute("COMMIT").await.map(drop)
    }
}

const SET_EPOCH: &str =
    "INSERT INTO meta (name, value) VALUES ('epoch', ?) ON DUPLICATE KEY UPDATE value = VALUES(value)";
pub(super) const SAVE: Many = Many {
    before: "INSERT INTO cursors (user_id, device_id, seq, used_at, used_day) VALUES ",
    row: "(?,?,?,?,?)",
    between: ",",
    after: " ON DUPLICATE KEY UPDATE seq = greatest(seq, VALUES(seq)), \
            used_at = greatest(used_at, VALUES(used_at)), used_day = greatest(used_day, VALUES(used_day))",
};
