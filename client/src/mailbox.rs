//! The bounded queue between the worker and the application, and how far the application has come. It does not know
//! what events mean.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::{Event, Position};

/// Events on their way to the application. One worker puts, one reader takes.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    to_reader: Notify,
    to_worker: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    bytes: usize,
    /// Full once, and not yet half empty again.
    full: bool,
    /// Where the inbox stands once the whole queue is taken.
    tail: Option<Position>,
    /// Where it stands after what was taken.
    taken: Option<Position>,
    /// Where it stood when the reader last came for more: what it has handled.
    handled: Option<Position>,
    handled_since_ack: usize,
    /// What `handled` was at the last Ack.
    acknowledged: Option<Position>,
    /// At the last Ack nothing new was handled: the worker waits to hear when something is.
    watched: bool,
    /// The worker has put its last event.
    ended: bool,
    /// The reader is gone.
    abandoned: bool,
}

#[derive(Debug)]
struct Item {
    event: Event,
    bytes: usize,
    position: Option<Position>,
}

impl Mailbox {
    /// A queue that counts as full with `capacity` events.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            to_reader: Notify::new(),
            to_worker: Notify::new(),
            capacity: capacity.max(1),
        }
    }

    /// Whether the worker may read on. Once full, it is not until the reader has taken half.
    pub(crate) fn has_room(&self) -> bool {
        !self.lock().full
    }

    /// Puts an event of about `bytes` bytes; `position` is where the inbox stands once the reader has taken it.
    /// A frame gives at most two events, so the queue stays within its bound when the worker minds
    /// [`has_room`](Self::has_room).
    pub(crate) fn put(&self, event: Event, bytes: usize, position: Option<Position>) {
        let mut state = self.lock();
        if state.abandoned {
            return;
        }
        state.bytes += bytes;
        state.tail.clone_from(&position);
        state.queue.push_back(Item { event, bytes, position });
        state.full |= state.queue.len() >= self.capacity || state.bytes >= MAX_QUEUED_BYTES;
        drop(state);
        self.to_reader.notify_one();
    }

    /// The inbox has moved without an event: an own message was stored.
    pub(crate) fn advance(&self, position: Option<Position>) {
        let mut state = self.lock();
        if state.abandoned {
            return;
        }
        if state.queue.is_empty() {
            if state.handled == state.taken {
                state.handled.clone_from(&position);
                state.watched = false;
            }
            state.taken.clone_from(&position);
        }
        state.tail = position;
    }

    /// Takes the next event. Coming for more says that what was taken before is handled.
    pub(crate) fn take(&self) -> Option<Event> {
        let mut state = self.lock();
        state.handled = state.taken.clone();
        let progress = state.watched && state.handled != state.acknowledged;
        state.watched &= !progress;
        let Some(item) = state.queue.pop_front() else {
            drop(state);
            if progress {
                self.to_worker.notify_one();
            }
            return None;
        };
        state.bytes -= item.bytes;
        state.taken = if state.queue.is_empty() { state.tail.clone() } else { item.position };
        state.handled_since_ack += 1;
        let has_room_again =
            state.full && state.queue.len() <= self.capacity / 2 && state.bytes <= MAX_QUEUED_BYTES / 2;
        state.full &= !has_room_again;
        let ack_is_due = state.handled_since_ack == ACK_EVERY;
        drop(state);
        if has_room_again || ack_is_due || progress {
            self.to_worker.notify_one();
        }
        Some(item.event)
    }

    /// Whether the worker has put its last event. It may still have to be taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits until there may be something to take. Cancel safe.
    pub(crate) async fn filled(&self) {
        self.to_reader.notified().await;
    }

    /// Waits until there is room again, an Ack is due by number, or there is progress where there was none. Cancel
    /// safe; may return without cause.
    pub(crate) async fn drained(&self) {
        self.to_worker.notified().await;
    }

    /// Whether so many events were handled that the server should hear of it, not waiting for the time.
    pub(crate) fn is_ack_due(&self) -> bool {
        self.lock().handled_since_ack >= ACK_EVERY
    }

    /// What the reader has handled, which is then counted anew.
    pub(crate) fn start_ack(&self) -> Option<Position> {
        let mut state = self.lock();
        state.handled_since_ack = 0;
        state.watched = state.acknowledged == state.handled;
        state.acknowledged = state.handled.clone();
        state.handled.clone()
    }

    /// Whether the reader may have handled more since the last Ack. If not, the worker hears of it by
    /// [`drained`](Self::drained) when it has, and an idle client needs no timer.
    pub(crate) fn may_have_progress(&self) -> bool {
        let state = self.lock();
        !state.watched && !state.abandoned
    }

    /// What the reader has taken.
    pub(crate) fn taken(&self) -> Option<Position> {
        self.lock().taken.clone()
    }

    /// The worker has ended.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.to_reader.notify_one();
    }

    /// The reader is gone: what was and will be put is dropped, and nothing more counts as taken.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.full = false;
        state.queue = VecDeque::new();
        drop(state);
        self.to_worker.notify_one();
    }

    /// A panic of another holder leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With this much content in the queue it counts as full, whatever its length.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;
