//! A session's mailbox: everything that comes to it from the gateway's side, bounded, taken out at once.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tidegate_pipeline::body::Body;
use tidegate_pipeline::log::{Answer, Answers};
use tidegate_proto::v1::{CloseCode, Receipt, Signal};
use tokio::sync::Notify;

use crate::burst::Burst;

/// What waits for a session. Others put in, the session takes out.
#[derive(Debug)]
pub struct Mailbox {
    session: u64,
    max_bytes: usize,
    inner: Mutex<Inner>,
    wake: Notify,
    drops: Arc<Drops>,
}

/// What mailboxes did not take, counted for all of them.
#[derive(Debug, Default)]
pub struct Drops {
    /// Pushes that left a mark.
    pub pushes: Counter,
    /// Signals that newer ones drove out.
    pub signals: Counter,
    /// Messages that are stored nowhere.
    pub passing: Counter,
    /// Messages of channels, for one subscriber; those that are stored left a mark.
    pub posts: Counter,
    /// Receipts of repeats.
    pub receipts: Counter,
}

#[derive(Debug, Default)]
struct Inner {
    mail: Mail,
    bytes: usize,
    /// Messages in posts.
    posted: u64,
    /// Of posts: a busy channel leaves the inbox its room.
    post_bytes: usize,
}

/// What a session takes out of its mailbox at once.
#[derive(Debug, Default)]
pub struct Mail {
    /// Answers of the log, by the tag of the send. At most as many as sends in flight.
    pub answers: Vec<(u64, Answer)>,
    /// Entries of the inbox.
    pub pushes: VecDeque<Pushed>,
    /// The inbox has at least this head; 0: nothing was dropped.
    pub mark: u64,
    /// Messages that are stored nowhere.
    pub passing: Vec<Body>,
    /// Messages of channels; in each channel they come in order.
    pub posts: Vec<Posted>,
    /// Channels that have at least that head, by the session's number for the subscription: posts were dropped, or may
    /// have been.
    pub channel_marks: Vec<(u32, u64)>,
    /// STORED for repeats.
    pub receipts: Vec<Receipt>,
    /// Volatile events.
    pub signals: VecDeque<Arc<Signal>>,
    /// The session is to end.
    pub notice: Option<Notice>,
}

/// An entry pushed to a session.
#[derive(Debug)]
pub struct Pushed {
    /// Its seq in the inbox.
    pub seq: u64,
    /// The message.
    pub body: Body,
    /// This session sent it.
    pub own: bool,
}

/// Messages of a channel posted to a subscriber.
#[derive(Debug)]
pub struct Posted {
    /// The session's number for the subscription.
    pub subscription: u32,
    /// The messages.
    pub burst: Arc<Burst>,
}

/// Why a session is told to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The close code.
    pub code: CloseCode,
    /// For a person.
    pub message: &'static str,
    /// When the client should come back, in ms; 0: not said.
    pub retry_after_ms: i64,
}

impl Mailbox {
    /// An empty mailbox of a session, that holds bodies of at most `max_bytes` and counts in `drops` what it does not
    /// take.
    pub fn new(session: u64, max_bytes: usize, drops: Arc<Drops>) -> Arc<Self> {
        Arc::new(Self { session, max_bytes, inner: Mutex::default(), wake: Notify::new(), drops })
    }

    /// The session's number.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Waits until something is there. Cancel safe.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }

    /// Takes out all there is.
    pub fn take(&self) -> Mail {
        let mut inner = self.inner.lock();
        (inner.bytes, inner.posted, inner.post_bytes) = (0, 0, 0);
        std::mem::take(&mut inner.mail)
    }

