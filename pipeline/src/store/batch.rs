//! The plan of an append: which records are the first of their pair, which timelines they touch, which seqs they get,
//! how each is answered. Pure; the engines look up and write what it says (ARCHITECTURE.md "The store").

use std::collections::HashMap;

use smallvec::SmallVec;
use tidegate_proto::Refusal;
use tidegate_proto::message::Target;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Code;
use tracing::error;

use super::{Outcome, Stored, places};
use crate::record::Record;

/// A batch, with equal pairs (send_id, local_id) collapsed to the first.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    records: &'a [&'a Record],
    /// For each record the place of its pair in `firsts`.
    first_of: Vec<usize>,
    firsts: Vec<First<'a>>,
    timelines: Vec<Timeline>,
}

/// The first record of a pair.
#[derive(Debug)]
pub(super) struct First<'a> {
    pub(super) record: &'a Record,
    /// Its timelines as places in `Batch::timelines`: the conversation, then an inbox for each recipient.
    pub(super) timelines: SmallVec<[usize; 3]>,
    /// Why it gets no entries, should it be new.
    pub(super) refusal: Option<Refusal>,
}

/// What is stored under a pair.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The hash of the body that came first.
    pub(super) hash: [u8; 32],
    /// What became of that.
    pub(super) fate: Fate,
}

/// What became of the first body of a pair.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It has entries.
    Stored {
        /// It was there before the batch.
        repeated: bool,
        send_time: i64,
        /// In the conversation, then in the inbox of each recipient.
        seqs: SmallVec<[u64; 3]>,
    },
    /// It never will.
    Refused(Refusal),
}

impl<'a> Batch<'a> {
    pub(super) fn new(records: &'a [&'a Record]) -> Self {
        let mut places = HashMap::with_capacity(records.len());
        let mut names = Names::default();
        let mut firsts = Vec::with_capacity(records.len());
        let first_of = records.iter().map(|&record| {
            *places.entry((record.sender.as_str(), record.local_id.as_str())).or_insert_with(|| {
                firsts.push(First::new(record, &mut names));
                firsts.len() - 1
            })
        });
        let first_of = first_of.collect();
        let timelines = names.in_byte_order(&mut firsts);
        Self { records, first_of, firsts, timelines }
    }

    pub(super) fn firsts(&self) -> &[First<'a>] {
        &self.firsts
    }

    /// Every timeline that may get an entry, once, in byte order: the global order of locks.
    pub(super) fn timelines(&self) -> &[Timeline] {
        &self.timelines
    }

    /// Gives the next seqs, by `heads` of `timelines()`, which are raised; in the order of the first's timelines.
    pub(super) fn give_seqs(first: &First<'_>, heads: &mut [u64]) -> SmallVec<[u64; 3]> {
        let next = |&timeline: &usize| {
            heads[timeline] += 1;
            heads[timeline]
        };
        first.timelines.iter().map(next).collect()
    }

    /// The answer to each record, in their order; `known` is what is stored now for each of `firsts()`.
    pub(super) fn outcomes(&self, known: &[Known]) -> Vec<Outcome> {
        let mut answered = vec![false; known.len()];
        let answer = |(record, &first): (&&Record, &usize)| {
            let again = std::mem::replace(&mut answered[first], true);
            known[first].answer(record, again)
        };
        self.records.iter().zip(&self.first_of).map(answer).collect()
    }
}

impl<'a> First<'a> {
    fn new(record: &'a Record, names: &mut Names) -> Self {
        let refusal = match record.target {
            Target::Group(_) => Some(no_such_group()),
            Target::User(_) | Target::Channel(_) => None,
        };
        let timelines = match refusal {
            Some(_) => SmallVec::new(),
            None => std::iter::once(names.place(record.conversation.clone()))
                .chain(record.recipients().iter().map(|user| names.place(Timeline::inbox(user))))
                .collect(),
        };
        Self { record, timelines, refusal }
    }
}

