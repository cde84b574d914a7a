//! Random schedules of pushes, losses, marks, slow writers, page reads, retention and reconnects against a feed.

use proptest::prelude::*;

use super::*;

/// What happens to a feed, in any order.
#[derive(Debug, Clone)]
enum Happening {
    /// So many entries are stored; bit n says whether the push of the nth arrives, `cross` swaps the last two.
    Stored { count: u8, arrives: u8, cross: bool },
    /// So many are stored and their pushes arrive as one, with those of so many before them once more.
    StoredTogether { count: u8, again: u8 },
    /// A push of an old or new entry arrives again.
    PushedAgain(u64),
    /// The link was full: a mark with the head.
    Mark,
    /// The periodic check of the heads.
    HeadCheck,
    /// The outbox is full, then drained.
    OutboxFull,
    /// The driver reads a page if the feed asks; the snapshot was taken, then so many more were stored and pushed.
    Page { limit: u8, meanwhile: u8 },
    /// The page could not be read.
    PageFails,
    /// Retention cuts off the beginning.
    Retention(u8),
    /// Time passes.
    Time(u16),
    /// The client is back with what it has.
    Reconnect,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0u8..8, any::<u8>(), any::<bool>()).prop_map(|(count, arrives, cross)| Happening::Stored { count, arrives, cross }),
        3 => (1u8..8, prop_oneof![3 => Just(0u8), 1 => 1u8..5]).prop_map(|(count, again)| Happening::StoredTogether { count, again }),
        1 => (1u64..300).prop_map(Happening::PushedAgain),
        1 => Just(Happening::Mark),
        1 => Just(Happening::HeadCheck),
        1 => Just(Happening::OutboxFull),
        4 => (1u8..20, 0u8..5).prop_map(|(limit, meanwhile)| Happening::Page { limit, meanwhile }),
        1 => Just(Happening::PageFails),
        1 => (0u8..30).prop_map(Happening::Retention),
        3 => (1u16..200).prop_map(Happening::Time),
        1 => Just(Happening::Reconnect),
    ]
}

/// A timeline, its feed, and the client who checks every seq. An entry's value is its own seq.
struct World {
    feed: Feed<u64>,
    head: u64,
    floor: u64,
    received: u64,
    now: u64,
}

impl World {
    fn new() -> Self {
        Self { feed: Feed::new(0, 0), head: 0, floor: 1, received: 0, now: 0 }
    }

    fn push(&mut self, seq: u64) {
        let mut out = Vec::new();
        self.feed.push(seq, seq, self.now, &mut out);
        self.receive(&out);
    }

    fn push_together(&mut self, seqs: std::ops::RangeInclusive<u64>) {
        if self.feed.try_pass(*seqs.start(), seqs.end() - seqs.start() + 1) {
            let all: Vec<_> = seqs.map(|seq| (seq, seq)).collect();
            self.receive(&all);
        } else {
            seqs.for_each(|seq| self.push(seq));
        }
    }

    fn receive(&mut self, out: &[(u64, u64)]) {
        for (seq, entry) in out {
            assert_eq!(*seq, self.received + 1, "in order, no hole, no double");
            assert_eq!(seq, entry, "the entry of that seq");
            self.received = *seq;
        }
        assert!(self.received <= self.head, "nothing that is not stored");
    }

