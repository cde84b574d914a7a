//! What the writer knows without asking: numbers and heads of the timelines it lately wrote to.
//!
//! A batch to known timelines is written without looking anything up, which saves a command to SQLite's thread and half
//! of the statements. Should something be otherwise (a repeat, another writer), a unique key says so, and nothing is
//! written. Forgotten with the connection: what became of its last transaction may be unknown.

use std::collections::HashMap;

use tidegate_proto::timeline::Timeline;

/// Numbers and heads of timelines. The least recently used half is dropped when there are too many.
#[derive(Debug, Default)]
pub(super) struct Heads {
    young: HashMap<Timeline, (i64, u64)>,
    old: HashMap<Timeline, (i64, u64)>,
    last: Option<Last>,
    /// How many batches to look up although they could be known.
    doubt: u32,
}

/// The last numbers that were given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) name: i64,
    pub(super) timeline: i64,
}

impl Heads {
    /// Number and head of each of the timelines; `None` if they have to be looked up.
    pub(super) fn recall(&mut self, timelines: &[Timeline]) -> Option<(Last, Vec<(i64, u64)>)> {
        if self.doubt > 0 {
            self.doubt -= 1;
            return None;
        }
        let known = |name| self.young.get(name).or_else(|| self.old.get(name)).copied();
        Some((self.last?, timelines.iter().map(known).collect::<Option<_>>()?))
    }

    /// Keeps what a transaction left, after its commit.
    pub(super) fn keep(&mut self, last: Last, timelines: impl Iterator<Item = (Timeline, (i64, u64))>) {
        self.last = Some(last);
        for (name, head) in timelines {
            if self.young.len() >= MOST {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(name, head);
        }
    }

    /// Something was not as it was known: repeats, which often come in numbers, or another writer.
    pub(super) fn forget(&mut self) {
        *self = Self { doubt: DOUBT, ..Self::default() };
    }
}

/// Of each half: about 4 MiB.
const MOST: usize = 32_768;
/// Batches that are looked up after one was not as it was known, which cost a transaction rolled back.
const DOUBT: u32 = 16;

#[cfg(test)]
mod tests {
    use tidegate_proto::id::UserId;

    use super::*;

    fn inbox(number: usize) -> Timeline {
        Timeline::inbox(&UserId::new(&number.to_string()).unwrap())
    }

    #[test]
    fn all_are_known_or_none() {
        let mut heads = Heads::default();
        assert!(heads.recall(&[]).is_none(), "the last numbers are not known yet");
        let last = Last { name: 7, timeline: 2 };
        heads.keep(last, [(inbox(1), (1, 5)), (inbox(2), (2, 6))].into_iter());
        assert_eq!(heads.recall(&[inbox(2), inbox(1)]), Some((last, vec![(2, 6), (1, 5)])));
        assert_eq!(heads.recall(&[inbox(2), inbox(3)]), None);
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let mut heads = Heads::default();
        for number in 0..10 * MOST {
            let used = std::iter::once((inbox(0), (1, number as u64)));
            heads.keep(Last::default(), used.chain(std::iter::once((inbox(number + 1), (2, 1)))));
        }
        assert!(heads.young.len() + heads.old.len() <= 2 * MOST);
        let (_, known) = heads.recall(&[inbox(0)]).unwrap();
        assert_eq!(known, [(1, 10 * MOST as u64 - 1)], "the latest, not one of the old half");
        assert!(heads.recall(&[inbox(1)]).is_none());
    }

    #[test]
    fn after_a_doubt_some_batches_are_looked_up() {
        let mut heads = Heads::default();
        heads.forget();
        heads.keep(Last::default(), std::iter::once((inbox(1), (1, 1))));
        assert!((0..DOUBT).all(|_| heads.recall(&[inbox(1)]).is_none()));
        assert!(heads.recall(&[inbox(1)]).is_some());
    }
}
