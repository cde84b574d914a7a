//! Retention, in steps: each call finds some work with a reader, and does it in one short transaction of the writer, so
//! that appends go in between.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;

use super::Store;
use super::floors::{floor_of, floors_of, select_floors};
use super::row::{bytes, integer};
use super::script::Script;
use crate::store::age::{Age, Aged};
use crate::store::{Removed, Retention, StoreError, places};

/// Where the passes over the tables stand between steps.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The timelines of messages up to this number have no more entries than they may have: only a new message can
    /// make them too many.
    counted: i64,
    /// How many that is; with another figure they are counted anew.
    max_entries: u64,
    /// Names up to this number were old when they were looked at: they are forgotten, or will be with their message. So
    /// what is kept for long is not looked at again and again.
    name: i64,
    /// Where the walk over the channels stands.
    pub(super) channel: Vec<u8>,
}

impl Store {
    /// See [`crate::store::Store::retain`].
    pub(in crate::store) async fn retain(
        &self,
        retention: Retention,
        now_ms: i64,
        budget: usize,
    ) -> Result<Removed, StoreError> {
        let budget = budget.clamp(1, MAX_STEP_ROWS);
        let remember = Age::new(retention.remember_ms, now_ms);
        let mut walk = self.walk.lock().await;
        let mut removed = self.empty_expired(now_ms, budget).await?;
        if removed.is_nothing()
            && let Some(max_age_ms) = retention.max_age_ms
        {
            removed = self.remove_old(Age::new(max_age_ms, now_ms), remember, budget).await?;
        }
        if removed.is_nothing()
            && let Some(max_entries) = retention.max_entries
        {
            removed = self.remove_many(max_entries, remember, &mut walk, budget).await?;
        }
        if removed.is_nothing() {
            removed = self.forget_names(remember, &mut walk, budget).await?;
        }
        if removed.is_nothing() {
            removed = self.forget_cursors(Age::new(retention.cursor_ms, now_ms), budget).await?;
        }
        Ok(removed)
    }

    /// Bodies past their expire_at; the entries stay and are served as gone.
    async fn empty_expired(&self, now_ms: i64, budget: usize) -> Result<Removed, StoreError> {
        let ids = self.read_all(sqlx::query(EXPIRED).bind(now_ms).bind(budget as i64)).await?;
        let ids = integers(&ids, 0)?;
        let mut script = Script::default();
        script.rows(EMPTY_MESSAGES, 1, &ids, |script, id| {
            script.bind(*id);
        });
        self.write(script, ids.len()).await?;
        Ok(Removed { bodies: ids.len() as u64, ..Removed::default() })
    }

    /// The oldest messages: numbers rise with time, so they are a prefix of every timeline they are in.
    async fn remove_old(&self, age: Age, remember: Age, budget: usize) -> Result<Removed, StoreError> {
        let oldest = self.read_all(sqlx::query(OLDEST_MESSAGES).bind(budget as i64)).await?;
        let times = oldest.iter().map(|row| integer(row, 1)).collect::<Result<Vec<_>, _>>()?;
        let mut floors = BTreeMap::new();
        let mut entries = 0;
        for row in &oldest[..age.old_prefix(times)] {
            let placements = placements_of(row, 2)?;
            entries += placements.len();
            if entries > budget && !floors.is_empty() {
                break;
            }
            for (timeline, seq) in placements {
                floors.insert(timeline, seq + 1);
            }
        }
        self.raise_floors(floors, remember).await
    }

    /// The oldest entries of timelines that have too many.
    async fn remove_many(
        &self,
        max_entries: u64,
        remember: Age,
        walk: &mut Walk,
        budget: usize,
    ) -> Result<Removed, StoreError> {
        if walk.max_entries != max_entries {
            (walk.counted, walk.max_entries) = (0, max_entries);
        }
        let mut removed = Removed::default();
        while removed.is_nothing() {
            let query = sqlx::query(NEW_PLACEMENTS).bind(walk.counted).bind(budget as i64);
            let new = self.read_all(query).await?;
            let Some(last) = new.last() else { break };
            let mut heads = BTreeMap::new();
            for row in &new {
                heads.extend(placements_of(row, 1)?);
            }
            let (raised, all) = self.too_many(&heads, max_entries, budget).await?;
            removed = self.raise_floors(raised, remember).await?;
            if all {
                walk.counted = integer(last, 0)?;
            }
        }
        Ok(removed)
    }

