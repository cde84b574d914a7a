//! Pages, heads, and what a session starts from. Each is a single SELECT, so each is one snapshot.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use tidegate_proto::id::{DeviceId, LocalId, UserId};
use tidegate_proto::timeline::Timeline;

use super::{Store, error};
use crate::store::page::{PageBuilder, Row};
use crate::store::server::pool::within;
use crate::store::server::saturated;
use crate::store::{Bounds, Inbox, Page, Range, StoreError};

impl Store {
    /// See [`crate::store::Store::page`].
    pub(in crate::store) async fn page(
        &self,
        timeline: &Timeline,
        range: Range,
        limit: usize,
        max_bytes: usize,
        now_ms: i64,
    ) -> Result<Page, StoreError> {
        let (sql, from) = match range {
            Range::After(seq) => (PAGE_AFTER, seq),
            Range::Before(seq) => (PAGE_BEFORE, seq),
        };
        let mut lent = self.pool.lend().await?;
        let query = sqlx::query(sql)
            .bind(timeline.as_str())
            .bind(saturated(from))
            .bind(saturated(limit.max(1) as u64))
            .bind(now_ms)
            .bind(saturated(max_bytes as u64));
        let rows = within::<PgConnection, _>(query.fetch_all(&mut *lent)).await?;
        lent.give_back();
        let mut builder = PageBuilder::new(range, limit, max_bytes);
        fill(&mut builder, timeline, &rows).map_err(error::classify)?;
        Ok(builder.finish(timeline))
    }

    /// See [`crate::store::Store::inbox`].
    pub(in crate::store) async fn inbox(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<Inbox, StoreError> {
        let inbox = Timeline::inbox(user);
        let mut lent = self.pool.lend().await?;
        let query = sqlx::query(INBOX).bind(user.as_str()).bind(device.as_str()).bind(inbox.as_str());
        let row = within::<PgConnection, _>(query.fetch_one(&mut *lent)).await?;
        lent.give_back();
        let cursor: Option<i64> = row.try_get(0).map_err(error::classify)?;
        let bounds = bounds_of(&row, 1).map_err(error::classify)?;
        Ok(Inbox { cursor: cursor.map(i64::cast_unsigned), bounds })
    }

    /// See [`crate::store::Store::heads`].
    pub(in crate::store) async fn heads(&self, timelines: &[Timeline]) -> Result<Vec<Bounds>, StoreError> {
        let mut heads = vec![Bounds::default(); timelines.len()];
        // A connection is given back in between, so that a long list does not hold up the others.
        for (chunk, heads) in timelines.chunks(HEADS_AT_ONCE).zip(heads.chunks_mut(HEADS_AT_ONCE)) {
            let names: Vec<&str> = chunk.iter().map(Timeline::as_str).collect();
            let mut lent = self.pool.lend().await?;
            let rows =
                within::<PgConnection, _>(sqlx::query(HEADS).bind(names).fetch_all(&mut *lent)).await?;
            lent.give_back();
            for row in &rows {
                let place: i64 = row.try_get(0).map_err(error::classify)?;
                heads[place as usize - 1] = bounds_of(row, 1).map_err(error::classify)?;
            }
        }
        Ok(heads)
    }

    /// See [`crate::store::Store::conv_seq`].
    pub(in crate::store) async fn conv_seq(
        &self,
        sender: &UserId,
        local_id: &LocalId,
    ) -> Result<Option<u64>, StoreError> {
        let mut lent = self.pool.lend().await?;
        let query = sqlx::query_scalar(CONV_SEQ).bind(local_id.as_str()).bind(sender.as_str());
        let seq: Option<i64> = within::<PgConnection, _>(query.fetch_optional(&mut *lent)).await?;
        lent.give_back();
        Ok(seq.map(i64::cast_unsigned))
    }
}

/// Adds the rows of a page.
fn fill(builder: &mut PageBuilder, timeline: &Timeline, rows: &[PgRow]) -> Result<(), sqlx::Error> {
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        builder.bounds(bounds_of(row, 0)?);
        if let Some(seq) = row.try_get::<Option<i64>, _>(2)? {
            entries.push(entry(seq, row)?);
        }
    }
    builder.add_rows(timeline, entries);
    Ok(())
}

fn entry(seq: i64, row: &PgRow) -> Result<Row<'_>, sqlx::Error> {
    Ok(Row { seq: seq.cast_unsigned(), conv_seq: row.try_get(3)?, encoded: row.try_get(4)? })
}

/// A timeline's head and floor from two columns; NULL if there is no such timeline.
fn bounds_of(row: &PgRow, column: usize) -> Result<Bounds, sqlx::Error> {
    let (head, floor): (Option<i64>, Option<i64>) = (row.try_get(column)?, row.try_get(column + 1)?);
    Ok(head.zip(floor).map(|(head, floor)| Bounds::of_row(head, floor)).unwrap_or_default())
}

// Entries until those before one have more bytes than a page may: bodies that nobody takes are not sent, and one too many
// tells the page that it is full. The body of an expired message is not even read.
macro_rules! page {
    ($compare:literal, $order:literal) => {
        concat!(
            "SELECT h.head, h.floor, p.seq, p.conv_seq, p.body FROM heads h LEFT JOIN LATERAL \
             (SELECT v.seq, v.conv_seq, v.body, sum(coalesce(octet_length(v.body), 0)) OVER (ORDER BY v.seq ",
            $order,
            ") - coalesce(octet_length(v.body), 0) AS ahead FROM (SELECT e.seq, m.conv_seq, \
             CASE WHEN m.expire_at = 0 OR m.expire_at > $4 THEN m.body END AS body FROM \
             (SELECT seq, message FROM entries WHERE timeline = h.id AND seq ",
            $compare,
            " $2 ORDER BY seq ",
            $order,
            " LIMIT $3) e LEFT JOIN messages m ON m.id = e.message) v) p ON p.ahead <= $5 \
             WHERE h.name = $1 ORDER BY p.seq ",
            $order
        )
    };
}
pub(super) const PAGE_AFTER: &str = page!(">", "ASC");
pub(super) const PAGE_BEFORE: &str = page!("<", "DESC");

pub(super) const INBOX: &str = "SELECT c.cursor, h.head, h.floor FROM (SELECT 1) AS one \
     LEFT JOIN cursors c ON c.user_id = $1 AND c.device_id = $2 LEFT JOIN heads h ON h.name = $3";

pub(super) const CONV_SEQ: &str = "SELECT m.conv_seq FROM names n JOIN messages m ON m.id = n.id \
     WHERE n.local_id = $1 AND n.send_id = $2";

pub(super) const HEADS: &str = "SELECT v.place, h.head, h.floor \
     FROM unnest($1::text[]) WITH ORDINALITY AS v (name, place) JOIN heads h ON h.name = v.name";
const HEADS_AT_ONCE: usize = 2_000;
