//! Pages, heads, and what a session starts from. Each is a single SELECT, so each is one snapshot.

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use tidegate_proto::id::{DeviceId, LocalId, UserId};
use tidegate_proto::timeline::Timeline;

use super::row::{bounds, bounds_of, integer};
use super::script::Script;
use super::{Store, error};
use crate::store::page::{PageBuilder, Row};
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
        let query = sqlx::query(sql)
            .bind(now_ms)
            .bind(saturated(from))
            .bind(timeline.as_str().as_bytes())
            .bind(saturated(limit.max(1) as u64));
        let mut builder = PageBuilder::new(range, limit, max_bytes);
        self.read(async |reading| {
            let mut rows = query.fetch(reading);
            while let Some(row) = rows.try_next().await? {
                if !add(&mut builder, timeline, &row)? {
                    break;
                }
            }
            Ok(())
        })
        .await?;
        Ok(builder.finish(timeline))
    }

    /// See [`crate::store::Store::inbox`].
    pub(in crate::store) async fn inbox(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<Inbox, StoreError> {
        let query = sqlx::query(INBOX)
            .bind(user.as_str().as_bytes())
            .bind(device.as_str().as_bytes())
            .bind(Timeline::inbox(user).as_str().as_bytes().to_vec());
        let Some(row) = self.read_optional(query).await? else {
            return Ok(Inbox::default());
        };
        let cursor: Option<i64> = row.try_get_unchecked(0).map_err(error::classify)?;
        let bounds = bounds_of(&row, 1).map_err(error::classify)?;
        Ok(Inbox { cursor: cursor.map(i64::cast_unsigned), bounds })
    }

    /// See [`crate::store::Store::heads`].
    pub(in crate::store) async fn heads(&self, timelines: &[Timeline]) -> Result<Vec<Bounds>, StoreError> {
        let mut heads = vec![Bounds::default(); timelines.len()];
        let named: Vec<(usize, &Timeline)> = timelines.iter().enumerate().collect();
        // A connection is given back in between, so that a long list does not hold up the others.
        for chunk in named.chunks(HEADS_AT_ONCE) {
            let mut script = Script::default();
            script.rows(HEADS, 2, chunk, |script, (place, name)| {
                script.bind(name.as_str().as_bytes()).bind(*place as i64);
            });
            for row in self.read_script(script).await?.iter().flatten() {
                let place: i64 = row.try_get_unchecked(0).map_err(error::classify)?;
                heads[place as usize] = bounds_of(row, 1).map_err(error::classify)?;
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
        let query = sqlx::query(CONV_SEQ)
            .bind(local_id.as_str().as_bytes().to_vec())
            .bind(sender.as_str().as_bytes().to_vec());
        let row = self.read_optional(query).await?;
        row.map(|row| integer(&row, 0).map(i64::cast_unsigned)).transpose()
    }
}

/// Adds a row of a page; whether more are wanted.
fn add(builder: &mut PageBuilder, timeline: &Timeline, row: &SqliteRow) -> Result<bool, sqlx::Error> {
    builder.bounds(bounds_of(row, 0)?);
    let Some(seq) = row.try_get_unchecked::<Option<i64>, _>(2)? else {
        return Ok(false);
    };
    let (conv_seq, encoded) = (row.try_get_unchecked(3)?, row.try_get_unchecked(4)?);
    Ok(builder.add_row(timeline, Row { seq: seq.cast_unsigned(), conv_seq, encoded }))
}

fn saturated(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

// The body of an expired message is not even read.
macro_rules! page {
    ($compare:literal, $order:literal) => {
        concat!(
            "SELECT ",
            bounds!("t.id"),
            ", e.seq, m.conv_seq, CASE WHEN m.expire_at = 0 OR m.expire_at > ? THEN m.body END \
             FROM timelines t LEFT JOIN entries e ON e.timeline = t.id AND e.seq ",
            $compare,
            " ? LEFT JOIN messages m ON m.id = e.message WHERE t.name = ? ORDER BY e.seq ",
            $order,
            " LIMIT ?"
        )
    };
}
pub(super) const PAGE_AFTER: &str = page!(">", "ASC");
pub(super) const PAGE_BEFORE: &str = page!("<", "DESC");

pub(super) const INBOX: &str = concat!(
    "SELECT c.cursor, ",
    bounds!("t.id"),
    " FROM (SELECT 1) LEFT JOIN cursors c ON c.user_id = ? AND c.device_id = ? \
     LEFT JOIN timelines t ON t.name = ?"
);

pub(super) const CONV_SEQ: &str = "SELECT m.conv_seq FROM names n CROSS JOIN messages m ON m.id = n.id \
     WHERE n.local_id = ? AND n.send_id = ?";

pub(super) const HEADS: (&str, &str) = (
    concat!("SELECT v.column2, ", bounds!("t.id"), " FROM ("),
    ") v CROSS JOIN timelines t ON t.name = v.column1",
);
const HEADS_AT_ONCE: usize = 512;
