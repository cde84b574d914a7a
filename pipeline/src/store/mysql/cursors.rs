//! The devices' cursors.

use sqlx::Executor as _;
use sqlx::mysql::MySqlConnection;

use super::Store;
use super::rows::Many;
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
            let save = async {
                // Several statements, and one commit to disk.
                lent.execute("START TRANSACTION").await?;
                SAVE.execute(&mut lent, chunk, |bound, (update, cursor)| {
                    bound.bind(update.user.as_str().as_bytes()).bind(update.device.as_str().as_bytes());
                    bound.bind(saturated(*cursor)).bind(now_ms).bind(day(now_ms));
                })
                .await?;
                lent.execute("COMMIT").await
            };
            within::<MySqlConnection, _>(save).await?;
            lent.give_back();
        }
        Ok(())
    }
}

pub(super) const SAVE: Many = Many {
    before: "INSERT INTO cursors (user_id, device_id, seq, used_at, used_day) VALUES ",
    row: "(?,?,?,?,?)",
    between: ",",
    after: " ON DUPLICATE KEY UPDATE seq = greatest(seq, VALUES(seq)), \
            used_at = greatest(used_at, VALUES(used_at)), used_day = greatest(used_day, VALUES(used_day))",
};
