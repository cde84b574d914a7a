//! Retention of channels by their rules: a walk over the channels, not over their messages.

use sqlx::sqlite::SqliteRow;

use super::Store;
use super::retain::MAX_STEP_ROWS;
use super::row::{bytes, head, integer};
use super::script::Script;
use crate::channels::Rules;
use crate::store::age::Age;
use crate::store::channels::{self, Channel, Floors};
use crate::store::server::floors::{Ages, Candidate, Part, old_parts};
use crate::store::{Bounds, Removed, StoreError};

impl Store {
    /// See [`crate::store::Store::retain_channels`].
    pub(in crate::store) async fn retain_channels(
        &self,
        (rules, remember_ms): (&Rules, u64),
        now_ms: i64,
        budget: usize,
    ) -> Result<Removed, StoreError> {
        let budget = budget.clamp(1, MAX_STEP_ROWS);
        let remember = Age::new(remember_ms, now_ms);
        let mut walk = self.walk.lock().await;
        loop {
            let after = if walk.channel.is_empty() { channels::FIRST.as_bytes() } else { &walk.channel };
            let rows = self.read_all(sqlx::query(CHANNELS).bind(after).bind(budget as i64)).await?;
            let Some(last) = rows.last() else {
                walk.channel.clear();
                return Ok(Removed::default());
            };
            let mut found = Vec::with_capacity(rows.len());
            for row in &rows {
                found.extend(channel(row, rules)?);
            }
            let mut removed = self.raise_floors(channels::too_many(&found, budget), remember).await?;
            if removed.is_nothing() {
                let old = self.old(&found, now_ms, budget).await?;
                removed = self.raise_floors(old, remember).await?;
            }
            if !removed.is_nothing() {
                return Ok(removed);
            }
            walk.channel = bytes(last, 0)?.to_vec();
        }
    }

    /// To where floors rise by age.
    async fn old(&self, found: &[Channel], now_ms: i64, budget: usize) -> Result<Floors, StoreError> {
        let (floors, ages) = channels::maybe_old(found, now_ms, budget);
        let part = |channel: &Channel| {
            let (timeline, from) = channel.begins();
            Some(Part { timeline, from, below: *floors.get(&timeline)? })
        };
        let mut parts: Vec<_> = found.iter().filter_map(part).collect();
        parts.sort_unstable_by_key(|part| part.timeline);
        let mut script = Script::default();
        script.rows(TIMES, 3, &parts, |script, part| {
            script.bind(part.timeline).bind(part.from.cast_signed()).bind(part.below.cast_signed());
        });
        let mut entries = Vec::new();
        for row in self.read_script(script).await?.iter().flatten() {
            let (timeline, seq) = (integer(row, 0)?, integer(row, 1)?.cast_unsigned());
            entries.push(Candidate { timeline, seq, message: integer(row, 2)?, send_time: integer(row, 3)? });
        }
        entries.sort_unstable();
        let old = old_parts(&parts, &entries, &Ages::Each(ages));
        Ok(old.into_iter().map(|part| (part.timeline, part.below)).collect())
    }
}

fn channel(row: &SqliteRow, rules: &Rules) -> Result<Option<Channel>, StoreError> {
    let Ok(name) = std::str::from_utf8(bytes(row, 0)?) else { return Ok(None) };
    let bounds = Bounds::of_row(integer(row, 2)?, integer(row, 3)?);
    Ok(Channel::new((integer(row, 1)?, name), bounds, integer(row, 4)?, rules))
}

// Of the floor's entry. CROSS JOIN keeps the order of the tables.
pub(super) const CHANNELS: &str = concat!(
    "SELECT t.name, t.id, ",
    head!("t.id"),
    ", coalesce(f.floor, 1), coalesce((SELECT m.send_time FROM entries e CROSS JOIN messages m ON m.id = e.message \
     WHERE e.timeline = t.id AND e.seq = coalesce(f.floor, 1)), 0) \
     FROM timelines t LEFT JOIN floors f ON f.timeline = t.id WHERE t.name > ? AND t.name < x'633b' \
     ORDER BY t.name LIMIT ?"
);
pub(super) const TIMES: (&str, &str) = (
    "SELECT e.timeline, e.seq, e.message, coalesce((SELECT send_time FROM messages WHERE id = e.message), 0) FROM (",
    ") v CROSS JOIN entries e ON e.timeline = v.column1 AND e.seq >= v.column2 AND e.seq < v.column3",
);
