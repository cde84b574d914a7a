//! The feed: what a session sends next of one timeline, live pushes or pages from the store
//! (ARCHITECTURE.md "The feed").
//!
//! Pure: no IO, no clock. Whoever drives it tells it of pushes, marks, heads and pages, and writes what it gives out.
//! It gives out every seq once, in order, whatever is lost, late or doubled on the way; its memory is bounded.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// The feed of one timeline. `T` is an entry ready to be written. Times are in ms on any clock that only grows.
#[derive(Debug)]
pub struct Feed<T> {
    next: u64,
    head: u64,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    /// Pushes are written as they come; those that came too early are held until `give_up_at`.
    Live { held: BTreeMap<u64, T>, give_up_at: u64 },
    /// Pages are read from the store until the head is met.
    CatchUp { page: PageState, failures: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageState {
    /// The next page may be asked for from this time on.
    Due(u64),
    /// Asked for, not yet there.
    Reading,
}

/// What a page did to the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageResult {
    /// Its entries were given out.
    Entries,
    /// Entries below this floor are gone for good; the feed goes on from it.
    HistoryGone(u64),
}

impl<T> Feed<T> {
    /// A feed that sends what comes after `cursor`; `head` is the timeline's, read from the store *after* the session
    /// listens (ARCHITECTURE.md invariant 9).
    pub fn new(cursor: u64, head: u64) -> Self {
        let mut feed = Self { next: cursor + 1, head, state: State::live() };
        feed.compare_head(0);
        feed
    }

    /// A pushed entry. What may be written now goes to `out`, in order.
    pub fn push(&mut self, seq: u64, entry: T, now: u64, out: &mut Vec<(u64, T)>) {
        self.head = self.head.max(seq);
        let State::Live { held, give_up_at } = &mut self.state else { return };
        if seq < self.next {
            return;
        }
        if seq > self.next {
            if held.is_empty() {
                *give_up_at = now + HOLD_MS;
            }
            held.insert(seq, entry);
            if held.len() > MAX_HELD {
                self.catch_up(now);
            }
            return;
        }
        out.push((seq, entry));
        self.next += 1;
        while let Some(entry) = held.remove(&self.next) {
            out.push((self.next, entry));
            self.next += 1;
        }
    }

    /// Pushed entries in a row, `count` of them from `first` on: whether they may be written as they are, all of them. If
    /// not, nothing has happened, and they are to be pushed one by one.
    pub fn try_pass(&mut self, first: u64, count: u64) -> bool {
        let passes = matches!(&self.state, State::Live { held, .. } if held.is_empty() && first == self.next);
        if passes {
            self.next += count;
            self.head = self.head.max(self.next - 1);
        }
        passes
    }

    /// A push up to `head` was dropped somewhere, or the store says that the head is there. Figures from the client do
    /// not belong here.
    pub fn mark(&mut self, head: u64, now: u64) {
        self.head = self.head.max(head);
        self.compare_head(now);
    }

    /// There is no room for live entries: what comes is read from the store when there is room again.
    pub fn outbox_full(&mut self, now: u64) {
        self.catch_up(now);
    }

    /// Time has passed: a gap that stayed too long turns the feed to the store.
    pub fn tick(&mut self, now: u64) {
        if let State::Live { held, give_up_at } = &self.state
            && !held.is_empty()
            && now >= *give_up_at
        {
            self.catch_up(now);
        }
    }

    /// The seq after which a page is to be read now, if one is. The caller reads it when the outbox is below its
    /// low-water mark and then calls [`Feed::page`] or [`Feed::page_failed`]; until then no other is asked for.
    pub fn try_read(&mut self, now: u64) -> Option<u64> {
        let State::CatchUp { page, .. } = &mut self.state else { return None };
        match *page {
            PageState::Due(at) if at <= now => {
                *page = PageState::Reading;
                Some(self.next - 1)
            }
            PageState::Due(_) | PageState::Reading => None,
        }
    }

    /// The page asked for: entries in rising order, with the timeline's head and floor of the same snapshot.
    pub fn page(
        &mut self,
        entries: impl IntoIterator<Item = (u64, T)>,
        (head, floor): (u64, u64),
        now: u64,
        out: &mut Vec<(u64, T)>,
    ) -> PageResult {
        self.head = self.head.max(head);
        let before = self.next;
        let gone = self.next < floor;
        if gone {
            self.next = floor;
        }
        for (seq, entry) in entries {
            if seq == self.next {
                out.push((seq, entry));
                self.next += 1;
            }
        }
        self.page_done(self.next > before, now);
        if gone { PageResult::HistoryGone(floor) } else { PageResult::Entries }
    }

    /// The page asked for could not be read; it is asked for again after a while.
    pub fn page_failed(&mut self, now: u64) {
        self.page_done(false, now);
    }

    /// When [`Feed::tick`] or [`Feed::try_read`] has something to do, if nothing else happens before.
    pub fn deadline(&self) -> Option<u64> {
        match &self.state {
            State::Live { held, give_up_at } => (!held.is_empty()).then_some(*give_up_at),
            State::CatchUp { page: PageState::Due(at), .. } => Some(*at),
            State::CatchUp { page: PageState::Reading, .. } => None,
        }
    }

    /// Whether live pushes are written as they come.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// The last seq given out.
    pub fn sent(&self) -> u64 {
        self.next - 1
    }

    /// The last seq known to be there.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Entries held in memory; at most [`MAX_HELD`].
    pub fn held(&self) -> usize {
        match &self.state {
            State::Live { held, .. } => held.len(),
            State::CatchUp { .. } => 0,
        }
    }

    fn page_done(&mut self, progress: bool, now: u64) {
        let State::CatchUp { page, failures } = &mut self.state else { return };
        if self.next > self.head {
            self.state = State::live();
            return;
        }
        *failures = if progress { 0 } else { *failures + 1 };
        let wait =
            if progress { 0 } else { (RETRY_MS << (*failures - 1).min(MAX_DOUBLINGS)).min(MAX_RETRY_MS) };
        *page = PageState::Due(now + wait);
    }

    fn compare_head(&mut self, now: u64) {
        let reached = match &self.state {
            // A head that the held entries already know of is waited for like them.
            State::Live { held, .. } => held.last_key_value().map_or(self.next - 1, |(seq, _)| *seq),
            State::CatchUp { .. } => return,
        };
        if self.head > reached {
            self.catch_up(now);
        }
    }

    fn catch_up(&mut self, now: u64) {
        if self.is_live() {
            self.state = State::CatchUp { page: PageState::Due(now), failures: 0 };
        }
    }
}

impl<T> State<T> {
    fn live() -> Self {
        Self::Live { held: BTreeMap::new(), give_up_at: 0 }
    }
}

/// Entries held while an earlier one is awaited (ARCHITECTURE.md "The feed").
pub const MAX_HELD: usize = 64;
/// How long they are held: pushes of different partitions may cross.
const HOLD_MS: u64 = 20;
/// The first wait after a page that made no progress; doubled up to the largest.
const RETRY_MS: u64 = 50;
const MAX_DOUBLINGS: u32 = 7;
const MAX_RETRY_MS: u64 = 5_000;
