//! Retention, in steps: each call finds some work, and does it in one short transaction, so that appends go in between.
//!
//! One process at a time does a step: the transaction begins with a lock of retention, and who finds it taken has nothing
//! to do. What is found without the lock is looked at again under it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::channels::Row;
use super::floors::{self, Ages, Candidate, Part};
use super::pool::{Engine, Lent, Pool, within};
use crate::store::age::{Age, Aged};
use crate::store::places;
use crate::store::{Bounds, Removed, Retention, StoreError};

/// A message that has entries, or had.
#[derive(Debug, Clone)]
pub(in crate::store) struct Live {
    pub(in crate::store) id: i64,
    pub(in crate::store) send_time: i64,
    pub(in crate::store) places: Vec<u8>,
}

/// A remembered pair.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Name {
    pub(in crate::store) id: i64,
    pub(in crate::store) send_time: i64,
    /// Its message has entries.
    pub(in crate::store) is_live: bool,
}

type Result<T> = std::result::Result<T, sqlx::Error>;

/// What retention asks of an engine's connection.
pub(in crate::store) trait Retain: Engine {
    /// Messages with a greater number, the lowest first.
    async fn live(&mut self, after: i64, limit: usize) -> Result<Vec<Live>>;
    /// Pairs with a greater number, the lowest first.
    async fn names(&mut self, after: i64, limit: usize) -> Result<Vec<Name>>;
    /// What is to be emptied: expire_at and message, the earliest first.
    async fn expired(&mut self, now_ms: i64, limit: usize) -> Result<Vec<(i64, i64)>>;
    /// The cursors last used before `cutoff`: user and device.
    async fn unused_cursors(&mut self, cutoff: i64, limit: usize) -> Result<Vec<(String, String)>>;
    /// The timelines of channels with a greater name, the lowest first.
    async fn channels(&mut self, after: &str, limit: usize) -> Result<Vec<Row>>;
    /// The bounds of timelines.
    async fn bounds(&mut self, timelines: &[i64]) -> Result<HashMap<i64, Bounds>>;

    /// Begins a transaction with the lock of retention; whether it was free.
    async fn begin_step(&mut self) -> Result<bool>;
    /// The bounds of timelines, whose heads are locked in the global order.
    async fn lock(&mut self, timelines: &[i64]) -> Result<HashMap<i64, Bounds>>;
    /// The entries of the parts.
    async fn entries(&mut self, parts: &[Part]) -> Result<Vec<Candidate>>;
    /// Removes the entries of the parts, and raises the floors.
    async fn remove(&mut self, parts: &[Part]) -> Result<()>;
    /// The messages of these numbers.
    async fn messages(&mut self, ids: &[i64]) -> Result<Vec<Live>>;
    /// Removes messages; their names remember the places.
    async fn bury(&mut self, ids: &[i64]) -> Result<()>;
    /// Removes names.
    async fn forget(&mut self, ids: &[i64]) -> Result<()>;
    /// Removes bodies, and what said that they are to be removed; how many there were.
    async fn empty(&mut self, expired: &[(i64, i64)]) -> Result<u64>;
    /// Removes these cursors if they were last used before `cutoff`; how many there were.
    async fn drop_cursors(&mut self, cutoff: i64, keys: &[(String, String)]) -> Result<u64>;
    /// Ends the transaction.
    async fn commit_step(&mut self) -> Result<()>;
}

/// Where the passes over the tables stand between steps.
#[derive(Debug, Default)]
pub(in crate::store) struct Walk {
    counted: Counted,
    /// Names up to this number were old when they were looked at: they are forgotten, or will be with their message.
    name: i64,
    /// Where the walk over the channels stands.
    pub(super) channel: String,
}

/// The pass that counts entries. Only a new message can make a timeline's entries too many; but a writer may commit a
/// lower number after a higher one was seen, so each pass begins where the one before the last ended.
#[derive(Debug, Default)]
struct Counted {
    /// With another figure everything is counted anew.
    max_entries: u64,
    /// Where the pass stands.
    at: i64,
    /// Where the last pass ended.
    ended: i64,
}

