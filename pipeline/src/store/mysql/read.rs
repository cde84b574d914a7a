//! Pages, heads, and what a session starts from. Each is a single SELECT, so each is one snapshot.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use tidegate_proto::id::{DeviceId, LocalId, UserId};
use tidegate_proto::timeline::Timeline;

use super::rows::Many;
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
        let name = timeline.as_str().as_bytes();
        let mut lent = self.pool.lend().await?;
        let query = sqlx::query(sql)
            .bind(name)
            .bind(now_ms)
            .bind(now_ms)
            .bind(saturated(from))
            .bind(name)
            .bind(saturated(limit.max(1) as u64))
            .bind(saturated(max_bytes as u64));
        let rows = within::<MySqlConnection, _>(query.fetch_all(&mut *lent)).await?;
        lent.give_back();
        let mut builder = PageBuilder::new(range, limit, max_bytes);
        fill(&mut builder, timeline, range, &rows).map_err(error::classify)?;
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
        let query = sqlx::query(INBOX)
            .bind(user.as_str().as_bytes())
            .bind(device.as_str().as_bytes())
            .bind(inbox.as_str().as_bytes());
        let row = within::<MySqlConnection, _>(query.fetch_one(&mut *lent)).await?;
        lent.give_back();
        let cursor: Option<i64> = row.try_get(0).map_err(error::classify)?;
        let bounds = bounds_of(&row, 1).map_err(error::classify)?;
        Ok(Inbox { cursor: cursor.map(i64::cast_unsigned), bounds })
    }

    /// See [`crate::store::Store::heads`].
    pub(in crate::store) async fn heads(&self, timelines: &[Timeline]) -> Result<Vec<Bounds>, StoreError> {
        let mut heads = HashMap::with_capacity(timelines.len());
        // A connection is given back in between, so that a long list does not hold up the others.
        for chunk in timelines.chunks(HEADS_AT_ONCE) {
            let mut lent = self.pool.lend().await?;
            let rows = HEADS.fetch(&mut lent, chunk, |bound, name| {
                bound.bind(name.as_str().as_bytes());
            });
            let rows = within::<MySqlConnection, _>(rows).await?;
            lent.give_back();
            for row in &rows {
                let name: Vec<u8> = row.try_get(0).map_err(error::classify)?;
                heads.insert(name, bounds_of(row, 1).map_err(error::classify)?);
            }
        }
        let bounds =
            |timeline: &Timeline| heads.get(timeline.as_str().as_bytes()).copied().unwrap_or_default();
        Ok(timelines.iter().map(bounds).collect())
    }

    /// See [`crate::store::Store::conv_seq`].
    pub(in crate::store) async fn conv_seq(
        &self,
        sender: &UserId,
        local_id: &LocalId,
    ) -> Result<Option<u64>, StoreError> {
        let mut lent = self.pool.lend().await?;
        let query =
            sqlx::query_scalar(CONV_SEQ).bind(local_id.as_str().as_bytes()).bind(sender.as_str().as_bytes());
        let seq: Option<i64> = within::<MySqlConnection, _>(query.fetch_optional(&mut *lent)).await?;
        lent.give_back();
        Ok(seq.map(i64::cast_unsigned))
    }
}

/// Adds the rows of a page: one with the bounds, which has no seq, and the entries. A union promises no order.
fn fill(
    builder: &mut PageBuilder,
    timeline: &Timeline,
    range: Range,
    rows: &[MySqlRow],
) -> Result<(), sqlx::Error> {
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        match row.try_get::<Option<i64>, _>(2)? {
            Some(seq) => entries.push(entry(seq, row)?),
            None => builder.bounds(bounds_of(row, 0)?),
        }
    }
    entries.sort_unstable_by_key(|entry| entry.seq);
    if let Range::Before(_) = range {
        entries.reverse();
    }
    builder.add_rows(timeline, entries);
    Ok(())
}

fn entry(seq: i64, row: &MySqlRow) -> Result<Row<'_>, sqlx::Error> {
    Ok(Row { seq: seq.cast_unsigned(), conv_seq: row.try_get(3)?, encoded: row.try_get(4)? })
}

/// A timeline's head and floor from two columns; NULL if there is no such timeline.
fn bounds_of(row: &MySqlRow, column: usize) -> Result<Bounds, sqlx::Error> {
    let (head, floor): (Option<i64>, Option<i64>) = (row.try_get(column)?, row.try_get(column + 1)?);
    Ok(head.zip(floor).map(|(head, floor)| Bounds::of_row(head, floor)).unwrap_or_default())
}

// The bounds, and the entries until those before one have more bytes than a page may: bodies that nobody takes are not
// sent, and one too many tells the page that it is full. The body of an expired message is not even read.
macro_rules! page {
    ($compare:literal, $order:literal) => {
        concat!(
            "SELECT head, floor, NULL AS seq, NULL AS conv_seq, NULL AS body FROM heads WHERE name = ? UNION ALL \
             (SELECT NULL, NULL, p.seq, m.conv_seq, CASE WHEN m.expire_at = 0 OR m.expire_at > ? THEN m.body END FROM \
             (SELECT v.seq, v.message, sum(v.bytes) OVER (ORDER BY v.seq ",
            $order,
            ") - v.bytes AS ahead FROM (SELECT e.seq, e.message, \
             CASE WHEN m.expire_at = 0 OR m.expire_at > ? THEN coalesce(octet_length(m.body), 0) ELSE 0 END AS bytes FROM \
             (SELECT e.seq, e.message FROM heads h FORCE INDEX (PRIMARY) STRAIGHT_JOIN entries e FORCE INDEX (PRIMARY) \
             ON e.timeline = h.id AND e.seq ",
            $compare,
            " ? WHERE h.name = ? ORDER BY e.seq ",
            $order,
            " LIMIT ?) e LEFT JOIN messages m ON m.id = e.message) v) p \
             LEFT JOIN messages m ON m.id = p.message WHERE p.ahead <= ?)"
        )
    };
}
pub(super) const PAGE_AFTER: &str = page!(">", "ASC");
pub(super) const PAGE_BEFORE: &str = page!("<", "DESC");

pub(super) const INBOX: &str = "SELECT c.seq, h.head, h.floor FROM (SELECT 1) AS one \
     LEFT JOIN cursors c ON c.user_id = ? AND c.device_id = ? LEFT JOIN heads h ON h.name = ?";

pub(super) const CONV_SEQ: &str = "SELECT m.conv_seq FROM names n FORCE INDEX (PRIMARY) \
     STRAIGHT_JOIN messages m ON m.id = n.id WHERE n.local_id = ? AND n.send_id = ?";

pub(super) const HEADS: Many = Many {
    before: "SELECT name, head, floor FROM heads FORCE INDEX (PRIMARY) WHERE name IN (",
    row: "?",
    between: ",",
    after: ")",
};
const HEADS_AT_ONCE: usize = 2_048;
