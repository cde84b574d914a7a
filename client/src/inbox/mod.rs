//! What of the own inbox has arrived: a cursor and the seqs above it (docs/PROTOCOL.md "Receiving"). No IO, no clock;
//! it does not know the messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_proto::limits::MAX_APPLIED_ABOVE_CURSOR;

use crate::event::Position;

/// The cursor, contiguous, and the set of seqs applied above it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    epoch: Option<Arc<str>>,
    cursor: i64,
    above: BTreeSet<i64>,
}

/// What to do with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is new and now counts as applied.
    New,
    /// It has been applied before: drop it.
    Known,
    /// Too many seqs are applied above the cursor: reconnect, and the server fills the hole.
    TooFar,
}

impl Inbox {
    /// An inbox of which everything up to `position` has been applied in an earlier life of the program.
    pub(crate) fn resumed(position: Position) -> Self {
        Self { epoch: Some(position.epoch), cursor: position.cursor, above: BTreeSet::new() }
    }

    /// Where it stands; `None` before the first Welcome.
    pub(crate) fn position(&self) -> Option<Position> {
        let epoch = self.epoch.clone()?;
        Some(Position { epoch, cursor: self.cursor })
    }

    /// The contiguous cursor.
    pub(crate) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Takes what a Welcome says; true when what was known of seqs is void: the epoch is another one, or the cursor
    /// was beyond the head.
    pub(crate) fn welcome(&mut self, epoch: &str, start: i64, head: i64) -> bool {
        let known = self.epoch.as_deref();
        if known == Some(epoch) && self.cursor <= head {
            self.raise(start);
            return false;
        }
        let void = known.is_some();
        *self = Self { epoch: Some(epoch.into()), cursor: start, above: BTreeSet::new() };
        void
    }

    /// Counts the entry `seq` as applied, unless it is already.
    pub(crate) fn arrive(&mut self, seq: i64) -> Arrival {
        if seq <= self.cursor || self.above.contains(&seq) {
            return Arrival::Known;
        }
        if seq == self.cursor.saturating_add(1) {
            self.raise(seq);
            return Arrival::New;
        }
        if self.above.len() >= MAX_APPLIED_ABOVE_CURSOR {
            return Arrival::TooFar;
        }
        self.above.insert(seq);
        Arrival::New
    }

    /// What lies below `floor` is gone for good: the cursor goes to just before it.
    pub(crate) fn history_gone(&mut self, floor: i64) {
        self.raise(floor.saturating_sub(1));
    }

    /// Moves the cursor up to `cursor` at least, and over what is contiguous from there.
    fn raise(&mut self, cursor: i64) {
        self.cursor = self.cursor.max(cursor);
        while let Some(&first) = self.above.first() {
            if first > self.cursor.saturating_add(1) {
                break;
            }
            self.cursor = self.cursor.max(first);
            self.above.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;