/// After this many events handled an Ack goes out without waiting for its time.
const ACK_EVERY: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn put(mailbox: &Mailbox, seq: i64) {
        mailbox.put(Event::Gone { timeline: String::new(), seq }, 10, at(seq));
    }

    fn at(cursor: i64) -> Option<Position> {
        Some(Position { epoch: "e".into(), cursor })
    }

    fn take(mailbox: &Mailbox) -> Option<i64> {
        match mailbox.take() {
            Some(Event::Gone { seq, .. }) => Some(seq),
            _ => None,
        }
    }

    #[test]
    fn taken_is_handled_when_the_reader_comes_back() {
        let mailbox = Mailbox::new(10);
        put(&mailbox, 1);
        put(&mailbox, 2);
        assert_eq!(take(&mailbox), Some(1));
        assert_eq!((mailbox.taken(), mailbox.start_ack()), (at(1), None));
        assert_eq!(take(&mailbox), Some(2));
        assert_eq!((mailbox.taken(), mailbox.start_ack()), (at(2), at(1)));
        assert_eq!(take(&mailbox), None);
        assert_eq!(mailbox.start_ack(), at(2));
    }

    #[test]
    fn moving_without_an_event_waits_for_what_is_queued() {
        let mailbox = Mailbox::new(10);
        put(&mailbox, 1);
        mailbox.advance(at(2));
        assert_eq!(mailbox.taken(), None);
        assert_eq!(take(&mailbox), Some(1));
        assert_eq!((mailbox.taken(), mailbox.start_ack()), (at(2), None));
        assert_eq!(take(&mailbox), None);
        mailbox.advance(at(3));
        assert_eq!((mailbox.taken(), mailbox.start_ack()), (at(3), at(3)));
    }

    #[test]
    fn full_until_half_is_taken() {
        let mailbox = Mailbox::new(4);
        for seq in 1..=4 {
            assert!(mailbox.has_room());
            put(&mailbox, seq);
        }
        assert!(!mailbox.has_room());
        take(&mailbox);
        assert!(!mailbox.has_room());
        take(&mailbox);
        assert!(mailbox.has_room());
    }

    #[test]
    fn full_by_bytes() {
        let mailbox = Mailbox::new(100);
        mailbox.put(Event::Gone { timeline: String::new(), seq: 1 }, MAX_QUEUED_BYTES, at(1));
        assert!(!mailbox.has_room());
        take(&mailbox);
        assert!(mailbox.has_room());
    }

    #[test]
    fn an_ack_is_due_by_number() {
        let mailbox = Mailbox::new(1_000);
        for seq in 1..=ACK_EVERY as i64 {
            assert!(!mailbox.is_ack_due());
            put(&mailbox, seq);
            take(&mailbox);
        }
        assert!(mailbox.is_ack_due());
        mailbox.start_ack();
        assert!(!mailbox.is_ack_due());
    }

    #[test]
    fn a_reader_that_does_not_come_is_waited_for_without_a_timer() {
        let mailbox = Mailbox::new(10);
        put(&mailbox, 1);
        put(&mailbox, 2);
        let heard = || mailbox.drained().now_or_never().is_some();
        take(&mailbox);
        assert_eq!(mailbox.start_ack(), None);
        assert!(!mailbox.may_have_progress() && !heard());
        take(&mailbox);
        assert!(mailbox.may_have_progress() && heard());
        assert_eq!(mailbox.start_ack(), at(1));
        assert!(mailbox.may_have_progress());
        assert_eq!(mailbox.start_ack(), at(1));
        assert!(!mailbox.may_have_progress() && !heard());
        take(&mailbox);
        assert!(mailbox.may_have_progress() && heard());
        assert_eq!(mailbox.start_ack(), at(2));
    }

    #[test]
    fn without_a_reader_nothing_is_kept_or_counted() {
        let mailbox = Mailbox::new(2);
        put(&mailbox, 1);
        put(&mailbox, 2);
        mailbox.abandon();
        assert!(mailbox.has_room());
        put(&mailbox, 3);
        mailbox.advance(at(4));
        assert_eq!((mailbox.taken(), mailbox.start_ack()), (None, None));
    }

    #[test]
    fn the_end_comes_after_the_last_event() {
        let mailbox = Mailbox::new(2);
        put(&mailbox, 1);
        assert!(!mailbox.has_ended());
        mailbox.end();
        assert!(mailbox.has_ended());
        assert_eq!(take(&mailbox), Some(1));
        assert_eq!(take(&mailbox), None);
    }
}
