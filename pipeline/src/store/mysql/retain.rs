//! What retention asks of MySQL.

use std::collections::HashMap;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::rows::{Bound, Many};
use crate::store::Bounds;
use crate::store::server::channels::Row;
use crate::store::server::cursors::day;
use crate::store::server::floors::{Candidate, Part};
use crate::store::server::retain::{Live, Name, Retain};

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Retain for MySqlConnection {
    async fn live(&mut self, after: i64, limit: usize) -> Result<Vec<Live>> {
        sqlx::query(LIVE).bind(after).bind(limit as i64).fetch_all(self).await?.iter().map(live).collect()
    }

    async fn names(&mut self, after: i64, limit: usize) -> Result<Vec<Name>> {
        let query = sqlx::query_as::<_, (i64, i64, Option<i64>)>(NAMES).bind(after).bind(limit as i64);
        let name = |(id, send_time, message): (i64, i64, Option<i64>)| Name {
            id,
            send_time,
            is_live: message.is_some(),
        };
        Ok(query.fetch_all(self).await?.into_iter().map(name).collect())
    }

    async fn expired(&mut self, now_ms: i64, limit: usize) -> Result<Vec<(i64, i64)>> {
        sqlx::query_as(EXPIRED).bind(now_ms).bind(limit as i64).fetch_all(self).await
    }

    async fn unused_cursors(&mut self, cutoff: i64, limit: usize) -> Result<Vec<(String, String)>> {
        let query = sqlx::query(UNUSED_CURSORS).bind(day(cutoff)).bind(cutoff).bind(limit as i64);
        query.fetch_all(self).await?.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?))).collect()
    }

    async fn channels(&mut self, after: &str, limit: usize) -> Result<Vec<Row>> {
        let query = sqlx::query(CHANNELS).bind(after.as_bytes()).bind(limit as i64);
        let channel = |row: &MySqlRow| {
            let (name, timeline, first) = (text(row, 0)?, row.try_get(1)?, row.try_get(4)?);
            Ok(Row { name, timeline, bounds: Bounds::of_row(row.try_get(2)?, row.try_get(3)?), first })
        };
        query.fetch_all(self).await?.iter().map(channel).collect()
    }

    async fn bounds(&mut self, timelines: &[i64]) -> Result<HashMap<i64, Bounds>> {
        let rows = BOUNDS.fetch(self, timelines, bind_id).await?;
        rows.iter().map(bounds).collect()
    }

    async fn begin_step(&mut self) -> Result<bool> {
        self.execute("START TRANSACTION").await?;
        Ok(self.fetch_optional(LOCK).await?.is_some())
    }

    /// Rows are locked in the order of the index they are found by, so they are locked by their names.
    async fn lock(&mut self, timelines: &[i64]) -> Result<HashMap<i64, Bounds>> {
        let rows = HEAD_NAMES.fetch(self, timelines, bind_id).await?;
        let mut names: Vec<Vec<u8>> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_>>()?;
        names.sort_unstable();
        let rows = LOCK_HEADS.fetch(self, &names, |bound, name| {
            bound.bind(&name[..]);
        });
        rows.await?.iter().map(bounds).collect()
    }

    async fn entries(&mut self, parts: &[Part]) -> Result<Vec<Candidate>> {
        let rows = ENTRIES.fetch(self, parts, bind_part).await?;
        let candidate = |row: &MySqlRow| {
            let seq: i64 = row.try_get(1)?;
            let (timeline, message, send_time) = (row.try_get(0)?, row.try_get(2)?, row.try_get(3)?);
            Ok(Candidate { timeline, seq: seq.cast_unsigned(), message, send_time })
        };
        rows.iter().map(candidate).collect()
    }

    async fn remove(&mut self, parts: &[Part]) -> Result<()> {
        REMOVE.execute(self, parts, bind_part).await?;
        for parts in parts.chunks(FLOORS_AT_ONCE) {
            let raise = |part: &Part| format!("{RAISE_FLOOR}{} WHERE id = {}", part.below, part.timeline);
            let sql = parts.iter().map(raise).collect::<Vec<_>>().join(";");
            // Of this module's constants and numbers.
            self.execute(AssertSqlSafe(sql)).await?;
        }
        Ok(())
    }

    async fn messages(&mut self, ids: &[i64]) -> Result<Vec<Live>> {
        MESSAGES.fetch(self, ids, bind_id).await?.iter().map(live).collect()
    }

    async fn bury(&mut self, ids: &[i64]) -> Result<()> {
        REMEMBER.execute(self, ids, bind_id).await?;
        BURY.execute(self, ids, bind_id).await.map(drop)
    }

    async fn forget(&mut self, ids: &[i64]) -> Result<()> {
        FORGET.execute(self, ids, bind_id).await.map(drop)
    }

    async fn empty(&mut self, expired: &[(i64, i64)]) -> Result<u64> {
        let ids: Vec<i64> = expired.iter().map(|(_, message)| *message).collect();
        let emptied = EMPTY.execute(self, &ids, bind_id).await?;
        EMPTIED
            .execute(self, expired, |bound, (expire_at, message)| {
                bound.bind(*expire_at).bind(*message);
            })
            .await?;
        Ok(emptied)
    }

    async fn drop_cursors(&mut self, cutoff: i64, keys: &[(String, String)]) -> Result<u64> {
        DROP_CURSORS
            .execute(self, keys, |bound, (user, device)| {
                bound.bind(user.as_bytes()).bind(device.as_bytes()).bind(cutoff);
            })
            .await
    }

    async fn commit_step(&mut self) -> Result<()> {
        self.execute("COMMIT").await.map(drop)
    }
}

