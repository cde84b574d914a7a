//! Messages on their way: senders at a pace, recipients that check. What they see goes into one tally.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_client::v1::Msg;
use tidegate_client::{Client, Event, Events, SendError, SendHandle};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout_at;

use super::checker::Checker;
use super::latency::Latency;
use super::payload::Stamp;

/// What all tasks of a run have seen. Latencies are of what was due in the measured time.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) begin: Instant,
    pub(super) measured: std::ops::Range<Instant>,
    pub(super) accepted: Latency,
    pub(super) stored: Latency,
    pub(super) delivered: Latency,
    pub(super) sent: AtomicU64,
    pub(super) rejected: AtomicU64,
    /// Each once.
    pub(super) received: AtomicU64,
    /// Of these, what came within the measured time.
    pub(super) received_in_time: AtomicU64,
    pub(super) reconnects: AtomicU64,
}

/// Where one sender's messages go.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) stream: u32,
    pub(super) to: To,
}

/// Whom a message is for.
#[derive(Debug, Clone)]
pub(super) enum To {
    User(String),
    Channel(String),
}

/// When a sender sends.
#[derive(Debug)]
pub(super) enum Pace {
    /// When it is due, whatever became of the last one.
    Open(mpsc::Receiver<Instant>),
    /// So many are always under way, until then.
    Closed(usize, Instant),
    /// When there is room for another one, until then; a permit comes back when a message is everywhere.
    Room(Arc<Semaphore>, Instant),
}

impl To {
    /// A message with this content.
    pub(super) fn msg(&self, content: Vec<u8>) -> Msg {
        let content = content.into();
        match self {
            Self::User(user) => Msg { receiver_id: user.clone(), content, ..Msg::default() },
            Self::Channel(channel) => Msg { channel: channel.clone(), content, ..Msg::default() },
        }
    }
}

impl Tally {
    pub(super) fn new(begin: Instant, measured: std::ops::Range<Instant>) -> Self {
        Self {
            begin,
            measured,
            accepted: Latency::default(),
            stored: Latency::default(),
            delivered: Latency::default(),
            sent: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            received: AtomicU64::new(0),
            received_in_time: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, latency: &Latency, due: Instant) {
        if self.measured.contains(&due) {
            latency.record(due.elapsed());
        }
    }
}

impl Pace {
    /// When the next one is due, with `under_way` of them on their way; `None` after the last. Cancel safe.
    async fn next(&mut self, under_way: usize) -> Option<Instant> {
        match self {
            Self::Open(due) => due.recv().await,
            Self::Closed(_, until) if Instant::now() >= *until => None,
            Self::Closed(most, _) if under_way < *most => Some(Instant::now()),
            Self::Closed(..) => std::future::pending().await,
            Self::Room(room, until) => {
                timeout_at((*until).into(), room.acquire()).await.ok()?.ok()?.forget();
                Some(Instant::now())
            }
        }
    }
}

/// Sends to the targets in turn, at the pace, until it ends and all receipts are there, but not beyond `limit`. Gives
/// how many went to each.
pub(super) async fn send(
    client: Client,
    targets: Vec<Target>,
    bytes: usize,
    pace: Pace,
    limit: Instant,
    tally: Arc<Tally>,
) -> Vec<(u32, u64)> {
    let mut counts = vec![0_u64; targets.len()];
    let mut receipts = FuturesUnordered::new();
    let follow = |handle, due| receipt(handle, due, &tally);
    let sending = send_all(&client, (&targets, bytes), pace, &tally, &mut counts, (&mut receipts, follow));
    // What has no receipt by then never gets one.
    let _ = timeout_at(limit.into(), sending).await;
    tally.rejected.fetch_add(receipts.len() as u64, Ordering::Relaxed);
    targets.iter().zip(counts).map(|(target, count)| (target.stream, count)).collect()
}

/// What is sent is counted at once, and its receipts followed beside it.
async fn send_all<F: Future<Output = ()>>(
    client: &Client,
    (targets, bytes): (&[Target], usize),
    mut pace: Pace,
    tally: &Tally,
    counts: &mut [u64],
    (receipts, follow): (&mut FuturesUnordered<F>, impl Fn(SendHandle, Instant) -> F),
) {
    for turn in (0..targets.len()).cycle() {
        let due = loop {
            tokio::select! {
                due = pace.next(receipts.len()) => break due,
                Some(()) = receipts.next() => {}
            }
        };
        let Some(due) = due else { break };
        let target = &targets[turn];
        let stamp = Stamp { stream: target.stream, number: counts[turn], due: due - tally.begin };
        let mut sending = pin!(client.send(target.to.msg(stamp.content(bytes))));
        // Receipts are noted also while this one waits for room.
        let handle = loop {
            tokio::select! {
                handle = &mut sending => break handle,
                Some(()) = receipts.next() => {}
            }
        };
        let Ok(handle) = handle else { break };
        counts[turn] += 1;
        tally.sent.fetch_add(1, Ordering::Relaxed);
        receipts.push(follow(handle, due));
    }
    while receipts.next().await.is_some() {}
}

async fn receipt(mut handle: SendHandle, due: Instant, tally: &Tally) {
    let outcome: Result<(), SendError> = async {
        handle.accepted().await?;
        tally.record(&tally.accepted, due);
        handle.stored().await?;
        tally.record(&tally.stored, due);
        Ok(())
    }
    .await;
    if outcome.is_err() {
        tally.rejected.fetch_add(1, Ordering::Relaxed);
    }
}

/// One recipient's side: what has come, by stream.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    checkers: HashMap<u32, Checker>,
    /// What comes late is meant to.
    is_slow: bool,
}

impl Inbound {
    /// Of one whose latencies and rate are not measured.
    pub(super) fn of_slow() -> Self {
        Self { is_slow: true, ..Self::default() }
    }

    /// Takes in what comes. Cancel safe: what has come stays.
    pub(super) async fn receive(&mut self, events: &mut Events, tally: &Tally) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Message(message) => self.note(&message.msg.content, tally),
                Event::Disconnected(_) => {
                    tally.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, content: &[u8], tally: &Tally) {
        let now = Instant::now();
        // Something else than a message of this bench is nothing to count.
        let Some(stamp) = Stamp::read(content) else { return };
        if self.checkers.entry(stamp.stream).or_default().note(stamp.number) {
            tally.received.fetch_add(1, Ordering::Relaxed);
            if self.is_slow {
                return;
            }
            tally.record(&tally.delivered, tally.begin + stamp.due);
            if tally.measured.contains(&now) {
                tally.received_in_time.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What has come, by stream.
    pub(super) fn checkers(&self) -> impl Iterator<Item = (u32, &Checker)> {
        self.checkers.iter().map(|(stream, checker)| (*stream, checker))
    }
}
