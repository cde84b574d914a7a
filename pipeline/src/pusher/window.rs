//! How much of a link's batches is on its way, and how long it waits to be opened again. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::rpc::v1::Batch;

/// Batches that are to be sent, and how many of them the gateway has not taken yet.
#[derive(Debug)]
pub(super) struct Window {
    waiting: VecDeque<Batch>,
    sent: u64,
    taken: u64,
    /// When the gateway last took one, or had none to take.
    moved: Instant,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { waiting: VecDeque::new(), sent: 0, taken: 0, moved: now }
    }

    /// More to send, when nothing waits any more.
    pub(super) fn add(&mut self, batches: VecDeque<Batch>) {
        self.waiting.extend(batches);
    }

    /// The next batch to send now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Batch> {
        if self.sent - self.taken >= MAX_UNTAKEN as u64 {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        if self.sent == self.taken {
            self.moved = now;
        }
        self.sent = batch.number;
        Some(batch)
    }

    /// The gateway has taken all up to a number. False for one it cannot have taken.
    pub(super) fn take(&mut self, number: u64, now: Instant) -> bool {
        let possible = (self.taken + 1..=self.sent).contains(&number);
        if possible {
            (self.taken, self.moved) = (number, now);
        }
        possible
    }

    /// Whether more can be added.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.sent - self.taken < MAX_UNTAKEN as u64
    }

    /// Whether everything is sent and taken.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.sent == self.taken
    }

    /// When a gateway that takes nothing is given up; `None` while it has nothing to take.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.sent > self.taken).then(|| self.moved + TAKE_LIMIT)
    }
}

/// The waits between tries: twice as long each time, up to a limit, each at random down to its half.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// The next wait; `chance` is from 0 to 1.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << self.0).min(LONGEST_WAIT);
        self.0 = (self.0 + 1).min(MAX_DOUBLINGS);
        wait.mul_f64(0.5 + chance / 2.0)
    }

    /// After a link that lived for so long: one that breaks again and again is not dialled in a hurry.
    pub(super) fn lived(&mut self, time: Duration) {
        if time >= STABLE_AFTER {
            self.0 = 0;
        }
    }
}

/// Batches on their way, of 256 KiB at most each: 4 MiB of a stopped gateway's buffers and ours.
pub(super) const MAX_UNTAKEN: usize = 16;
/// How long a gateway may take nothing. Taking needs no disk and no network.
const TAKE_LIMIT: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const MAX_DOUBLINGS: u32 = 6;
const STABLE_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(numbers: std::ops::RangeInclusive<u64>) -> VecDeque<Batch> {
        numbers.map(|number| Batch { number, ..Batch::default() }).collect()
    }

    #[test]
    fn what_is_on_its_way_is_bounded_and_taken_cumulatively() {
        let now = Instant::now();
        let mut window = Window::new(now);
        assert!(window.has_room() && window.is_done() && window.deadline().is_none());
        window.add(batches(1..=20));
        assert_eq!(std::iter::from_fn(|| window.next(now)).count(), MAX_UNTAKEN);
        assert!(!window.has_room());
        for nonsense in [0, 17, u64::MAX] {
            assert!(!window.take(nonsense, now), "{nonsense}");
        }
        let later = now + Duration::from_secs(3);
        assert!(window.take(3, later) && !window.take(3, later));
        assert_eq!(window.deadline(), Some(later + TAKE_LIMIT));
        assert_eq!(std::iter::from_fn(|| window.next(later)).last().unwrap().number, 19);
        assert!(window.take(19, later) && window.deadline().is_none() && !window.is_done());
        let much_later = later + Duration::from_secs(60);
        assert!(window.next(much_later).is_some());
        assert_eq!(window.deadline(), Some(much_later + TAKE_LIMIT), "an idle link is not overdue");
        assert!(window.take(20, much_later) && window.is_done());
    }

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_after_a_stable_link() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next(1.0)).collect();
        assert_eq!((waits[0], waits[1], waits[9]), (FIRST_WAIT, 2 * FIRST_WAIT, LONGEST_WAIT));
        assert_eq!(backoff.next(0.0), LONGEST_WAIT / 2);
        backoff.lived(Duration::from_secs(1));
        assert_eq!(backoff.next(1.0), LONGEST_WAIT);
        backoff.lived(STABLE_AFTER);
        assert_eq!(backoff.next(1.0), FIRST_WAIT);
    }
}
