//! Appends a batch in one transaction.
//!
//! The order of DESIGN section 12 is made for engines whose writers run beside each other: claim by inserting, lock heads
//! by raising. Here BEGIN IMMEDIATE keeps every other writer out, so a claim is a SELECT of the pairs that exist, a head
//! is locked by reading it, and raised by the entries; what follows are inserts of complete rows, none of which is changed
//! again. Two commands to the connection's thread do it: look up, then write and commit; for timelines lately written to
//! the second alone (`heads`).

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;

use super::heads::Last;
use super::row::{bytes, head, integer};
use super::script::{Answers, Script};
use super::writer::Writing;
use super::{Store, error, placements};
use crate::record::Record;
use crate::store::batch::{Batch, Fate, First, Known};
use crate::store::{Outcome, StoreError};

impl Store {
    /// See [`crate::store::Store::append`].
    pub(in crate::store) async fn append(&self, records: &[&Record]) -> Result<Vec<Outcome>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let batch = Batch::new(records);
        let mut writing = self.writer.lend().await?;
        let known = match write_known(&mut writing, &batch).await {
            None => look_up_and_write(&mut writing, "BEGIN IMMEDIATE", &batch).await,
            Some(Err(error)) if error::is_taken(&error) => {
                writing.heads().forget();
                look_up_and_write(&mut writing, "ROLLBACK; BEGIN IMMEDIATE", &batch).await
            }
            Some(written) => written.map_err(error::classify),
        };
        let known = known?;
        writing.give_back();
        Ok(batch.outcomes(&known))
    }
}

/// Writes without looking anything up, if all timelines are known. An error if that is not how things are; then nothing
/// is written, and the transaction is open.
async fn write_known(
    writing: &mut Writing<'_>,
    batch: &Batch<'_>,
) -> Option<Result<Vec<Known>, sqlx::Error>> {
    let (last, heads) = writing.heads().recall(batch.timelines())?;
    let known = vec![None; batch.firsts().len()];
    let found = Found { known, heads: heads.into_iter().map(Some).collect(), last };
    let mut script = Script::default();
    script.statement("BEGIN IMMEDIATE");
    Some(write(writing, script, batch, found).await)
}

async fn look_up_and_write(
    writing: &mut Writing<'_>,
    begin: &str,
    batch: &Batch<'_>,
) -> Result<Vec<Known>, StoreError> {
    let found = look_up(writing, begin, batch).await?;
    write(writing, Script::default(), batch, found).await.map_err(error::classify)
}

/// Adds what is new and commits; what is stored for each of the batch's firsts then.
async fn write(
    writing: &mut Writing<'_>,
    mut script: Script,
    batch: &Batch<'_>,
    found: Found,
) -> Result<Vec<Known>, sqlx::Error> {
    let (written, known) = Written::new(batch, found);
    written.add_to(&mut script);
    writing.try_commit(script).await?;
    let heads = batch.timelines().iter().zip(written.heads).filter(|(_, (_, head))| *head > 0);
    writing.heads().keep(written.last, heads.map(|(name, head)| (name.clone(), head)));
    Ok(known)
}

/// What the store has of a batch when its transaction begins.
struct Found {
    /// For each of the batch's firsts what is stored under its pair.
    known: Vec<Option<Known>>,
    /// For each of the batch's timelines its number and head.
    heads: Vec<Option<(i64, u64)>>,
    last: Last,
}

async fn look_up(writing: &mut Writing<'_>, begin: &str, batch: &Batch<'_>) -> Result<Found, StoreError> {
    let mut script = Script::default();
    script.statement(begin).statement(LAST_NUMBERS);
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
    let Ok(hash) = bytes(row, 1)?.try_into() else { return Ok(None) };
    let refused: Option<i64> = row.try_get_unchecked(4).map_err(error::classify)?;
    let fate = match refused {
        Some(code) => {
            let code = i32::try_from(code).ok().and_then(|code| Code::try_from(code).ok());
            let reason: String = row.try_get_unchecked(5).map_err(error::classify)?;
            code.map(|code| Fate::Refused(Refusal::new(code, reason)))
        }
        None => {
            let send_time = integer(row, 2)?;
            let seqs = |pairs: Vec<(i64, u64)>| pairs.iter().map(|(_, seq)| *seq).collect();
            let seqs = placements::decode(bytes(row, 3)?).map(seqs);
            seqs.map(|seqs| Fate::Stored { repeated: true, send_time, seqs })
        }
    };
    Ok(fate.map(|fate| Known { hash, fate }))
}