/// One step; see [`crate::store::Store::retain`].
pub(in crate::store) async fn retain<C: Retain>(
    pool: &Pool<C>,
    walk: &mut Walk,
    retention: Retention,
    now_ms: i64,
    budget: usize,
) -> std::result::Result<Removed, StoreError> {
    let step = Step::new(pool, budget, Age::new(retention.remember_ms, now_ms));
    let mut removed = step.empty_expired(now_ms).await?;
    if removed.is_nothing()
        && let Some(max_age_ms) = retention.max_age_ms
    {
        removed = step.remove_old(Age::new(max_age_ms, now_ms)).await?;
    }
    if removed.is_nothing()
        && let Some(max_entries) = retention.max_entries
    {
        removed = step.remove_many(max_entries, &mut walk.counted).await?;
    }
    if removed.is_nothing() {
        removed = step.forget_names(&mut walk.name).await?;
    }
    if removed.is_nothing() {
        removed = step.forget_cursors(Age::new(retention.cursor_ms, now_ms)).await?;
    }
    Ok(removed)
}

/// What a step goes by.
pub(super) struct Step<'a, C: Engine> {
    pool: &'a Pool<C>,
    /// The most rows it removes.
    pub(super) budget: usize,
    remember: Age,
}

impl<'a, C: Retain> Step<'a, C> {
    pub(super) fn new(pool: &'a Pool<C>, budget: usize, remember: Age) -> Self {
        Self { pool, budget: budget.clamp(1, MAX_STEP_ROWS), remember }
    }

    /// Bodies past their expire_at; the entries stay and are served as gone.
    async fn empty_expired(&self, now_ms: i64) -> std::result::Result<Removed, StoreError> {
        loop {
            let mut lent = self.pool.lend().await?;
            let expired = within::<C, _>(lent.expired(now_ms, self.budget)).await?;
            if expired.is_empty() {
                lent.give_back();
                return Ok(Removed::default());
            }
            let Some(mut lent) = begin(lent).await? else { return Ok(Removed::default()) };
            let bodies = within::<C, _>(lent.empty(&expired)).await?;
            commit(lent).await?;
            if bodies > 0 {
                return Ok(Removed { bodies, ..Removed::default() });
            }
        }
    }

    /// The oldest messages: numbers rise with time, so they are about a prefix of every timeline they are in.
    async fn remove_old(&self, age: Age) -> std::result::Result<Removed, StoreError> {
        let oldest = self.live(0).await?;
        let old = &oldest[..age.old_prefix(oldest.iter().map(|live| live.send_time))];
        let places = old.iter().map(|live| places::required(&live.places));
        let places = places.collect::<std::result::Result<Vec<_>, _>>()?;
        self.raise(floors::of_messages(&places, self.budget), Some(&Ages::All(age))).await
    }

    /// The oldest entries of timelines that have too many.
    async fn remove_many(
        &self,
        max_entries: u64,
        counted: &mut Counted,
    ) -> std::result::Result<Removed, StoreError> {
        if counted.max_entries != max_entries {
            *counted = Counted { max_entries, ..Counted::default() };
        }
        loop {
            let new = self.live(counted.at).await?;
            let Some(last) = new.last() else {
                (counted.at, counted.ended) = (counted.ended, counted.at.max(counted.ended));
                return Ok(Removed::default());
            };
            let mut timelines = BTreeSet::new();
            for live in &new {
                timelines.extend(places::required(&live.places)?.into_iter().map(|(timeline, _)| timeline));
            }
            let timelines: Vec<i64> = timelines.into_iter().collect();
            let mut lent = self.pool.lend().await?;
            let bounds = within::<C, _>(lent.bounds(&timelines)).await?;
            lent.give_back();
            let (raised, all) = floors::excess(&bounds.into_iter().collect(), max_entries, self.budget);
            let removed = self.raise(raised, None).await?;
            if all {
                counted.at = last.id;
            }
            if !removed.is_nothing() {
                return Ok(removed);
            }
        }
    }

    async fn live(&self, after: i64) -> std::result::Result<Vec<Live>, StoreError> {
        let mut lent = self.pool.lend().await?;
        let live = within::<C, _>(lent.live(after, self.budget)).await?;
        lent.give_back();
        Ok(live)
    }

    /// Raises floors, removes the entries below them, the messages that no entry leads to any more, and the names of
    /// those if they were remembered long enough. By age, only what is old itself.
    pub(super) async fn raise(
        &self,
        floors: BTreeMap<i64, u64>,
        ages: Option<&Ages>,
    ) -> std::result::Result<Removed, StoreError> {
        if floors.is_empty() {
            return Ok(Removed::default());
        }
        let Some(mut lent) = begin(self.pool.lend().await?).await? else { return Ok(Removed::default()) };
        let timelines: Vec<i64> = floors.keys().copied().collect();
        let bounds = within::<C, _>(lent.lock(&timelines)).await?;
        let mut parts = floors::parts(&floors, &bounds);
        let mut entries = within::<C, _>(lent.entries(&parts)).await?;
        entries.sort_unstable();
        if let Some(ages) = ages {
            parts = floors::old_parts(&parts, &entries, ages);
            entries.retain(|entry| {
                let part = parts.binary_search_by_key(&entry.timeline, |part| part.timeline);
                part.is_ok_and(|place| entry.seq < parts[place].below)
            });
        }
        within::<C, _>(lent.remove(&parts)).await?;
        let (bodies, names) = self.bury(&mut lent, &entries).await?;
        commit(lent).await?;
        Ok(Removed { entries: entries.len() as u64, bodies, names, cursors: 0 })
    }

