//! The rows of an append, once it is known which of its claims are new: what is raised, what is inserted, how each pair
//! is answered. Pure.

use crate::record::Record;
use crate::store::StoreError;
use crate::store::batch::{Batch, Fate, Known};
use crate::store::places;

/// A batch whose claims stand in the database, those that were there before beside its own.
#[derive(Debug)]
pub(in crate::store) struct Claimed<'a> {
    batch: &'a Batch<'a>,
    draw: i64,
    /// For each of the batch's firsts what was there before; `None`: it is new.
    known: Vec<Option<Known>>,
}

/// A timeline after it was raised.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Raised {
    /// Its place in the batch's timelines.
    pub(in crate::store) place: usize,
    pub(in crate::store) id: i64,
    pub(in crate::store) head: u64,
}

impl Raised {
    /// What a row says of a timeline of the batch.
    pub(in crate::store) fn of_row(
        batch: &Batch<'_>,
        name: &[u8],
        id: i64,
        head: i64,
    ) -> Result<Self, sqlx::Error> {
        let place = batch.timelines().binary_search_by(|timeline| timeline.as_str().as_bytes().cmp(name));
        let place = place.map_err(|_| sqlx::Error::Decode("a timeline that was not raised".into()))?;
        Ok(Self { place, id, head: head.cast_unsigned() })
    }
}

/// The rows that a batch adds.
#[derive(Debug, Default)]
pub(in crate::store) struct Written<'a> {
    pub(in crate::store) messages: Vec<Message<'a>>,
    /// In key order.
    pub(in crate::store) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(in crate::store) struct Message<'a> {
    pub(in crate::store) id: i64,
    pub(in crate::store) conv_seq: u64,
    pub(in crate::store) places: Vec<u8>,
    pub(in crate::store) record: &'a Record,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Entry {
    pub(in crate::store) timeline: i64,
    pub(in crate::store) seq: u64,
    pub(in crate::store) message: i64,
}

/// The number of a message: the batches in the order of their draws, in a batch the order of its records.
pub(in crate::store) fn number(draw: i64, place: usize) -> i64 {
    draw * MAX_RECORDS + place as i64
}

/// The draw and the place that make up a number.
pub(in crate::store) fn draw_and_place(number: i64) -> (i64, usize) {
    (number.div_euclid(MAX_RECORDS), number.rem_euclid(MAX_RECORDS) as usize)
}

/// The places of the batch's firsts in the order they are claimed: that of the table's key, (local_id, send_id), the same
/// for every writer. With time-ordered local ids new rows go to few pages.
pub(in crate::store) fn claim_order(batch: &Batch<'_>) -> Result<Vec<usize>, StoreError> {
    if batch.firsts().len() > MAX_RECORDS as usize {
        let text = format!("a batch of more than {MAX_RECORDS} records");
        return Err(StoreError::Refused(sqlx::Error::Protocol(text)));
    }
    let mut order: Vec<usize> = (0..batch.firsts().len()).collect();
    order.sort_unstable_by_key(|place| {
        let record = batch.firsts()[*place].record;
        (record.local_id.as_str(), record.sender.as_str())
    });
    Ok(order)
}

impl<'a> Claimed<'a> {
    pub(in crate::store) fn new(batch: &'a Batch<'a>, draw: i64, known: Vec<Option<Known>>) -> Self {
        Self { batch, draw, known }
    }

