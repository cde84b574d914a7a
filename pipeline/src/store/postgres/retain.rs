//! What retention asks of PostgreSQL.

use std::collections::HashMap;

use sqlx::Executor as _;
use sqlx::postgres::PgConnection;

use crate::store::Bounds;
use crate::store::server::channels::Row;
use crate::store::server::cursors::day;
use crate::store::server::floors::{Candidate, Part};
use crate::store::server::retain::{Live, Name, Retain};

type Result<T> = std::result::Result<T, sqlx::Error>;

impl Retain for PgConnection {
    async fn live(&mut self, after: i64, limit: usize) -> Result<Vec<Live>> {
        let query = sqlx::query_as(LIVE).bind(after).bind(limit as i64);
        Ok(query.fetch_all(self).await?.into_iter().map(live).collect())
    }

    async fn names(&mut self, after: i64, limit: usize) -> Result<Vec<Name>> {
        let query = sqlx::query_as::<_, (i64, i64, bool)>(NAMES).bind(after).bind(limit as i64);
        let name = |(id, send_time, is_live)| Name { id, send_time, is_live };
        Ok(query.fetch_all(self).await?.into_iter().map(name).collect())
    }

    async fn expired(&mut self, now_ms: i64, limit: usize) -> Result<Vec<(i64, i64)>> {
        sqlx::query_as(EXPIRED).bind(now_ms).bind(limit as i64).fetch_all(self).await
    }

    async fn unused_cursors(&mut self, cutoff: i64, limit: usize) -> Result<Vec<(String, String)>> {
        sqlx::query_as(UNUSED_CURSORS).bind(day(cutoff)).bind(cutoff).bind(limit as i64).fetch_all(self).await
    }

    async fn channels(&mut self, after: &str, limit: usize) -> Result<Vec<Row>> {
        let query = sqlx::query_as::<_, (String, i64, i64, i64, i64)>(CHANNELS);
        let row = |(name, timeline, head, floor, first)| Row {
            name,
            timeline,
            bounds: Bounds::of_row(head, floor),
            first,
        };
        Ok(query.bind(after).bind(limit as i64).fetch_all(self).await?.into_iter().map(row).collect())
    }

    async fn bounds(&mut self, timelines: &[i64]) -> Result<HashMap<i64, Bounds>> {
        Ok(sqlx::query_as(BOUNDS).bind(timelines).fetch_all(self).await?.into_iter().map(bounds).collect())
    }

    async fn begin_step(&mut self) -> Result<bool> {
        self.execute("BEGIN").await?;
        Ok(self.fetch_optional(LOCK).await?.is_some())
    }

    async fn lock(&mut self, timelines: &[i64]) -> Result<HashMap<i64, Bounds>> {
        Ok(sqlx::query_as(LOCK_HEADS)
            .bind(timelines)
            .fetch_all(self)
            .await?
            .into_iter()
            .map(bounds)
            .collect())
    }

    async fn entries(&mut self, parts: &[Part]) -> Result<Vec<Candidate>> {
        let [timelines, froms, belows] = arrays(parts);
        let query =
            sqlx::query_as::<_, (i64, i64, i64, i64)>(ENTRIES).bind(timelines).bind(froms).bind(belows);
        let candidate = |(timeline, seq, message, send_time): (i64, i64, i64, i64)| {
            let seq = seq.cast_unsigned();
            Candidate { timeline, seq, message, send_time }
        };
        Ok(query.fetch_all(self).await?.into_iter().map(candidate).collect())
    }

    async fn remove(&mut self, parts: &[Part]) -> Result<()> {
        let [timelines, froms, belows] = arrays(parts);
        sqlx::query(REMOVE).bind(timelines).bind(froms).bind(belows).execute(self).await.map(drop)
    }

    async fn messages(&mut self, ids: &[i64]) -> Result<Vec<Live>> {
        Ok(sqlx::query_as(MESSAGES).bind(ids).fetch_all(self).await?.into_iter().map(live).collect())
    }

    async fn bury(&mut self, ids: &[i64]) -> Result<()> {
        sqlx::query(BURY).bind(ids).execute(self).await.map(drop)
    }

    async fn forget(&mut self, ids: &[i64]) -> Result<()> {
        sqlx::query(FORGET).bind(ids).execute(self).await.map(drop)
    }

    async fn empty(&mut self, expired: &[(i64, i64)]) -> Result<u64> {
        let (times, ids): (Vec<i64>, Vec<i64>) = expired.iter().copied().unzip();
        let emptied = sqlx::query(EMPTY).bind(&ids).execute(&mut *self).await?;
        sqlx::query(EMPTIED).bind(times).bind(ids).execute(self).await?;
        Ok(emptied.rows_affected())
    }

