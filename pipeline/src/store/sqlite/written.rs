//! The rows that a batch adds, and the statements that add them.

use smallvec::SmallVec;
use tidegate_proto::Refusal;

use super::heads::Last;
use super::script::Script;
use crate::record::Record;
use crate::store::batch::{Batch, Fate, First, Known};
use crate::store::places;

/// What the store has of a batch when its transaction begins.
pub(super) struct Found {
    /// For each of the batch's firsts what is stored under its pair.
    pub(super) known: Vec<Option<Known>>,
    /// For each of the batch's timelines its number and head.
    pub(super) heads: Vec<Option<(i64, u64)>>,
    pub(super) last: Last,
}

/// The rows that a batch adds, and what is known of its timelines then.
#[derive(Default)]
pub(super) struct Written<'a> {
    timelines: Vec<(i64, &'a str)>,
    messages: Vec<New<'a>>,
    refused: Vec<(i64, &'a Refusal, &'a Record)>,
    /// Number and head of each of the batch's timelines. One without a head has no number.
    pub(super) heads: Vec<(i64, u64)>,
    pub(super) last: Last,
}

/// A new message.
struct New<'a> {
    id: i64,
    /// Timelines and seqs, the conversation first, then each inbox in the order of the record's recipients.
    places: SmallVec<[(i64, u64); 3]>,
    record: &'a Record,
}

impl<'a> Written<'a> {
    /// Gives seqs and numbers to what is new. Also what is stored for each of the batch's firsts afterwards.
    pub(super) fn new(batch: &'a Batch<'_>, found: Found) -> (Self, Vec<Known>) {
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
        written.heads = ids.into_iter().zip(heads).collect();
        (written, known)
    }

    /// Whether `statement` can add everything.
    pub(super) fn is_one_statement(&self) -> bool {
        let is_other = !self.timelines.is_empty() || !self.refused.is_empty();
        let few = (1..=MAX_AT_ONCE).contains(&self.messages.len());
        few && !is_other && self.messages.iter().all(|new| new.places.len() <= 3)
    }

    /// The one statement that adds everything. Beside no other it is its own transaction.
    pub(super) fn statement(&self) -> Script {
        let mut script = Script::default();
        script.rows(APPEND, 14, &self.messages, |script, new| {
            new.bind_name(script);
            script.bind(new.record.expire_at).bind(&new.record.encoded[..]);
            for place in 0..3 {
                let place = new.places.get(place);
                script
                    .bind(place.map(|(timeline, _)| *timeline))
                    .bind(place.map(|(_, seq)| seq.cast_signed()));
            }
        });
        script
    }

    /// Adds the statements that add everything, within a transaction.
    pub(super) fn add_to(&self, script: &mut Script) {
        script.rows(ADD_TIMELINES, 2, &self.timelines, |script, (id, name)| {
            script.bind(*id).bind(name.as_bytes());
        });
        script.rows(ADD_NAMES, 6, &self.messages, |script, new| new.bind_name(script));
        script.rows(ADD_REFUSED, 7, &self.refused, |script, (id, refusal, record)| {
            bind_name(script, *id, record);
            script.bind(refusal.code as i64).bind(&*refusal.message);
        });
        script.rows(ADD_MESSAGES, 5, &self.messages, |script, new| {
            script.bind(new.id).bind(new.record.send_time).bind(new.record.expire_at);
            script.bind(new.places[0].1.cast_signed()).bind(&new.record.encoded[..]);
        });
        let entries = |new: &New<'_>| {
            new.places.clone().into_iter().map({
                let id = new.id;
                move |(timeline, seq)| (timeline, seq, id)
            })
        };
        let mut entries: Vec<(i64, u64, i64)> = self.messages.iter().flat_map(entries).collect();
        entries.sort_unstable();
        script.rows(ADD_ENTRIES, 3, &entries, |script, (timeline, seq, message)| {
            script.bind(*timeline).bind(seq.cast_signed()).bind(*message);
        });
    }

    /// Adds the rows of a new record; what is stored under its pair then.
    fn add(&mut self, id: i64, first: &'a First<'_>, ids: &[i64], heads: &mut [u64]) -> Known {
        let record = first.record;
        if let Some(refusal) = &first.refusal {
            self.refused.push((id, refusal, record));
            return Known { hash: record.hash, fate: Fate::Refused(refusal.clone()) };
        }
        let seqs = Batch::give_seqs(first, heads);
        let places = first.timelines.iter().map(|place| ids[*place]).zip(seqs.iter().copied()).collect();
        self.messages.push(New { id, places, record });
        let fate = Fate::Stored { repeated: false, send_time: record.send_time, seqs };
        Known { hash: record.hash, fate }
    }
}

impl New<'_> {
    fn bind_name(&self, script: &mut Script) {
        bind_name(script, self.id, self.record);
        script.bind(places::encode(self.places.iter().copied()));
    }
}

fn bind_name(script: &mut Script, id: i64, record: &Record) {
    script.bind(id).bind(record.local_id.as_str().as_bytes()).bind(record.sender.as_str().as_bytes());
    script.bind(&record.hash[..]).bind(record.send_time);
}

/// Messages that `APPEND` adds together. It adds row by row; many are added faster table by table.
const MAX_AT_ONCE: usize = 8;

pub(super) const APPEND: (&str, &str) = (
    "INSERT INTO appended (id, local_id, send_id, hash, send_time, placements, expire_at, body, conversation, \
     conv_seq, inbox, seq, other_inbox, other_seq) SELECT * FROM (",
    ") WHERE column1 IS NOT NULL",
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
