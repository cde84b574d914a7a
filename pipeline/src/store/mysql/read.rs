//! Pages, heads, and what a session starts from. Each is a single SELECT, so each is one snapshot.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use tidegate_proto::id::{DeviceId, UserId};
use tidegate_proto::timeline::Timeline;
use tracing::error;

use super::rows::Many;
use super::{Store, error};
use crate::body::Body;
use crate::store::page::PageBuilder;
use crate::store::server::pool::within;
use crate::store::server::saturated;
use crate::store::{Bounds, Inbox, Page, PageEntry, Range, StoreError};

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
            .bind(now_ms)
            .bind(saturated(from))
            .bind(timeline.as_str().as_bytes())
            .bind(saturated(limit.max(1) as u64));
        let mut builder = PageBuilder::new(range, limit, max_bytes);
        within::<MySqlConnection, _>(async {
            let mut rows = query.fetch(&mut *lent);
            let mut is_wanted = true;
            // To the last row, so that the connection is as good as new.
            while let Some(row) = rows.try_next().await? {
                is_wanted = is_wanted && add(&mut builder, timeline, &row)?;
            }
            Ok(())
        })
        .await?;
        lent.give_back();
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
}

/// Adds a row of a page; whether more are wanted.
fn add(builder: &mut PageBuilder, timeline: &Timeline, row: &MySqlRow) -> Result<bool, sqlx::Error> {
    builder.bounds(bounds_of(row, 0)?);
    let Some(seq) = row.try_get::<Option<i64>, _>(2)? else {
        return Ok(false);
    };
    let seq = seq.cast_unsigned();
    let Some(conv_seq) = row.try_get::<Option<i64>, _>(3)? else {
        error!(%timeline, seq, "an entry leads to no message: served as gone");
        return Ok(builder.add(seq, PageEntry::Gone));
    };
    let Some(encoded) = row.try_get::<Option<&[u8]>, _>(4)? else {
        return Ok(builder.add(seq, PageEntry::Gone));
    };
    let entry = Body::from_stored(encoded, conv_seq.cast_unsigned()).map_or_else(
        || {
            error!(%timeline, seq, "a stored message cannot be decoded: served as gone");
            PageEntry::Gone
        },
        PageEntry::Msg,
    );
    Ok(builder.add(seq, entry))
}

/// A timeline's head and floor from two columns; NULL if there is no such timeline.
fn bounds_of(row: &MySqlRow, column: usize) -> Result<Bounds, sqlx::Error> {
    let (head, floor): (Option<i64>, Option<i64>) = (row.try_get(column)?, row.try_get(column + 1)?);
    Ok(head.zip(floor).map_or_else(Bounds::default, |(head, floor)| Bounds {
        head: head.cast_unsigned(),
        floor: floor.cast_unsigned(),
    }))
}

// The body of an expired message is not even read.
macro_rules! page {
    ($compare:literal, $order:literal) => {
        concat!(
            "SELECT h.head, h.floor, e.seq, m.conv_seq, CASE WHEN m.expire_at = 0 OR m.expire_at > ? THEN m.body END \
             FROM heads h FORCE INDEX (PRIMARY) LEFT JOIN entries e FORCE INDEX (PRIMARY) \
             ON e.timeline = h.id AND e.seq ",
            $compare,
            " ? LEFT JOIN messages m ON m.id = e.message WHERE h.name = ? ORDER BY e.seq ",
            $order,
            " LIMIT ?"
        )
    };
}
pub(super) const PAGE_AFTER: &str = page!(">", "ASC");
pub(super) const PAGE_BEFORE: &str = page!("<", "DESC");

pub(super) const INBOX: &str = "SELECT c.seq, h.head, h.floor FROM (SELECT 1) AS one \
     LEFT JOIN cursors c ON c.user_id = ? AND c.device_id = ? LEFT JOIN heads h ON h.name = ?";

pub(super) const HEADS: Many = Many {
    before: "SELECT name, head, floor FROM heads FORCE INDEX (PRIMARY) WHERE name IN (",
    row: "?",
    between: ",",
    after: ")",
};
const HEADS_AT_ONCE: usize = 2_048;