fn bind_id(bound: &mut Bound, id: &i64) {
    bound.bind(*id);
}

fn bind_part(bound: &mut Bound, part: &Part) {
    bound.bind(part.timeline).bind(part.from.cast_signed()).bind(part.below.cast_signed());
}

fn live(row: &MySqlRow) -> Result<Live> {
    Ok(Live { id: row.try_get(0)?, send_time: row.try_get(1)?, places: row.try_get(2)? })
}

fn bounds(row: &MySqlRow) -> Result<(i64, Bounds)> {
    Ok((row.try_get(0)?, Bounds::of_row(row.try_get(1)?, row.try_get(2)?)))
}

fn text(row: &MySqlRow, column: usize) -> Result<String> {
    String::from_utf8(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A statement over a list of numbers.
const fn of_ids(before: &'static str) -> Many {
    Many { before, row: "?", between: ",", after: ")" }
}

/// A statement over a list of conditions.
const fn of_conditions(before: &'static str, row: &'static str) -> Many {
    Many { before, row, between: " OR ", after: "" }
}

pub(super) const LIVE: &str = "SELECT id, send_time, places FROM messages FORCE INDEX (PRIMARY) \
     WHERE id > ? ORDER BY id LIMIT ?";
pub(super) const NAMES: &str = "SELECT n.id, n.send_time, m.id FROM names n FORCE INDEX (names_by_id) \
     LEFT JOIN messages m ON m.id = n.id WHERE n.id > ? ORDER BY n.id LIMIT ?";
pub(super) const EXPIRED: &str = "SELECT expire_at, message FROM expiring FORCE INDEX (PRIMARY) \
     WHERE expire_at <= ? ORDER BY expire_at, message LIMIT ?";
pub(super) const UNUSED_CURSORS: &str = "SELECT user_id, device_id FROM cursors FORCE INDEX (cursors_by_day) \
     WHERE used_day <= ? AND used_at < ? ORDER BY used_day LIMIT ?";
pub(super) const CHANNELS: &str = "SELECT h.name, h.id, h.head, h.floor, coalesce(m.send_time, 0) \
     FROM heads h FORCE INDEX (PRIMARY) \
     LEFT JOIN entries e FORCE INDEX (PRIMARY) ON e.timeline = h.id AND e.seq = h.floor \
     LEFT JOIN messages m FORCE INDEX (PRIMARY) ON m.id = e.message \
     WHERE h.name > ? AND h.name < 'c;' ORDER BY h.name LIMIT ?";
pub(super) const LOCK: &str = "SELECT name FROM meta WHERE name = 'retention' FOR UPDATE SKIP LOCKED";
pub(super) const RAISE_FLOOR: &str = "UPDATE heads FORCE INDEX (heads_by_id) SET floor = ";
/// Statements sent together.
const FLOORS_AT_ONCE: usize = 256;
pub(super) const BOUNDS: Many =
    of_ids("SELECT id, head, floor FROM heads FORCE INDEX (heads_by_id) WHERE id IN (");
pub(super) const HEAD_NAMES: Many = of_ids("SELECT name FROM heads FORCE INDEX (heads_by_id) WHERE id IN (");
pub(super) const LOCK_HEADS: Many = Many {
    before: "SELECT id, head, floor FROM heads FORCE INDEX (PRIMARY) WHERE name IN (",
    row: "?",
    between: ",",
    after: ") ORDER BY name FOR UPDATE",
};
pub(super) const ENTRIES: Many = of_conditions(
    "SELECT e.timeline, e.seq, e.message, coalesce(m.send_time, 0) FROM entries e FORCE INDEX (PRIMARY) \
     LEFT JOIN messages m ON m.id = e.message WHERE ",
    "(e.timeline = ? AND e.seq >= ? AND e.seq < ?)",
);
pub(super) const REMOVE: Many = of_conditions(
    "DELETE e FROM entries e FORCE INDEX (PRIMARY) WHERE ",
    "(e.timeline = ? AND e.seq >= ? AND e.seq < ?)",
);
pub(super) const MESSAGES: Many =
    of_ids("SELECT id, send_time, places FROM messages FORCE INDEX (PRIMARY) WHERE id IN (");
pub(super) const REMEMBER: Many = of_ids(
    "UPDATE names n FORCE INDEX (names_by_id) STRAIGHT_JOIN messages m FORCE INDEX (PRIMARY) ON m.id = n.id \
     SET n.places = m.places WHERE n.id IN (",
);
pub(super) const BURY: Many = of_ids("DELETE m FROM messages m FORCE INDEX (PRIMARY) WHERE m.id IN (");
pub(super) const FORGET: Many = of_ids("DELETE n FROM names n FORCE INDEX (names_by_id) WHERE n.id IN (");
pub(super) const EMPTY: Many = Many {
    before: "UPDATE messages FORCE INDEX (PRIMARY) SET body = NULL WHERE body IS NOT NULL AND id IN (",
    row: "?",
    between: ",",
    after: ")",
};
pub(super) const EMPTIED: Many = of_conditions(
    "DELETE e FROM expiring e FORCE INDEX (PRIMARY) WHERE ",
    "(e.expire_at = ? AND e.message = ?)",
);
pub(super) const DROP_CURSORS: Many = of_conditions(
    "DELETE c FROM cursors c FORCE INDEX (PRIMARY) WHERE ",
    "(c.user_id = ? AND c.device_id = ? AND c.used_at < ?)",
);