/// The rows that a batch adds, and what is known of its timelines then.
#[derive(Default)]
struct Written<'a> {
    timelines: Vec<(i64, &'a str)>,
    /// Number of the message, its seq in the conversation, its placements.
    messages: Vec<(i64, u64, Vec<u8>, &'a Record)>,
    refused: Vec<(i64, &'a Refusal, &'a Record)>,
    entries: Vec<(i64, u64, i64)>,
    /// Number and head of each of the batch's timelines. One without a head has no number.
    heads: Vec<(i64, u64)>,
    last: Last,
}

impl<'a> Written<'a> {
    /// Gives seqs and numbers to what is new. Also what is stored for each of the batch's firsts afterwards.
    fn new(batch: &'a Batch<'_>, found: Found) -> (Self, Vec<Known>) {
        let mut written = Self { last: found.last, ..Self::default() };
        let mut numbered = found.last.timeline;
        let number = |found: &Option<(i64, u64)>| {
            found.unwrap_or_else(|| {
                numbered += 1;
                (numbered, 0)
            })
        };
        let (ids, mut heads): (Vec<i64>, Vec<u64>) = found.heads.iter().map(number).unzip();
        let known = batch.firsts().iter().zip(found.known).map(|(first, known)| {
            known.unwrap_or_else(|| {
                written.last.name += 1;
                written.add(written.last.name, first, &ids, &mut heads)
            })
        });
        let known = known.collect();
        for (place, name) in batch.timelines().iter().enumerate() {
            // Of those that were absent, only what a new message begins is one.
            if heads[place] > 0 && found.heads[place].is_none() {
                written.timelines.push((ids[place], name.as_str()));
                written.last.timeline = ids[place];
            }
        }
        written.entries.sort_unstable();
        written.heads = ids.into_iter().zip(heads).collect();
        (written, known)
    }

    /// Adds the rows of a new record; what is stored under its pair then.
    fn add(&mut self, id: i64, first: &'a First<'_>, ids: &[i64], heads: &mut [u64]) -> Known {
        let record = first.record;
        if let Some(refusal) = &first.refusal {
            self.refused.push((id, refusal, record));
            return Known { hash: record.hash, fate: Fate::Refused(refusal.clone()) };
        }
        let seqs = Batch::give_seqs(first, heads);
        let pairs = || first.timelines.iter().map(|place| ids[*place]).zip(seqs.iter().copied());
        self.entries.extend(pairs().map(|(timeline, seq)| (timeline, seq, id)));
        self.messages.push((id, seqs[0], placements::encode(pairs()), record));
        let fate = Fate::Stored { repeated: false, send_time: record.send_time, seqs };
        Known { hash: record.hash, fate }
    }

    /// Adds the statements that write the rows.
    fn add_to(&self, script: &mut Script) {
        script.rows(ADD_TIMELINES, 2, &self.timelines, |script, (id, name)| {
            script.bind(*id).bind(name.as_bytes());
        });
        script.rows(ADD_NAMES, 6, &self.messages, |script, (id, _, placements, record)| {
            bind_name(script, *id, record).bind(&placements[..]);
        });
        script.rows(ADD_REFUSED, 7, &self.refused, |script, (id, refusal, record)| {
            bind_name(script, *id, record).bind(refusal.code as i64).bind(&*refusal.message);
        });
        script.rows(ADD_MESSAGES, 5, &self.messages, |script, (id, conv_seq, _, record)| {
            script.bind(*id).bind(record.send_time).bind(record.expire_at);
            script.bind(conv_seq.cast_signed()).bind(&record.encoded[..]);
        });
        script.rows(ADD_ENTRIES, 3, &self.entries, |script, (timeline, seq, message)| {
            script.bind(*timeline).bind(seq.cast_signed()).bind(*message);
        });
    }
}

fn bind_name<'s>(script: &'s mut Script, id: i64, record: &Record) -> &'s mut Script {
    script.bind(id).bind(record.local_id.as_str().as_bytes()).bind(record.sender.as_str().as_bytes());
    script.bind(&record.hash[..]).bind(record.send_time)
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
pub(super) const ADD_TIMELINES: (&str, &str) =
    ("INSERT INTO timelines (id, name) SELECT * FROM (", ") WHERE column1 IS NOT NULL");
pub(super) const ADD_NAMES: (&str, &str) = (
    "INSERT INTO names (id, local_id, send_id, hash, send_time, placements) SELECT * FROM (",
    ") WHERE column1 IS NOT NULL",
);
pub(super) const ADD_REFUSED: (&str, &str) = (
    "INSERT INTO names (id, local_id, send_id, hash, send_time, refused, reason) SELECT * FROM (",
    ") WHERE column1 IS NOT NULL",
);
pub(super) const ADD_MESSAGES: (&str, &str) = (
    "INSERT INTO messages (id, send_time, expire_at, conv_seq, body) SELECT * FROM (",
    ") WHERE column1 IS NOT NULL",
);
pub(super) const ADD_ENTRIES: (&str, &str) =
    ("INSERT INTO entries (timeline, seq, message) SELECT * FROM (", ") WHERE column1 IS NOT NULL");