impl Known {
    /// What a row says of a pair that was there before; `None` if it is damaged. `refused` is the code, if it was
    /// refused, and `reason` its text; if not, the message was sent at `send_time` and stands in `places`.
    pub(super) fn of_row(
        hash: &[u8],
        refused: Option<i64>,
        reason: Option<String>,
        send_time: i64,
        places: Option<&[u8]>,
    ) -> Option<Self> {
        let fate = match refused {
            Some(code) => {
                let code = Code::try_from(i32::try_from(code).ok()?).ok()?;
                Fate::Refused(Refusal::new(code, reason.unwrap_or_default()))
            }
            None => {
                let seqs = places::decode(places?)?.into_iter().map(|(_, seq)| seq).collect();
                Fate::Stored { repeated: true, send_time, seqs }
            }
        };
        Some(Self { hash: hash.try_into().ok()?, fate })
    }

    /// What is stored under the pair of `record` cannot be read. It is refused for good, loudly: an error would take the
    /// whole batch with it, whenever the record comes again.
    pub(super) fn damaged(record: &Record) -> Self {
        Self { hash: record.hash, fate: Fate::Refused(damaged(record)) }
    }

    /// With the same body the record has the recipients of the first one; with another it is a conflict, also when that
    /// stands before it in the batch.
    fn answer(&self, record: &Record, again: bool) -> Outcome {
        if self.hash != record.hash {
            return Outcome::Refused(conflict(record));
        }
        let (repeated, send_time, seqs) = match &self.fate {
            Fate::Refused(refusal) => return Outcome::Refused(refusal.clone()),
            Fate::Stored { repeated, send_time, seqs } => (*repeated || again, *send_time, seqs),
        };
        let recipients = record.recipients();
        match seqs.split_first() {
            Some((&conv_seq, inboxes)) if inboxes.len() == recipients.len() => {
                let inboxes = recipients.into_iter().zip(inboxes.iter().copied()).collect();
                Outcome::Stored(Stored { repeated, send_time, conv_seq, inboxes })
            }
            _ => Outcome::Refused(damaged(record)),
        }
    }
}

/// Distinct timelines, in the order they were met.
#[derive(Default)]
struct Names {
    places: HashMap<Timeline, usize>,
}

impl Names {
    fn place(&mut self, name: Timeline) -> usize {
        let next = self.places.len();
        *self.places.entry(name).or_insert(next)
    }

    /// The names in byte order; the places in `firsts` are changed to match.
    fn in_byte_order(self, firsts: &mut [First<'_>]) -> Vec<Timeline> {
        let mut names: Vec<(Timeline, usize)> = self.places.into_iter().collect();
        names.sort_unstable();
        let mut moved = vec![0; names.len()];
        for (to, (_, from)) in names.iter().enumerate() {
            moved[*from] = to;
        }
        for place in firsts.iter_mut().flat_map(|first| &mut first.timelines) {
            *place = moved[*place];
        }
        names.into_iter().map(|(name, _)| name).collect()
    }
}

fn conflict(record: &Record) -> Refusal {
    let message = format!(
        "local_id {:?} was already used for another message of this sender: use a new one",
        record.local_id.as_str()
    );
    Refusal::new(Code::Conflict, message)
}

fn damaged(record: &Record) -> Refusal {
    error!(server_id = record.server_id, "what the store remembers of a message is damaged");
    Refusal::new(Code::Internal, "what is stored under this local_id is damaged: use a new one")
}

fn no_such_group() -> Refusal {
    Refusal::new(Code::PermissionDenied, "no such group, or you are not a member")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::text;

    #[test]
    fn timelines_stand_once_in_byte_order_and_seqs_follow_the_records() {
        let records = [text("b", "c", "1"), text("a", "b", "1"), text("b", "c", "1"), text("c", "b", "2")];
        let refs: Vec<&Record> = records.iter().collect();
        let batch = Batch::new(&refs);
        assert_eq!(batch.firsts().len(), 3, "the equal pair is one");
        let names: Vec<&str> = batch.timelines().iter().map(Timeline::as_str).collect();
        assert_eq!(names, ["d:a:b", "d:b:c", "i:a", "i:b", "i:c"]);

        let mut heads = [10, 20, 30, 40, 50];
        let seqs: Vec<_> = batch.firsts().iter().map(|first| Batch::give_seqs(first, &mut heads)).collect();
        assert_eq!(seqs[0].as_slice(), [21, 41, 51], "d:b:c, i:b, i:c");
        assert_eq!(seqs[1].as_slice(), [11, 31, 42], "d:a:b, i:a, i:b");
        assert_eq!(seqs[2].as_slice(), [22, 52, 43], "d:b:c, i:c, i:b");
        assert_eq!(heads, [11, 22, 31, 43, 52]);
    }
}