    /// By how much which timelines are to be raised, as places in the batch's timelines: in byte order.
    pub(in crate::store) fn raises(&self) -> Vec<(usize, i64)> {
        self.counts().into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// How many entries each timeline gets.
    fn counts(&self) -> Vec<i64> {
        let mut counts = vec![0; self.batch.timelines().len()];
        for (first, known) in self.batch.firsts().iter().zip(&self.known) {
            if known.is_none() {
                first.timelines.iter().for_each(|timeline| counts[*timeline] += 1);
            }
        }
        counts
    }

    /// Gives seqs to what is new, by the heads of what was raised: all of `raises`. Also what is stored for each of the
    /// batch's firsts.
    pub(in crate::store) fn write(self, raised: &[Raised]) -> Result<(Written<'a>, Vec<Known>), StoreError> {
        let counts = self.counts();
        if raised.len() != counts.iter().filter(|count| **count > 0).count() {
            return Err(StoreError::Damaged("a head that was raised is not there".to_owned()));
        }
        let mut ids = vec![0; counts.len()];
        let mut heads = vec![0; counts.len()];
        for raised in raised {
            ids[raised.place] = raised.id;
            heads[raised.place] = raised.head.saturating_sub(counts[raised.place].cast_unsigned());
        }
        let mut written = Written::default();
        let (batch, draw) = (self.batch, self.draw);
        let known = batch.firsts().iter().zip(self.known).enumerate().map(|(place, (first, known))| {
            known.unwrap_or_else(|| {
                let hash = first.record.hash;
                if let Some(refusal) = &first.refusal {
                    return Known { hash, fate: Fate::Refused(refusal.clone()) };
                }
                let seqs = Batch::give_seqs(first, &mut heads);
                let pairs = || first.timelines.iter().map(|place| ids[*place]).zip(seqs.iter().copied());
                let message = number(draw, place);
                written.entries.extend(pairs().map(|(timeline, seq)| Entry { timeline, seq, message }));
                let (conv_seq, places) = (seqs[0], places::encode(pairs()));
                written.messages.push(Message { id: message, conv_seq, places, record: first.record });
                Known {
                    hash,
                    fate: Fate::Stored { repeated: false, send_time: first.record.send_time, seqs },
                }
            })
        });
        let known = known.collect();
        written.entries.sort_unstable();
        Ok((written, known))
    }
}

/// Records of a batch: the lowest 16 bits of a number. That leaves 2^47 draws.
pub(in crate::store) const MAX_RECORDS: i64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Outcome;
    use crate::store::contract::{into_stored, text};

    #[test]
    fn only_what_is_new_gets_seqs() {
        let records = [text("b", "c", "2"), text("a", "b", "1"), text("c", "b", "0"), text("b", "c", "2")];
        let refs: Vec<&Record> = records.iter().collect();
        let batch = Batch::new(&refs);
        assert_eq!(claim_order(&batch).unwrap(), [2, 1, 0]);
        let seqs = [9, 9, 9].into_iter().collect();
        let stored = Fate::Stored { repeated: true, send_time: 1, seqs };
        let known = vec![None, Some(Known { hash: records[1].hash, fate: stored }), None];
        let claimed = Claimed::new(&batch, 5, known);
        // d:b:c, i:b and i:c get two each; d:a:b and i:a nothing.
        assert_eq!(claimed.raises(), [(1, 2), (3, 2), (4, 2)]);
        let raised = [(1, 10, 2), (3, 7, 22), (4, 8, 32)].map(|(place, id, head)| Raised { place, id, head });
        let (written, known) = claimed.write(&raised).unwrap();
        let entries: Vec<_> = written.entries.iter().map(|e| (e.timeline, e.seq, e.message)).collect();
        let (first, third) = (number(5, 0), number(5, 2));
        let expected =
            [(7, 21, first), (7, 22, third), (8, 31, first), (8, 32, third), (10, 1, first), (10, 2, third)];
        assert_eq!(entries, expected);
        assert_eq!(
            written.messages.iter().map(|m| (m.id, m.conv_seq)).collect::<Vec<_>>(),
            [(first, 1), (third, 2)]
        );
        assert_eq!(draw_and_place(third), (5, 2));
        let seqs: Vec<u64> =
            batch.outcomes(&known).into_iter().map(|o: Outcome| into_stored(o).conv_seq).collect();
        assert_eq!(seqs, [1, 9, 2, 1]);
    }
}
