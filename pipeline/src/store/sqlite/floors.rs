//! Raising floors: the entries below them go, and with them the messages that no entry leads to any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::retain::{FORGET_NAMES, placements_of};
use super::row::integer;
use super::script::{Answers, Script};
use super::writer::Writing;
use super::{Store, error};
use crate::store::age::{Age, Aged};
use crate::store::{Removed, StoreError};

impl Store {
    /// Raises floors, removes the entries below them, the messages that no entry leads to any more, and the names of
    /// those if they were remembered long enough.
    pub(super) async fn raise_floors(
        &self,
        floors: BTreeMap<i64, u64>,
        remember: Age,
    ) -> Result<Removed, StoreError> {
        if floors.is_empty() {
            return Ok(Removed::default());
        }
        let mut writing = self.writer.lend().await?;
        let messages = remove_entries(&mut writing, &floors).await?;
        let dead = dead(&mut writing, &messages).await?;
        let forgotten: Vec<&Dead> =
            dead.iter().filter(|dead| remember.of(dead.send_time) == Aged::Old).collect();
        let mut script = Script::default();
        script.rows(REMOVE_MESSAGES, 1, &dead, |script, dead| {
            script.bind(dead.id);
        });
        script.rows(FORGET_NAMES, 1, &forgotten, |script, dead| {
            script.bind(dead.id);
        });
        writing.commit(script).await?;
        Ok(Removed {
            entries: messages.len() as u64,
            bodies: dead.len() as u64,
            names: forgotten.len() as u64,
            cursors: 0,
        })
    }
}

/// Begins the transaction, raises the floors and removes what is below; the messages of what was removed.
async fn remove_entries(
    writing: &mut Writing<'_>,
    floors: &BTreeMap<i64, u64>,
) -> Result<Vec<i64>, StoreError> {
    let timelines: Vec<i64> = floors.keys().copied().collect();
    let mut script = Script::default();
    script.statement("BEGIN IMMEDIATE");
    select_floors(&mut script, &timelines);
    let present = floors_of(&script.run(writing).await.map_err(error::classify)?)?;

    let below = |(&timeline, &floor): (&i64, &u64)| {
        (floor_of(&present, timeline)..floor).map(move |seq| (timeline, seq.cast_signed()))
    };
    let entries: Vec<(i64, i64)> = floors.iter().flat_map(below).collect();
    let raised: Vec<(&i64, &u64)> = floors.iter().collect();
    let mut script = Script::default();
    script.rows(REMOVE_ENTRIES, 2, &entries, |script, (timeline, seq)| {
        script.bind(*timeline).bind(*seq);
    });
    script.rows(RAISE_FLOORS, 2, &raised, |script, (timeline, floor)| {
        script.bind(**timeline).bind(floor.cast_signed());
    });
    let removed = script.run(writing).await.map_err(error::classify)?;
    removed.iter().flatten().map(|row| integer(row, 0)).collect()
}

/// A message that no entry leads to.
struct Dead {
    id: i64,
    send_time: i64,
}

/// Which of the messages have no entry left: all of their places are below the floors.
async fn dead(writing: &mut Writing<'_>, messages: &[i64]) -> Result<Vec<Dead>, StoreError> {
    let distinct: Vec<i64> = messages.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let mut script = Script::default();
    script.rows(PLACEMENTS, 1, &distinct, |script, id| {
        script.bind(*id);
    });
    let answers = script.run(writing).await.map_err(error::classify)?;
    let places = |row| {
        let message = Dead { id: integer(row, 0)?, send_time: integer(row, 1)? };
        Ok((message, placements_of(row, 2)?))
    };
    let places: Vec<(Dead, Vec<(i64, u64)>)> =
        answers.iter().flatten().map(places).collect::<Result<_, StoreError>>()?;

    let timelines = places.iter().flat_map(|(_, places)| places).map(|(timeline, _)| *timeline);
    let timelines: Vec<i64> = timelines.collect::<BTreeSet<_>>().into_iter().collect();
    let mut script = Script::default();
    select_floors(&mut script, &timelines);
    let floors = floors_of(&script.run(writing).await.map_err(error::classify)?)?;
    let is_dead =
        |places: &[(i64, u64)]| places.iter().all(|(timeline, seq)| *seq < floor_of(&floors, *timeline));
    Ok(places.into_iter().filter(|(_, places)| is_dead(places)).map(|(message, _)| message).collect())
}

pub(super) fn select_floors(script: &mut Script, timelines: &[i64]) {
    script.rows(FLOORS, 1, timelines, |script, timeline| {
        script.bind(*timeline);
    });
}

pub(super) fn floors_of(answers: &Answers) -> Result<HashMap<i64, u64>, StoreError> {
    let floor = |row| Ok((integer(row, 0)?, integer(row, 1)?.cast_unsigned()));
    answers.iter().flatten().map(floor).collect()
}

pub(super) fn floor_of(floors: &HashMap<i64, u64>, timeline: i64) -> u64 {
    floors.get(&timeline).copied().unwrap_or(1)
}

pub(super) const REMOVE_ENTRIES: (&str, &str) =
    ("DELETE FROM entries WHERE (timeline, seq) IN (", ") RETURNING message");
pub(super) const RAISE_FLOORS: (&str, &str) = (
    "INSERT INTO floors (timeline, floor) SELECT * FROM (",
    ") WHERE column1 IS NOT NULL ON CONFLICT (timeline) DO UPDATE SET floor = max(floor, excluded.floor)",
);
pub(super) const FLOORS: (&str, &str) = ("SELECT timeline, floor FROM floors WHERE timeline IN (", ")");
pub(super) const PLACEMENTS: (&str, &str) =
    ("SELECT id, send_time, placements FROM names WHERE id IN (", ")");
pub(super) const REMOVE_MESSAGES: (&str, &str) = ("DELETE FROM messages WHERE id IN (", ")");