    /// To where the floors of timelines that have too many entries must rise, within the budget; and whether that is
    /// all of them.
    async fn too_many(
        &self,
        heads: &BTreeMap<i64, u64>,
        max_entries: u64,
        budget: usize,
    ) -> Result<(BTreeMap<i64, u64>, bool), StoreError> {
        let mut script = Script::default();
        select_floors(&mut script, &heads.keys().copied().collect::<Vec<_>>());
        let present = floors_of(&self.read_script(script).await?)?;
        let mut left = budget as u64;
        let mut raised = BTreeMap::new();
        for (&timeline, &head) in heads {
            let floor = floor_of(&present, timeline);
            let excess = (head + 1).saturating_sub(floor).saturating_sub(max_entries);
            if excess > 0 {
                raised.insert(timeline, floor + excess.min(left));
            }
            if excess > left {
                return Ok((raised, false));
            }
            left -= excess;
        }
        Ok((raised, true))
    }

    /// Names that were remembered long enough and whose message went before.
    async fn forget_names(&self, age: Age, walk: &mut Walk, budget: usize) -> Result<Removed, StoreError> {
        let mut forgotten = Vec::new();
        let (mut at, mut end) = (walk.name, false);
        while forgotten.is_empty() && !end {
            let rows = self.read_all(sqlx::query(NAMES).bind(at).bind(budget as i64)).await?;
            end = rows.is_empty();
            for row in &rows {
                let (id, has_message) = (integer(row, 0)?, integer(row, 2)? != 0);
                match age.of(integer(row, 1)?) {
                    Aged::Old if !has_message => forgotten.push(id),
                    Aged::Old | Aged::Ahead => {}
                    Aged::Current => {
                        end = true;
                        break;
                    }
                }
                at = id;
            }
        }
        let mut script = Script::default();
        script.rows(FORGET_NAMES, 1, &forgotten, |script, id| {
            script.bind(*id);
        });
        self.write(script, forgotten.len()).await?;
        walk.name = at;
        Ok(Removed { names: forgotten.len() as u64, ..Removed::default() })
    }

    /// Cursors that no device used for long.
    async fn forget_cursors(&self, age: Age, budget: usize) -> Result<Removed, StoreError> {
        let unused =
            self.read_all(sqlx::query(UNUSED_CURSORS).bind(age.cutoff()).bind(budget as i64)).await?;
        let key = |row: &SqliteRow| Ok((bytes(row, 0)?.to_vec(), bytes(row, 1)?.to_vec()));
        let keys = unused.iter().map(key).collect::<Result<Vec<_>, StoreError>>()?;
        // A cursor that was used in between stays.
        let before =
            format!("DELETE FROM cursors WHERE used_at < {} AND (user_id, device_id) IN (", age.cutoff());
        let mut script = Script::default();
        script.rows((&before, ")"), 2, &keys, |script, (user, device)| {
            script.bind(&user[..]).bind(&device[..]);
        });
        self.write(script, unused.len()).await?;
        Ok(Removed { cursors: unused.len() as u64, ..Removed::default() })
    }

    /// Runs a script as one transaction, if it has anything to do.
    async fn write(&self, script: Script, rows: usize) -> Result<(), StoreError> {
        if rows == 0 {
            return Ok(());
        }
        let mut transaction = Script::default();
        transaction.statement("BEGIN IMMEDIATE").append(script);
        self.writer.lend().await?.commit(transaction).await
    }
}

pub(super) fn placements_of(row: &SqliteRow, column: usize) -> Result<Vec<(i64, u64)>, StoreError> {
    places::decode(bytes(row, column)?).ok_or_else(|| StoreError::Damaged("the seqs of a name".to_owned()))
}

fn integers(rows: &[SqliteRow], column: usize) -> Result<Vec<i64>, StoreError> {
    rows.iter().map(|row| integer(row, column)).collect()
}

/// The most rows of a step: the writer is held for some milliseconds.
pub(super) const MAX_STEP_ROWS: usize = 2_000;

pub(super) const EXPIRED: &str = "SELECT id FROM messages \
     WHERE expire_at <> 0 AND body IS NOT NULL AND expire_at <= ? ORDER BY expire_at LIMIT ?";
pub(super) const OLDEST_MESSAGES: &str = "SELECT m.id, m.send_time, n.placements FROM messages m \
     CROSS JOIN names n ON n.id = m.id ORDER BY m.id LIMIT ?";
pub(super) const NEW_PLACEMENTS: &str = "SELECT id, placements FROM names \
     WHERE id > ? AND placements IS NOT NULL ORDER BY id LIMIT ?";
pub(super) const NAMES: &str = "SELECT n.id, n.send_time, m.id IS NOT NULL FROM names n \
     LEFT JOIN messages m ON m.id = n.id WHERE n.id > ? ORDER BY n.id LIMIT ?";
pub(super) const UNUSED_CURSORS: &str = "SELECT user_id, device_id FROM cursors WHERE used_at < ? LIMIT ?";

pub(super) const EMPTY_MESSAGES: (&str, &str) = ("UPDATE messages SET body = NULL WHERE id IN (", ")");
pub(super) const FORGET_NAMES: (&str, &str) = ("DELETE FROM names WHERE id IN (", ")");