    pub(super) fn push(&self, seq: u64, body: &Body, own: bool) {
        let bytes = body.bytes().len();
        let mut inner = self.inner.lock();
        if inner.mail.pushes.len() >= MAX_PUSHES || inner.bytes + bytes > self.max_bytes {
            inner.mail.mark = inner.mail.mark.max(seq);
            self.drops.pushes.inc();
        } else {
            inner.bytes += bytes;
            inner.mail.pushes.push_back(Pushed { seq, body: body.clone(), own });
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Takes a message that is stored nowhere, if there is room.
    pub(super) fn pass(&self, body: &Body) -> bool {
        let bytes = body.bytes().len();
        let mut inner = self.inner.lock();
        let fits = inner.mail.passing.len() < MAX_PASSING && inner.bytes + bytes <= self.max_bytes;
        if fits {
            inner.bytes += bytes;
            inner.mail.passing.push(body.clone());
        } else {
            self.drops.passing.inc();
        }
        drop(inner);
        self.wake.notify_one();
        fits
    }

    /// Messages of one channel. At once it takes half of the room at most, so that the next channel finds some.
    pub(crate) fn post(&self, subscription: u32, bursts: &[Arc<Burst>]) {
        let mut inner = self.inner.lock();
        let most = MAX_POSTS.min(inner.posted + MAX_POSTS / 2);
        let most_bytes = self.max_bytes.min(inner.post_bytes + self.max_bytes / 2);
        for burst in bursts {
            if inner.posted + burst.count() <= most && inner.post_bytes + burst.bytes() <= most_bytes {
                inner.posted += burst.count();
                inner.post_bytes += burst.bytes();
                inner.mail.posts.push(Posted { subscription, burst: burst.clone() });
            } else {
                self.drops.posts.inc_by(burst.count());
                inner.mail.mark_channel(subscription, burst.last());
            }
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// The channel has at least that head.
    pub(crate) fn mark_channel(&self, subscription: u32, head: u64) {
        self.inner.lock().mail.mark_channel(subscription, head);
        self.wake.notify_one();
    }

    pub(super) fn mark(&self, head: u64) {
        let mut inner = self.inner.lock();
        inner.mail.mark = inner.mail.mark.max(head);
        drop(inner);
        self.wake.notify_one();
    }

    pub(super) fn signal(&self, signal: Arc<Signal>) {
        let mut inner = self.inner.lock();
        if inner.mail.signals.len() >= MAX_SIGNALS {
            inner.mail.signals.pop_front();
            self.drops.signals.inc();
        }
        inner.mail.signals.push_back(signal);
        drop(inner);
        self.wake.notify_one();
    }

    pub(super) fn receipt(&self, receipt: Receipt) {
        let mut inner = self.inner.lock();
        if inner.mail.receipts.len() < MAX_RECEIPTS {
            inner.mail.receipts.push(receipt);
        } else {
            self.drops.receipts.inc();
        }
        drop(inner);
        self.wake.notify_one();
    }

    pub(super) fn notice(&self, notice: Notice) {
        self.inner.lock().mail.notice.get_or_insert(notice);
        self.wake.notify_one();
    }
}

impl Mail {
    /// One mark for each subscription, so as many as a session may have.
    fn mark_channel(&mut self, subscription: u32, seq: u64) {
        match self.channel_marks.iter_mut().find(|(other, _)| *other == subscription) {
            Some((_, head)) => *head = (*head).max(seq),
            None if seq > 0 => self.channel_marks.push((subscription, seq)),
            None => {}
        }
    }
}

impl Answers for Mailbox {
    fn answer(&self, tag: u64, answer: Answer) {
        self.inner.lock().mail.answers.push((tag, answer));
        self.wake.notify_one();
    }
}

/// Pushes that wait; beyond them the session reads the store.
const MAX_PUSHES: usize = 256;
/// Messages of channels that wait; beyond them the session reads the store.
const MAX_POSTS: u64 = 256;
/// Signals that wait; a newer one drops the oldest, which is late by then.
const MAX_SIGNALS: usize = 32;
/// Messages that are stored nowhere that wait; whoever sent one more is told that it was not taken.
const MAX_PASSING: usize = 32;
/// Receipts of repeats that wait; a client without one asks again.
const MAX_RECEIPTS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_leaves_a_mark_and_keeps_its_bounds() {
        let drops = Arc::new(Drops::default());
        let mailbox = Mailbox::new(1, 100, drops.clone());
        let body = Body::new(&[0; 30], "c", ("l", "s"), 1, 1);
        for seq in 1..=10 {
            mailbox.push(seq, &body, false);
        }
        let mail = mailbox.take();
        assert_eq!((mail.pushes.len(), mail.mark), (3, 10));
        assert_eq!(drops.pushes.get(), 7);
        mailbox.push(11, &body, false);
        assert_eq!(mailbox.take().mark, 0, "there is room again");

        let tiny = Body::new(&[], "c", ("l", "s"), 1, 1);
        let mailbox = Mailbox::new(1, usize::MAX, drops);
        (0..1_000).for_each(|seq| mailbox.push(seq, &tiny, false));
        assert_eq!(mailbox.take().pushes.len(), MAX_PUSHES);
    }

    #[test]
    fn a_busy_channel_leaves_room_to_the_next_and_marks_for_what_it_lost() {
        let drops = Arc::new(Drops::default());
        let mailbox = Mailbox::new(1, 1 << 20, drops.clone());
        let body = Body::new(&[0; 30], "c", ("l", "s"), 1, 1);
        let bursts = |seqs: std::ops::RangeInclusive<u64>| {
            Burst::cut(&"c".into(), seqs.map(|seq| (seq, body.clone())).collect())
        };
        mailbox.post(1, &bursts(1..=200));
        mailbox.post(2, &bursts(5..=6));
        let mail = mailbox.take();
        let counts: Vec<_> = mail
            .posts
            .iter()
            .map(|posted| (posted.subscription, posted.burst.last(), posted.burst.count()))
            .collect();
        assert_eq!(counts, [(1, 64, 64), (1, 128, 64), (2, 6, 2)]);
        assert_eq!((mail.channel_marks, drops.posts.get()), (vec![(1, 200)], 72));
        mailbox.post(1, &bursts(201..=202));
        assert_eq!(mailbox.take().posts.len(), 1, "there is room again");

        let mailbox = Mailbox::new(1, 40_000, drops);
        mailbox.post(1, &bursts(1..=64));
        mailbox.post(1, &Burst::cut(&"c".into(), vec![(65, Body::new(&[0; 30_000], "c", ("l", "s"), 1, 1))]));
        let mail = mailbox.take();
        assert_eq!((mail.posts.len(), mail.channel_marks), (1, vec![(1, 65)]), "bytes are bounded too");
    }

    #[test]
    fn what_is_stored_nowhere_is_taken_or_refused() {
        let drops = Arc::new(Drops::default());
        let mailbox = Mailbox::new(1, 1_000, drops.clone());
        let body = Body::new(&[], "c", ("l", "s"), 1, 0);
        let taken = (0..40).filter(|_| mailbox.pass(&body)).count();
        assert_eq!((taken, mailbox.take().passing.len(), drops.passing.get()), (MAX_PASSING, MAX_PASSING, 8));
        assert!(mailbox.pass(&body), "there is room again");
        assert!(!mailbox.pass(&Body::new(&[0; 1_000], "c", ("l", "s"), 1, 0)));
    }

    #[test]
    fn of_signals_the_newest_are_kept_and_of_notices_the_first() {
        let drops = Arc::new(Drops::default());
        let mailbox = Mailbox::new(1, 100, drops.clone());
        for n in 0..100 {
            mailbox.signal(Arc::new(Signal { kind: n.to_string(), ..Signal::default() }));
        }
        for code in [CloseCode::Replaced, CloseCode::Draining] {
            mailbox.notice(Notice { code, message: "", retry_after_ms: 0 });
        }
        let mail = mailbox.take();
        assert_eq!((mail.signals.len(), &*mail.signals[MAX_SIGNALS - 1].kind), (MAX_SIGNALS, "99"));
        assert_eq!(drops.signals.get(), 100 - MAX_SIGNALS as u64);
        assert_eq!(mail.notice.unwrap().code, CloseCode::Replaced);
    }
}