    fn page(&mut self, limit: u64, meanwhile: u64) {
        let Some(after) = self.feed.try_read(self.now) else { return };
        assert_eq!(after, self.received, "reads on from what was sent");
        assert_eq!(self.feed.try_read(self.now), None, "one page at a time");
        let (head, floor) = (self.head, self.floor);
        let from = (after + 1).max(floor);
        let entries: Vec<_> = (from..=head.min(from + limit - 1)).map(|seq| (seq, seq)).collect();
        for _ in 0..meanwhile {
            self.head += 1;
            self.push(self.head);
        }
        let mut out = Vec::new();
        if let PageResult::HistoryGone(gone) = self.feed.page(entries, (head, floor), self.now, &mut out) {
            assert!(gone > self.received + 1, "only what is really below the floor is given up");
            self.received = gone - 1;
        }
        self.receive(&out);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Stored { count, arrives, cross } => {
                let first = self.head + 1;
                self.head += u64::from(count);
                let mut pushed: Vec<_> =
                    (first..=self.head).filter(|seq| arrives >> (seq - first) & 1 == 1).collect();
                let len = pushed.len();
                if cross && len > 1 {
                    pushed.swap(len - 2, len - 1);
                }
                pushed.into_iter().for_each(|seq| self.push(seq));
            }
            Happening::StoredTogether { count, again } => {
                let first = (self.head + 1).saturating_sub(u64::from(again)).max(1);
                self.head += u64::from(count);
                self.push_together(first..=self.head);
            }
            Happening::PushedAgain(seq) if seq <= self.head => self.push(seq),
            Happening::PushedAgain(_) => {}
            Happening::Mark | Happening::HeadCheck => self.feed.mark(self.head, self.now),
            Happening::OutboxFull => self.feed.outbox_full(self.now),
            Happening::Page { limit, meanwhile } => self.page(u64::from(limit), u64::from(meanwhile)),
            Happening::PageFails => {
                if self.feed.try_read(self.now).is_some() {
                    self.feed.page_failed(self.now);
                }
            }
            Happening::Retention(entries) => {
                self.floor = (self.floor + u64::from(entries)).min(self.head + 1)
            }
            Happening::Time(ms) => self.now += u64::from(ms),
            Happening::Reconnect => self.feed = Feed::new(self.received, self.head),
        }
        self.feed.tick(self.now);
        assert!(self.feed.held() <= MAX_HELD);
        assert_eq!(self.feed.sent(), self.received);
    }

    /// The world calms down: a check of the heads, then time and pages as the feed asks for them.
    fn settle(&mut self) {
        self.feed.mark(self.head, self.now);
        for _ in 0..1_000 {
            self.page(10, 0);
            let Some(at) = self.feed.deadline() else { break };
            self.now = self.now.max(at);
            self.feed.tick(self.now);
        }
        assert!(self.feed.is_live());
        assert_eq!(self.received, self.head, "has everything");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_schedule_ends_live_with_everything(schedule in prop::collection::vec(happening(), 0..80)) {
        let mut world = World::new();
        for happening in schedule {
            world.happen(happening);
        }
        world.settle();
    }
}

#[test]
fn a_crossed_push_is_held_and_not_read_from_the_store() {
    let mut feed = Feed::new(0, 0);
    let mut out = Vec::new();
    feed.push(2, 'b', 5, &mut out);
    assert!(out.is_empty() && feed.is_live());
    feed.mark(2, 6);
    assert!(feed.is_live(), "a head that is held is no gap yet");
    feed.push(1, 'a', 24, &mut out);
    assert_eq!(out, [(1, 'a'), (2, 'b')]);
    assert_eq!(feed.deadline(), None);
}

#[test]
fn only_what_comes_next_of_a_live_feed_passes_as_it_is() {
    let mut feed = Feed::new(4, 4);
    assert!(!feed.try_pass(4, 2) && !feed.try_pass(6, 2));
    assert!(feed.try_pass(5, 3));
    assert_eq!((feed.sent(), feed.head()), (7, 7));
    feed.push(9, (), 0, &mut Vec::new());
    assert!(!feed.try_pass(8, 1), "one is held that comes after it");
    feed.outbox_full(0);
    assert!(!feed.try_pass(8, 1));
}

#[test]
fn a_gap_that_stays_turns_to_the_store() {
    let mut feed = Feed::new(0, 0);
    feed.push(2, (), 5, &mut Vec::new());
    assert_eq!(feed.deadline(), Some(25));
    feed.tick(24);
    assert!(feed.is_live());
    feed.tick(25);
    assert_eq!(feed.try_read(25), Some(0));
}

#[test]
fn the_loss_of_the_last_push_is_noticed_by_a_mark() {
    let mut feed = Feed::<()>::new(3, 3);
    feed.mark(4, 0);
    assert_eq!(feed.try_read(0), Some(3));
}

#[test]
fn pages_without_progress_are_asked_for_ever_later() {
    let mut feed = Feed::<()>::new(0, 1);
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..10 {
        assert_eq!(feed.try_read(now), Some(0));
        feed.page_failed(now);
        let at = feed.deadline().unwrap();
        waits.push(at - now);
        now = at;
    }
    assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
}
