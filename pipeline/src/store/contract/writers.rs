//! Many writers beside each other, as pipelines are: several stores on one place.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Code, Msg};

use super::{
    Place, channel, device, direct, inbox, into_refusal, into_stored, local_ids, msg, page, record, text,
    user, whole,
};
use crate::record::Record;
use crate::store::{CursorUpdate, Outcome, Range, Removed, Retention, Store, StoreError};

const USERS: [&str; 5] = ["a", "b", "c", "d", "e"];
const WRITERS: usize = 8;
const BATCHES: usize = 20;
const RECORDS: usize = 12;

/// Two stores, as two processes have them.
async fn two(place: &impl Place) -> [Store; 2] {
    [place.open().await, place.open().await]
}

/// Appends as the sequencer does: what passes is tried again. Deadlocks are counted; that a server is slow is no verdict.
async fn persist(store: &Store, records: &[Record], deadlocks: &AtomicUsize) -> Vec<Outcome> {
    let refs: Vec<&Record> = records.iter().collect();
    for _ in 0..100 {
        match store.append(&refs).await {
            Ok(outcomes) => return outcomes,
            Err(StoreError::Passing(cause)) => {
                eprintln!("tried again: {cause}");
                deadlocks.fetch_add(usize::from(is_deadlock(&cause)), Ordering::Relaxed);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it never passes");
}

fn is_deadlock(cause: &sqlx::Error) -> bool {
    let code = cause.as_database_error().and_then(|error| error.code());
    // PostgreSQL's own, and MySQL's.
    code.is_some_and(|code| ["40P01", "40001"].contains(&&*code))
}

/// A record of a writer's batch: to users and channels in an order that differs from writer to writer and from batch to
/// batch, so that locks are asked for in every order.
fn scattered(writer: usize, batch: usize, n: usize) -> Record {
    let mix = writer * 7_919 + batch * 104_729 + n * 1_299_709;
    let (from, to) = (USERS[writer % USERS.len()], USERS[mix % USERS.len()]);
    let local_id = format!("{writer}-{batch:03}-{n:02}");
    if mix.is_multiple_of(7) {
        let post = Msg { channel: format!("c{}", mix % 3), receiver_id: String::new(), ..msg("", &local_id) };
        return record(from, post, 1_000);
    }
    text(from, to, &local_id)
}

/// The timelines that `scattered` touches.
fn timelines() -> Vec<Timeline> {
    let users = USERS.iter().map(|user| inbox(user));
    let pairs = USERS.iter().flat_map(|a| USERS.iter().map(move |b| direct(a, b)));
    let channels = (0..3).map(|n| channel(&format!("c{n}")));
    users.chain(pairs).chain(channels).collect::<BTreeSet<_>>().into_iter().collect()
}

pub(in crate::store) async fn writers_of_overlapping_timelines(place: &impl Place) {
    let stores = two(place).await;
    let (done, deadlocks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let writer = async |number: usize| {
        for batch in 0..BATCHES {
            let records: Vec<_> = (0..RECORDS).map(|n| scattered(number, batch, n)).collect();
            let outcomes = persist(&stores[number % 2], &records, &deadlocks).await;
            assert!(outcomes.into_iter().all(|outcome| !into_stored(outcome).repeated));
        }
    };
    let writers = async {
        join_all((0..WRITERS).map(writer)).await;
        done.store(true, Ordering::Relaxed);
    };
    let all = timelines();
    let readers = join_all(all.iter().map(|timeline| follow(&stores[0], timeline, &done)));
    let (_, seen) = tokio::join!(writers, readers);

    let mut expected: HashMap<Timeline, usize> = HashMap::new();
    for n in 0..WRITERS * BATCHES * RECORDS {
        let record = scattered(n / (BATCHES * RECORDS), n / RECORDS % BATCHES, n % RECORDS);
        let inboxes = record.recipients().into_iter().map(|user| Timeline::inbox(&user));
        inboxes.chain([record.conversation]).for_each(|timeline| *expected.entry(timeline).or_default() += 1);
    }
    for (timeline, seen) in all.iter().zip(seen) {
        let there = whole(&stores[1], timeline).await;
        assert_eq!(seen, there, "what a reader saw is what there is, in {timeline}");
        assert_eq!(there.len(), expected.get(timeline).copied().unwrap_or(0), "{timeline}");
        assert_eq!(there.iter().collect::<HashSet<_>>().len(), there.len(), "nothing twice in {timeline}");
        for writer in 0..WRITERS {
            let prefix = format!("{writer}-");
            let own = there.iter().filter(|local_id| local_id.starts_with(&prefix));
            assert!(own.is_sorted(), "the order of writer {writer} in {timeline}");
        }
    }
    assert_eq!(deadlocks.into_inner(), 0, "one order of locks: nobody deadlocks");
}

/// Reads a timeline as it grows, until all appends are done; the local_ids in the order seen. Never a hole: a reader
/// that sees n + 1 sees n.
async fn follow(store: &Store, timeline: &Timeline, done: &AtomicBool) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let finished = done.load(Ordering::Relaxed);
        let after = seen.len() as u64;
        let page = page(store, timeline, Range::After(after)).await;
        let seqs = page.entries.iter().map(|(seq, _)| *seq);
        assert!(seqs.eq(after + 1..=page.bounds.head), "a hole or a part of a transaction in {timeline}");
        let ids = local_ids(&page);
        assert!(ids.iter().all(|id| id != "-"), "an entry without its message, or a hole, in {timeline}");
        seen.extend(ids);
        if finished {
            return seen;
        }
    }
}

pub(in crate::store) async fn writers_of_equal_pairs(place: &impl Place) {
    let stores = two(place).await;
    let deadlocks = AtomicUsize::new(0);
    const PAIRS: usize = 120;
    // Everybody appends all pairs, in an order and in batches of their own.
    let writer = async |number: usize| {
        let mut outcomes = vec![None; PAIRS];
        let step = [1, 7, 11, 13, 17, 19, 23, 29][number];
        let order: Vec<usize> = (0..PAIRS).map(|n| (n * step + number) % PAIRS).collect();
        for places in order.chunks(5 + 3 * number) {
            let to = |place: usize| USERS[place % USERS.len()];
            let records: Vec<_> = places.iter().map(|p| text("a", to(*p), &format!("{p:03}"))).collect();
            let answers = persist(&stores[number % 2], &records, &deadlocks).await;
            for (place, answer) in places.iter().zip(answers) {
                outcomes[*place] = Some(into_stored(answer));
            }
        }
        outcomes.into_iter().map(|outcome| outcome.expect("every pair was appended")).collect::<Vec<_>>()
    };
    let answers = join_all((0..WRITERS).map(writer)).await;
    for place in 0..PAIRS {
        let answers = answers.iter().map(|answers| &answers[place]);
        let firsts = answers.clone().filter(|answer| !answer.repeated).count();
        assert_eq!(firsts, 1, "pair {place} is new once");
        let seqs: HashSet<_> = answers.map(|answer| (answer.conv_seq, answer.inboxes.to_vec())).collect();
        assert_eq!(seqs.len(), 1, "pair {place} is answered alike: {seqs:?}");
    }
    assert_eq!(whole(&stores[0], &inbox("a")).await.len(), PAIRS);
    assert_eq!(deadlocks.into_inner(), 0, "one order of claims: nobody deadlocks");
}

pub(in crate::store) async fn writers_of_pairs_with_different_bodies(place: &impl Place) {
    let stores = two(place).await;
    let deadlocks = AtomicUsize::new(0);
    const PAIRS: usize = 40;
    let writer = async |number: usize| {
        let body = |n: usize| {
            let content = format!("of writer {number}").into();
            record("a", Msg { content, ..msg("b", &n.to_string()) }, 1_000)
        };
        let records: Vec<_> = (0..PAIRS).map(|n| body((n + 7 * number) % PAIRS)).collect();
        let outcomes = persist(&stores[number % 2], &records, &deadlocks).await;
        let stored = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Stored(stored) => usize::from(!stored.repeated),
            refused => {
                assert_eq!(into_refusal(refused).code, Code::Conflict);
                0
            }
        });
        stored.sum::<usize>()
    };
    let new: usize = join_all((0..WRITERS).map(writer)).await.into_iter().sum();
    assert_eq!(new, PAIRS, "one body of each pair");
    assert_eq!(whole(&stores[0], &inbox("b")).await.len(), PAIRS);
    assert_eq!(deadlocks.into_inner(), 0, "one order of claims: nobody deadlocks");
}

