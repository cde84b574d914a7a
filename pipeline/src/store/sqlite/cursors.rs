//! The devices' cursors.

use super::Store;
use super::script::Script;
use crate::store::{CursorUpdate, StoreError};

impl Store {
    /// See [`crate::store::Store::save_cursors`].
    pub(in crate::store) async fn save_cursors(
        &self,
        cursors: &[CursorUpdate],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        for chunk in cursors.chunks(CURSORS_AT_ONCE) {
            let mut rows: Vec<&CursorUpdate> = chunk.iter().collect();
            rows.sort_unstable_by(|a, b| (&a.user, &a.device).cmp(&(&b.user, &b.device)));
            let mut script = Script::default();
            script.statement("BEGIN IMMEDIATE");
            script.rows(SAVE, 4, &rows, |script, update| {
                script.bind(update.user.as_str().as_bytes()).bind(update.device.as_str().as_bytes());
                script.bind(i64::try_from(update.cursor).unwrap_or(i64::MAX)).bind(now_ms);
            });
            self.writer.lend().await?.commit(script).await?;
        }
        Ok(())
    }
}

pub(super) const SAVE: (&str, &str) = (
    "INSERT INTO cursors (user_id, device_id, cursor, used_at) SELECT * FROM (",
    ") WHERE column1 IS NOT NULL ON CONFLICT (user_id, device_id) DO UPDATE \
     SET cursor = max(cursor, excluded.cursor), used_at = max(used_at, excluded.used_at)",
);
/// Cursors of one transaction: the appends go in between.
const CURSORS_AT_ONCE: usize = 2_000;
