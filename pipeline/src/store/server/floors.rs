//! Which floors rise to where: by age, by count, within a budget; and which messages no entry leads to then. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::store::Bounds;
use crate::store::age::Age;

/// What is old, of which timeline.
#[derive(Debug)]
pub(in crate::store) enum Ages {
    /// Of every one the same.
    All(Age),
    /// Of each its own.
    Each(HashMap<i64, Age>),
}

impl Ages {
    fn of(&self, timeline: i64) -> Option<Age> {
        match self {
            Self::All(age) => Some(*age),
            Self::Each(ages) => ages.get(&timeline).copied(),
        }
    }
}

/// A part of a timeline, from its floor to below a seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Part {
    pub(in crate::store) timeline: i64,
    pub(in crate::store) from: u64,
    pub(in crate::store) below: u64,
}

/// An entry that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Candidate {
    pub(in crate::store) timeline: i64,
    pub(in crate::store) seq: u64,
    pub(in crate::store) message: i64,
    /// Of the message; ms since 1970.
    pub(in crate::store) send_time: i64,
}

/// To where floors may rise for messages to go, at most so many entries, but those of one message: `places` are the
/// messages', oldest first.
pub(super) fn of_messages(places: &[Vec<(i64, u64)>], budget: usize) -> BTreeMap<i64, u64> {
    let mut floors = BTreeMap::new();
    let mut entries = 0;
    for places in places {
        entries += places.len();
        if entries > budget && !floors.is_empty() {
            break;
        }
        for &(timeline, seq) in places {
            let floor = floors.entry(timeline).or_insert(0);
            *floor = (seq + 1).max(*floor);
        }
    }
    floors
}

/// What stands below the floors to come, of timelines as they are.
pub(super) fn parts(floors: &BTreeMap<i64, u64>, bounds: &HashMap<i64, Bounds>) -> Vec<Part> {
    let part = |(&timeline, &floor): (&i64, &u64)| {
        let bounds = bounds.get(&timeline)?;
        let (from, below) = (bounds.floor, floor.min(bounds.head + 1));
        (from < below).then_some(Part { timeline, from, below })
    };
    floors.iter().filter_map(part).collect()
}

/// The parts cut down to what is old: writers beside each other give numbers and seqs in different orders, so below the
/// entry of an old message there may be one of a current one. `entries` are in key order.
pub(in crate::store) fn old_parts(parts: &[Part], entries: &[Candidate], ages: &Ages) -> Vec<Part> {
    let old = |part: &Part| {
        let age = ages.of(part.timeline)?;
        let begin = entries.partition_point(|entry| entry.timeline < part.timeline);
        let entries: Vec<_> =
            entries[begin..].iter().take_while(|entry| entry.timeline == part.timeline).collect();
        let old = age.old_prefix(entries.iter().map(|entry| entry.send_time));
        let below = match entries.get(old) {
            Some(stays) => stays.seq,
            None => part.below,
        };
        (part.from < below).then_some(Part { below, ..*part })
    };
    parts.iter().filter_map(old).collect()
}

/// The parts that timelines have beyond `max_entries`, within the budget; and whether that is all.
pub(super) fn excess(
    timelines: &BTreeMap<i64, Bounds>,
    max_entries: u64,
    budget: usize,
) -> (BTreeMap<i64, u64>, bool) {
    let mut left = budget as u64;
    let mut floors = BTreeMap::new();
    for (&timeline, bounds) in timelines {
        let excess = (bounds.head + 1).saturating_sub(bounds.floor).saturating_sub(max_entries);
        if excess > 0 {
            floors.insert(timeline, bounds.floor + excess.min(left));
        }
        if excess > left {
            return (floors, false);
        }
        left -= excess;
    }
    (floors, true)
}

/// Whether all of a message's places are below the floors.
pub(super) fn is_dead(places: &[(i64, u64)], bounds: &HashMap<i64, Bounds>) -> bool {
    places.iter().all(|(timeline, seq)| bounds.get(timeline).is_none_or(|bounds| *seq < bounds.floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_current_entry_keeps_what_is_above_it() {
        let part = |timeline, from, below| Part { timeline, from, below };
        let entry = |timeline, seq, send_time| Candidate { timeline, seq, message: seq as i64, send_time };
        let parts = [part(1, 3, 6), part(2, 1, 3), part(3, 1, 3), part(4, 5, 6)];
        let entries = [
            entry(1, 3, 10),
            entry(1, 4, 950), // current, though its number is higher than the next one's
            entry(1, 5, 20),
            entry(2, 1, 5_000), // ahead, but before an old one
            entry(2, 2, 30),
            entry(3, 1, 950),
            entry(3, 2, 30),
        ];
        let old = old_parts(&parts, &entries, &Ages::All(Age::new(100, 1_000)));
        // Of the fourth nothing is left but its floor to raise.
        assert_eq!(old, [part(1, 3, 4), part(2, 1, 3), part(4, 5, 6)]);
    }

    #[test]
    fn budgets() {
        let places = [vec![(1, 1), (2, 1)], vec![(1, 2), (3, 1)], vec![(1, 3)]];
        assert_eq!(of_messages(&places, 1), [(1, 2), (2, 2)].into(), "a step makes progress");
        assert_eq!(of_messages(&places, 4), [(1, 3), (2, 2), (3, 2)].into());
        let bounds = |head, floor| Bounds { head, floor };
        let timelines = [(1, bounds(9, 3)), (2, bounds(4, 1)), (3, bounds(2, 2))].into();
        assert_eq!(excess(&timelines, 4, 100), ([(1, 6)].into(), true));
        assert_eq!(excess(&timelines, 2, 6), ([(1, 8), (2, 2)].into(), false));
        assert_eq!(excess(&timelines, 0, 100).0, [(1, 10), (2, 5), (3, 3)].into());
    }

    #[test]
    fn parts_begin_at_the_floor_and_end_at_the_head() {
        let bounds = [(1, Bounds { head: 9, floor: 3 }), (2, Bounds { head: 9, floor: 5 })].into();
        let parts = parts(&[(1, 20), (2, 5), (7, 3)].into(), &bounds);
        assert_eq!(parts, [Part { timeline: 1, from: 3, below: 10 }]);
        assert!(is_dead(&[(1, 2), (2, 4), (8, 1)], &bounds));
        assert!(!is_dead(&[(1, 2), (2, 5)], &bounds));
    }
}