    async fn drop_cursors(&mut self, cutoff: i64, keys: &[(String, String)]) -> Result<u64> {
        let users: Vec<&str> = keys.iter().map(|(user, _)| &**user).collect();
        let devices: Vec<&str> = keys.iter().map(|(_, device)| &**device).collect();
        let query = sqlx::query(DROP_CURSORS).bind(users).bind(devices).bind(cutoff);
        Ok(query.execute(self).await?.rows_affected())
    }

    async fn commit_step(&mut self) -> Result<()> {
        self.execute("COMMIT").await.map(drop)
    }
}

fn live((id, send_time, places): (i64, i64, Vec<u8>)) -> Live {
    Live { id, send_time, places }
}

fn bounds((id, head, floor): (i64, i64, i64)) -> (i64, Bounds) {
    (id, Bounds::of_row(head, floor))
}

/// Timelines, floors to come from, floors to go to.
fn arrays(parts: &[Part]) -> [Vec<i64>; 3] {
    [
        parts.iter().map(|part| part.timeline).collect(),
        parts.iter().map(|part| part.from.cast_signed()).collect(),
        parts.iter().map(|part| part.below.cast_signed()).collect(),
    ]
}

pub(super) const LIVE: &str = "SELECT id, send_time, places FROM messages WHERE id > $1 ORDER BY id LIMIT $2";
pub(super) const NAMES: &str = "SELECT n.id, n.send_time, m.id IS NOT NULL FROM names n \
     LEFT JOIN messages m ON m.id = n.id WHERE n.id > $1 ORDER BY n.id LIMIT $2";
pub(super) const EXPIRED: &str =
    "SELECT expire_at, message FROM expiring WHERE expire_at <= $1 ORDER BY expire_at, message LIMIT $2";
pub(super) const UNUSED_CURSORS: &str = "SELECT user_id, device_id FROM cursors \
     WHERE used_day <= $1 AND used_at < $2 ORDER BY used_day LIMIT $3";
pub(super) const CHANNELS: &str = "SELECT h.name, h.id, h.head, h.floor, coalesce(m.send_time, 0) FROM heads h \
     LEFT JOIN entries e ON e.timeline = h.id AND e.seq = h.floor LEFT JOIN messages m ON m.id = e.message \
     WHERE h.name > $1 AND h.name < 'c;' ORDER BY h.name LIMIT $2";
pub(super) const BOUNDS: &str =
    "SELECT h.id, h.head, h.floor FROM unnest($1::bigint[]) AS v (id) JOIN heads h ON h.id = v.id";
pub(super) const LOCK: &str = "SELECT 1 FROM meta WHERE name = 'retention' FOR UPDATE SKIP LOCKED";
// Rows are locked in the order they come: the names are sorted before.
pub(super) const LOCK_HEADS: &str = "SELECT h.id, h.head, h.floor FROM heads h \
     WHERE h.id = ANY ($1::bigint[]) ORDER BY h.name FOR UPDATE";
pub(super) const ENTRIES: &str = "SELECT e.timeline, e.seq, e.message, coalesce(m.send_time, 0) \
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS v (timeline, since, below) \
     JOIN entries e ON e.timeline = v.timeline AND e.seq >= v.since AND e.seq < v.below \
     LEFT JOIN messages m ON m.id = e.message";
pub(super) const REMOVE: &str = "WITH v AS MATERIALIZED ( \
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS v (timeline, since, below)), \
     removed AS (DELETE FROM entries e USING v \
     WHERE e.timeline = v.timeline AND e.seq >= v.since AND e.seq < v.below) \
     UPDATE heads h SET floor = v.below FROM v WHERE h.id = v.timeline";
pub(super) const MESSAGES: &str = "SELECT id, send_time, places FROM messages WHERE id = ANY ($1::bigint[])";
pub(super) const BURY: &str = "WITH dead AS (DELETE FROM messages WHERE id = ANY ($1::bigint[]) RETURNING id, places) \
     UPDATE names n SET places = dead.places FROM dead WHERE n.id = dead.id";
pub(super) const FORGET: &str = "DELETE FROM names WHERE id = ANY ($1::bigint[])";
pub(super) const EMPTY: &str =
    "UPDATE messages SET body = NULL WHERE id = ANY ($1::bigint[]) AND body IS NOT NULL";
pub(super) const EMPTIED: &str = "DELETE FROM expiring e USING unnest($1::bigint[], $2::bigint[]) AS v (expire_at, message) \
     WHERE e.expire_at = v.expire_at AND e.message = v.message";
pub(super) const DROP_CURSORS: &str = "DELETE FROM cursors c \
     USING unnest($1::text[], $2::text[]) AS v (user_id, device_id) \
     WHERE c.user_id = v.user_id AND c.device_id = v.device_id AND c.used_at < $3";
