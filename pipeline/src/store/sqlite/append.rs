//! Appends a batch in one transaction.
//!
//! The order (ARCHITECTURE.md "The store") is made for engines whose writers run beside each other: claim by inserting,
//! lock heads by raising. Here BEGIN IMMEDIATE keeps every other writer out, so a claim is a SELECT of the pairs that
//! exist, a head is locked by reading it, and raised by the entries; what follows are inserts of complete rows, none of
//! which is changed again. Two commands to the connection's thread do it: look up, then write and commit; for timelines
//! lately written to the second alone (`heads`), which for a few messages is a single statement (`written`).

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::heads::Last;
use super::row::{bytes, head, integer};
use super::script::{Answers, Script};
use super::writer::Writing;
use super::written::{Found, Written};
use super::{Store, error};
use crate::record::Record;
use crate::store::batch::{Batch, First, Known};
use crate::store::{Outcome, StoreError};

impl Store {
    /// See [`crate::store::Store::append`].
    pub(in crate::store) async fn append(&self, records: &[&Record]) -> Result<Vec<Outcome>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let batch = Batch::new(records);
        let mut writing = self.writer.lend().await?;
        let known = match write_known(&mut writing, &batch).await? {
            Some(known) => known,
            None => {
                let found = look_up(&mut writing, &batch).await?;
                write(&mut writing, &batch, found).await?
            }
        };
        writing.give_back();
        Ok(batch.outcomes(&known))
    }
}

/// Writes without looking anything up, if all timelines are known; `None` if they are not, or if it turns out that
/// something is stored already.
async fn write_known(writing: &mut Writing<'_>, batch: &Batch<'_>) -> Result<Option<Vec<Known>>, StoreError> {
    let Some((last, heads)) = writing.heads().recall(batch.timelines()) else {
        return Ok(None);
    };
    let known = vec![None; batch.firsts().len()];
    let found = Found { known, heads: heads.into_iter().map(Some).collect(), last };
    let (written, known) = Written::new(batch, found);
    let is_one = written.is_one_statement();
    let result = if is_one {
        writing.try_alone(written.statement()).await
    } else {
        let mut script = Script::default();
        written.add_to(script.statement("BEGIN IMMEDIATE"));
        writing.try_commit(script).await
    };
    match result {
        Ok(()) => {
            keep_heads(writing, batch, &written);
            Ok(Some(known))
        }
        Err(error) if error::is_taken(&error) => {
            writing.heads().forget();
            if !is_one {
                let mut script = Script::default();
                script.statement("ROLLBACK");
                script.run(writing).await.map_err(error::classify)?;
            }
            Ok(None)
        }
        Err(error) => Err(error::classify(error)),
    }
}

/// Adds what is new and commits; what is stored for each of the batch's firsts then.
async fn write(writing: &mut Writing<'_>, batch: &Batch<'_>, found: Found) -> Result<Vec<Known>, StoreError> {
    let (written, known) = Written::new(batch, found);
    let mut script = Script::default();
    written.add_to(&mut script);
    writing.try_commit(script).await.map_err(error::classify)?;
    keep_heads(writing, batch, &written);
    Ok(known)
}

fn keep_heads(writing: &mut Writing<'_>, batch: &Batch<'_>, written: &Written<'_>) {
    let heads = batch.timelines().iter().zip(&written.heads).filter(|(_, (_, head))| *head > 0);
    writing.heads().keep(written.last, heads.map(|(name, head)| (name.clone(), *head)));
}

async fn look_up(writing: &mut Writing<'_>, batch: &Batch<'_>) -> Result<Found, StoreError> {
    let mut script = Script::default();
    script.statement("BEGIN IMMEDIATE").statement(LAST_NUMBERS);
    let firsts: Vec<(usize, &First<'_>)> = batch.firsts().iter().enumerate().collect();
    script.rows(FIND_NAMES, 3, &firsts, |script, (place, first)| {
        script.bind(first.record.local_id.as_str().as_bytes());
        script.bind(first.record.sender.as_str().as_bytes());
        script.bind(*place as i64);
    });
    let timelines: Vec<_> = batch.timelines().iter().enumerate().collect();
    script.rows(FIND_HEADS, 2, &timelines, |script, (place, name)| {
        script.bind(name.as_str().as_bytes()).bind(*place as i64);
    });
    let answers = script.run(writing).await.map_err(error::classify)?;
    Found::new(batch, &answers)
}

impl Found {
    fn new(batch: &Batch<'_>, answers: &Answers) -> Result<Self, StoreError> {
        let mut found = Self {
            known: vec![None; batch.firsts().len()],
            heads: vec![None; batch.timelines().len()],
            last: Last::default(),
        };
        for row in answers.iter().flatten() {
            // Each of the three SELECTs has a number of columns of its own.
            match row.len() {
                2 => found.last = Last { name: integer(row, 0)?, timeline: integer(row, 1)? },
                3 => {
                    let head = integer(row, 2)?.cast_unsigned();
                    found.heads[place(row, batch.timelines().len())?] = Some((integer(row, 1)?, head));
                }
                _ => {
                    let place = place(row, batch.firsts().len())?;
                    let damaged = || Known::damaged(batch.firsts()[place].record);
                    found.known[place] = Some(known(row)?.unwrap_or_else(damaged));
                }
            }
        }
        Ok(found)
    }
}

/// What a row of `FIND_NAMES` says of a pair that was there before; `None` if it is damaged.
fn known(row: &SqliteRow) -> Result<Option<Known>, StoreError> {
    let refused: Option<i64> = row.try_get_unchecked(4).map_err(error::classify)?;
    let reason: Option<String> = row.try_get_unchecked(5).map_err(error::classify)?;
    Ok(Known::of_row(bytes(row, 1)?, refused, reason, integer(row, 2)?, Some(bytes(row, 3)?)))
}

/// The place that was bound with a row and came back with it, in its first column.
fn place(row: &SqliteRow, count: usize) -> Result<usize, StoreError> {
    let place = usize::try_from(integer(row, 0)?).ok().filter(|place| *place < count);
    place.ok_or_else(|| StoreError::Damaged("a row came back with a place that was never given".to_owned()))
}

pub(super) const LAST_NUMBERS: &str =
    "SELECT coalesce((SELECT max(id) FROM names), 0), coalesce((SELECT max(id) FROM timelines), 0)";

// CROSS JOIN keeps the order of the tables, so that the given rows are looked up one by one.
pub(super) const FIND_NAMES: (&str, &str) = (
    "SELECT v.column3, n.hash, n.send_time, n.placements, n.refused, n.reason FROM (",
    ") v CROSS JOIN names n ON n.local_id = v.column1 AND n.send_id = v.column2",
);
pub(super) const FIND_HEADS: (&str, &str) = (
    concat!("SELECT v.column2, t.id, ", head!("t.id"), " FROM ("),
    ") v CROSS JOIN timelines t ON t.name = v.column1",
);
