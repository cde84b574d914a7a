//! Retention of channels by their rules: a walk over the channels, not over their messages.

use super::floors::Ages;
use super::pool::{Pool, within};
use super::retain::{Retain, Step};
use crate::channels::Rules;
use crate::store::age::Age;
use crate::store::channels::{self, Channel};
use crate::store::{Bounds, Removed, StoreError};

/// A channel's timeline with its bounds and the time of its first entry.
#[derive(Debug, Clone)]
pub(in crate::store) struct Row {
    pub(in crate::store) name: String,
    pub(in crate::store) timeline: i64,
    pub(in crate::store) bounds: Bounds,
    /// 0, if there is none.
    pub(in crate::store) first: i64,
}

/// One step; see [`crate::store::Store::retain_channels`]. `walked` is the last name whose channel has nothing left to
/// remove; empty: the walk is at its beginning.
pub(in crate::store) async fn retain_channels<C: Retain>(
    pool: &Pool<C>,
    walked: &mut String,
    (rules, remember_ms): (&Rules, u64),
    now_ms: i64,
    budget: usize,
) -> Result<Removed, StoreError> {
    let step = Step::new(pool, budget, Age::new(remember_ms, now_ms));
    loop {
        let after = if walked.is_empty() { channels::FIRST } else { &*walked };
        let mut lent = pool.lend().await?;
        let rows = within::<C, _>(lent.channels(after, step.budget)).await?;
        lent.give_back();
        let Some(last) = rows.last() else {
            walked.clear();
            return Ok(Removed::default());
        };
        let channel = |row: &Row| Channel::new((row.timeline, &row.name), row.bounds, row.first, rules);
        let found: Vec<_> = rows.iter().filter_map(channel).collect();
        let mut removed = step.raise(channels::too_many(&found, step.budget), None).await?;
        if removed.is_nothing() {
            let (floors, ages) = channels::maybe_old(&found, now_ms, step.budget);
            removed = step.raise(floors, Some(&Ages::Each(ages))).await?;
        }
        if !removed.is_nothing() {
            return Ok(removed);
        }
        walked.clone_from(&last.name);
    }
}