    /// Removes the messages of removed entries if those were their last; how many, and how many names with them.
    async fn bury(
        &self,
        lent: &mut Lent<'_, C>,
        entries: &[Candidate],
    ) -> std::result::Result<(u64, u64), StoreError> {
        let ids: BTreeSet<i64> = entries.iter().map(|entry| entry.message).collect();
        let messages = within::<C, _>(lent.messages(&ids.into_iter().collect::<Vec<_>>())).await?;
        let mut placed = Vec::with_capacity(messages.len());
        for live in &messages {
            placed.push((live, places::required(&live.places)?));
        }
        let timelines = placed.iter().flat_map(|(_, places)| places).map(|(timeline, _)| *timeline);
        let timelines: Vec<i64> = timelines.collect::<BTreeSet<_>>().into_iter().collect();
        let bounds = within::<C, _>(lent.bounds(&timelines)).await?;
        placed.retain(|(_, places)| floors::is_dead(places, &bounds));
        let dead: Vec<i64> = placed.iter().map(|(live, _)| live.id).collect();
        let old = placed.iter().filter(|(live, _)| self.remember.of(live.send_time) == Aged::Old);
        let old: Vec<i64> = old.map(|(live, _)| live.id).collect();
        within::<C, _>(lent.bury(&dead)).await?;
        within::<C, _>(lent.forget(&old)).await?;
        Ok((dead.len() as u64, old.len() as u64))
    }

    /// Names that were remembered long enough and whose message went before.
    async fn forget_names(&self, walked: &mut i64) -> std::result::Result<Removed, StoreError> {
        let mut forgotten = Vec::new();
        let (mut at, mut end) = (*walked, false);
        while forgotten.is_empty() && !end {
            let mut lent = self.pool.lend().await?;
            let names = within::<C, _>(lent.names(at, self.budget)).await?;
            lent.give_back();
            end = names.is_empty();
            for name in names {
                match self.remember.of(name.send_time) {
                    Aged::Old if !name.is_live => forgotten.push(name.id),
                    Aged::Old | Aged::Ahead => {}
                    Aged::Current => {
                        end = true;
                        break;
                    }
                }
                at = name.id;
            }
        }
        if !forgotten.is_empty() {
            let Some(mut lent) = begin(self.pool.lend().await?).await? else { return Ok(Removed::default()) };
            within::<C, _>(lent.forget(&forgotten)).await?;
            commit(lent).await?;
        }
        *walked = at;
        Ok(Removed { names: forgotten.len() as u64, ..Removed::default() })
    }

    /// Cursors that no device used for long.
    async fn forget_cursors(&self, age: Age) -> std::result::Result<Removed, StoreError> {
        let mut lent = self.pool.lend().await?;
        let mut unused = within::<C, _>(lent.unused_cursors(age.cutoff(), self.budget)).await?;
        if unused.is_empty() {
            lent.give_back();
            return Ok(Removed::default());
        }
        unused.sort_unstable();
        let Some(mut lent) = begin(lent).await? else { return Ok(Removed::default()) };
        let cursors = within::<C, _>(lent.drop_cursors(age.cutoff(), &unused)).await?;
        commit(lent).await?;
        Ok(Removed { cursors, ..Removed::default() })
    }
}

/// Begins the transaction of a step; `None` if another process is at one.
async fn begin<C: Retain>(mut lent: Lent<'_, C>) -> std::result::Result<Option<Lent<'_, C>>, StoreError> {
    if within::<C, _>(lent.begin_step()).await? {
        return Ok(Some(lent));
    }
    commit(lent).await?;
    Ok(None)
}

async fn commit<C: Retain>(mut lent: Lent<'_, C>) -> std::result::Result<(), StoreError> {
    within::<C, _>(lent.commit_step()).await?;
    lent.give_back();
    Ok(())
}

/// The most rows of a step: it holds locks for some ten milliseconds.
const MAX_STEP_ROWS: usize = 2_000;
