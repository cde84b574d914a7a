//! What waits for a gateway, whichever way it goes there: bounded, and merged into marks when full. Pure.

use std::collections::{HashMap, VecDeque};

use tidegate_proto::timeline::Timeline;

use super::link::Batch;

/// What the gateway takes off the link at once, in this order.
#[derive(Debug, Default)]
pub struct Handed {
    /// Any push may have been lost: all heads are to be checked.
    pub check_all: bool,
    /// Timelines whose head is at least that; what they stand for was dropped.
    pub marks: HashMap<Timeline, u64>,
    /// Batches in the order they were handed over.
    pub batches: VecDeque<Batch>,
}

/// Batches that wait, and what is left of those that found no room.
#[derive(Debug, Default)]
pub(super) struct Queue {
    handed: Handed,
    entries: usize,
    bytes: usize,
}

impl Queue {
    /// Adds a batch, or marks in its place when there is no room. False if there was none.
    pub(super) fn put(&mut self, batch: Batch) -> bool {
        let (entries, bytes) = (batch.entries(), batch.bytes());
        let full = self.entries + entries > MAX_ENTRIES || self.bytes + bytes > MAX_BYTES;
        // A batch that has no room even in an empty queue is let in alone: it is bounded where it is made.
        if full && self.entries > 0 {
            self.handed.merge(batch);
            return false;
        }
        self.entries += entries;
        self.bytes += bytes;
        self.handed.batches.push_back(batch);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        let Handed { check_all, marks, batches } = &self.handed;
        !check_all && marks.is_empty() && batches.is_empty()
    }

    /// Deliveries, receipts and marks that wait in batches.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// All there is.
    pub(super) fn take(&mut self) -> Handed {
        (self.entries, self.bytes) = (0, 0);
        std::mem::take(&mut self.handed)
    }

    /// The marks, and the first batches up to about `bytes` of bodies; at least one.
    pub(super) fn take_some(&mut self, bytes: usize) -> Handed {
        let Handed { check_all, marks, batches } = &mut self.handed;
        let mut taken = Handed {
            check_all: std::mem::take(check_all),
            marks: std::mem::take(marks),
            batches: VecDeque::new(),
        };
        let mut sum = 0;
        while let Some(batch) = batches.pop_front_if(|batch| sum == 0 || sum + cost(batch) <= bytes) {
            sum += cost(&batch);
            self.entries -= batch.entries();
            self.bytes -= batch.bytes();
            taken.batches.push_back(batch);
        }
        taken
    }
}

impl Handed {
    /// Keeps only the marks of a batch; beyond their bound, only that everything is to be checked.
    pub(super) fn merge(&mut self, batch: Batch) {
        for (timeline, seq) in batch.into_marks() {
            let head = self.marks.entry(timeline).or_default();
            *head = (*head).max(seq);
        }
        if self.marks.len() > MAX_MARKS {
            self.marks.clear();
            self.check_all = true;
        }
    }
}

/// About what a batch takes on the wire.
fn cost(batch: &Batch) -> usize {
    batch.bytes() + batch.entries() * ENTRY_BYTES
}

/// Deliveries, receipts and marks a link holds: ten batches of the sequencer to two recipients each.
pub(super) const MAX_ENTRIES: usize = 40_000;
/// Bytes of bodies a link holds, shared with the other links: sixteen batches of the sequencer.
const MAX_BYTES: usize = 16 << 20;
/// A recipient with his seq, or a mark.
const ENTRY_BYTES: usize = 32;
/// Marks a link holds (ARCHITECTURE.md "Presence and links").
pub(super) const MAX_MARKS: usize = 10_000;

#[cfg(test)]
mod tests {
    use tidegate_proto::id::UserId;

    use super::*;
    use crate::body::Body;
    use crate::pusher::link::Push;

    fn batch(users: std::ops::Range<usize>, seq: u64, content: usize) -> Batch {
        let body = Body::new(&vec![0; content], "c", ("l", "s"), 1, 1);
        let recipients = users.map(|n| (UserId::new(&n.to_string()).unwrap(), seq)).collect();
        Batch { pushes: vec![Push { body, recipients, origin: None }], ..Batch::default() }
    }

    #[test]
    fn large_bodies_fill_it_before_many_small_ones() {
        let mut queue = Queue::default();
        let taken = (1..=100).filter(|seq| queue.put(batch(0..1, *seq, 1 << 20))).count();
        assert_eq!((taken, queue.entries()), (15, 15));
        let handed = queue.take();
        assert_eq!(handed.marks.values().collect::<Vec<_>>(), [&100]);
        assert!(queue.is_empty() && queue.put(batch(0..1, 101, 1)), "there is room again");
    }

    #[test]
    fn what_fits_nowhere_is_let_in_alone() {
        let mut queue = Queue::default();
        assert!(queue.put(batch(0..MAX_ENTRIES + 1, 1, 1)));
        assert!(!queue.put(batch(0..1, 2, 1)));
    }

    #[test]
    fn marks_in_batches_have_the_same_bound() {
        let mut queue = Queue::default();
        let inbox = || Timeline::inbox(&UserId::new("alice").unwrap());
        let marks = |seq| Batch { marks: vec![(inbox(), seq)], ..Batch::default() };
        assert_eq!((0..2 * MAX_ENTRIES as u64).filter(|seq| queue.put(marks(*seq))).count(), MAX_ENTRIES);
        assert_eq!(queue.take().marks[&inbox()], 2 * MAX_ENTRIES as u64 - 1);
    }

    #[test]
    fn some_are_taken_in_order_and_marks_come_with_the_first() {
        let mut queue = Queue::default();
        assert!(queue.put(batch(0..10_000, 1, 100)) && queue.put(batch(0..10_000, 2, 100)));
        assert!(queue.put(batch(0..20_000, 3, 100)));
        assert!(!queue.put(batch(7..9, 4, 100)));
        let first = queue.take_some(400_000);
        assert_eq!((first.marks.len(), first.batches.len(), queue.entries()), (2, 1, 30_000));
        let rest = queue.take_some(2 << 20);
        assert_eq!((rest.marks.len(), rest.batches.len(), queue.entries(), queue.bytes), (0, 2, 0, 0));
        assert_eq!(rest.batches[0].pushes[0].recipients[0].1, 2);
        assert!(queue.is_empty());
    }
}