pub(in crate::store) async fn writers_beside_retention(place: &impl Place) {
    let stores = two(place).await;
    let (done, deadlocks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let writer = async |number: usize| {
        for batch in 0..BATCHES {
            let records: Vec<_> = (0..RECORDS).map(|n| scattered(number, batch, n)).collect();
            persist(&stores[number % 2], &records, &deadlocks).await;
        }
    };
    let policy = Retention { max_age_ms: None, max_entries: Some(5), remember_ms: 0, cursor_ms: 1 };
    // A step that another one is beside finds nothing to do, or is told to try again.
    let cutter = async |number: usize| {
        let mut sum = Removed::default();
        loop {
            let finished = done.load(Ordering::Relaxed);
            match stores[number].retain(policy, 2_000, 50).await {
                Ok(removed) if removed.is_nothing() && finished => return sum,
                Ok(removed) => add(&mut sum, removed),
                Err(StoreError::Passing(cause)) => eprintln!("tried again: {cause}"),
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let reader = async {
        while !done.load(Ordering::Relaxed) {
            for timeline in timelines() {
                whole(&stores[0], &timeline).await;
            }
        }
    };
    let writers = async {
        join_all((0..WRITERS).map(writer)).await;
        done.store(true, Ordering::Relaxed);
    };
    let ((), mut sum, other, ()) = tokio::join!(writers, cutter(0), cutter(1), reader);
    add(&mut sum, other);
    // What both found at the same time, one of them may have left.
    cut(&stores[0], policy, &mut sum).await;
    for timeline in timelines() {
        assert!(whole(&stores[1], &timeline).await.len() <= 5, "{timeline}");
    }
    cut(&stores[0], Retention { max_entries: Some(0), ..policy }, &mut sum).await;
    let messages = (WRITERS * BATCHES * RECORDS) as u64;
    assert_eq!((sum.bodies, sum.names), (messages, messages), "each goes once, with its last entry");
}

/// Steps until nothing is left to do.
async fn cut(store: &Store, policy: Retention, sum: &mut Removed) {
    loop {
        let removed = store.retain(policy, 2_000, 50).await.unwrap();
        if removed.is_nothing() {
            return;
        }
        add(sum, removed);
    }
}

fn add(sum: &mut Removed, removed: Removed) {
    sum.entries += removed.entries;
    sum.bodies += removed.bodies;
    sum.names += removed.names;
}

pub(in crate::store) async fn writers_of_cursors(place: &impl Place) {
    let stores = two(place).await;
    let writer = async |number: usize| {
        for round in 0..BATCHES {
            let update = |n: usize| CursorUpdate {
                user: user(USERS[(n + number) % USERS.len()]),
                device: device("1"),
                cursor: (round * WRITERS + number) as u64,
            };
            stores[number % 2]
                .save_cursors(&(0..USERS.len()).map(update).collect::<Vec<_>>(), 1)
                .await
                .unwrap();
        }
    };
    join_all((0..WRITERS).map(writer)).await;
    for owner in USERS {
        let cursor = stores[0].inbox(&user(owner), &device("1")).await.unwrap().cursor;
        assert_eq!(cursor, Some((BATCHES * WRITERS - 1) as u64));
    }
}
