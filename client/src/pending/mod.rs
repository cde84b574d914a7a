//! The sends that have no final answer yet: which goes out next, which goes out again (docs/PROTOCOL.md
//! "Sending"). No IO, no clock; it does not know what a message says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_proto::limits::MAX_IN_FLIGHT;
use tokio::time::Instant;

use crate::backoff::Backoff;

/// Sends in the order in which they were pushed. `W` is who waits for the answers.
#[derive(Debug)]
pub(crate) struct Pending<W> {
    sends: BTreeMap<u64, Entry<W>>,
    by_local_id: HashMap<Arc<str>, u64>,
    ready: BTreeSet<u64>,
    timers: BTreeSet<(Instant, u64)>,
    in_flight: usize,
    max_in_flight: usize,
    paused_until: Option<Instant>,
    pauses: Backoff,
    next: u64,
}

#[derive(Debug)]
struct Entry<W> {
    local_id: Arc<str>,
    id: u32,
    frame: Bytes,
    stage: Stage,
    waiter: W,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To be sent, for the first time or again.
    Ready,
    /// Sent, without an answer; sent again at this time.
    InFlight(Instant),
    /// ACCEPTED, and neither STORED nor REJECTED; sent again at this time.
    Accepted(Instant),
}

impl<W> Pending<W> {
    /// Nothing is pending.
    pub(crate) fn new() -> Self {
        Self {
            sends: BTreeMap::new(),
            by_local_id: HashMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            in_flight: 0,
            max_in_flight: MAX_IN_FLIGHT,
            paused_until: None,
            pauses: Backoff::new(PAUSE_BASE, PAUSE_CAP),
            next: 0,
        }
    }

    /// Adds a send: `frame` as it is written, `id` the request's number in it. Gives the waiter back when a send of
    /// the same `local_id` is still pending.
    pub(crate) fn push(&mut self, local_id: &str, id: u32, frame: Bytes, waiter: W) -> Result<(), W> {
        if self.by_local_id.contains_key(local_id) {
            return Err(waiter);
        }
        let local_id: Arc<str> = local_id.into();
        let ticket = self.next;
        self.next += 1;
        self.by_local_id.insert(local_id.clone(), ticket);
        self.sends.insert(ticket, Entry { local_id, id, frame, stage: Stage::Ready, waiter });
        self.ready.insert(ticket);
        Ok(())
    }

    /// The frame that goes out next, if one may.
    pub(crate) fn peek(&self, now: Instant) -> Option<&Bytes> {
        if self.in_flight >= self.max_in_flight || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        let ticket = self.ready.first()?;
        self.sends.get(ticket).map(|entry| &entry.frame)
    }

    /// The frame of [`peek`](Self::peek) has gone out.
    pub(crate) fn sent(&mut self, now: Instant) {
        if let Some(&ticket) = self.ready.first() {
            self.enter(ticket, Stage::InFlight(now + ANSWER_LIMIT));
        }
    }

    /// ACCEPTED has come. Gives who waits for it; `None` when no such send is pending.
    pub(crate) fn accepted(&mut self, local_id: &str, now: Instant) -> Option<&mut W> {
        let ticket = *self.by_local_id.get(local_id)?;
        self.pauses.settled();
        self.enter(ticket, Stage::Accepted(now + ANSWER_LIMIT));
        self.sends.get_mut(&ticket).map(|entry| &mut entry.waiter)
    }

    /// The final answer has come. Gives who waits for it; `None` when no such send is pending.
    pub(crate) fn finished(&mut self, local_id: &str) -> Option<W> {
        let ticket = self.by_local_id.remove(local_id)?;
        self.enter(ticket, Stage::Ready);
        self.ready.remove(&ticket);
        self.sends.remove(&ticket).map(|entry| entry.waiter)
    }

    /// UNAVAILABLE or RATE_LIMITED has come: the send goes out again, in its place, after a pause of at least
    /// `retry_after`. The pause is for all sends, which keeps the sender's order as well as it can be kept.
    pub(crate) fn refused_for_now(
        &mut self,
        local_id: &str,
        retry_after: Duration,
        now: Instant,
        random: f64,
    ) {
        let Some(&ticket) = self.by_local_id.get(local_id) else { return };
        self.enter(ticket, Stage::Ready);
        if self.paused_until.is_none_or(|until| until <= now) {
            // At least half of the delay: a server in trouble gets no hail of retries.
            let pause = self.pauses.failed(0.5 + random / 2.0);
            self.paused_until = Some(now + pause);
        }
        self.paused_until = self.paused_until.max(Some(now + retry_after.min(RETRY_AFTER_CAP)));
    }

    /// The local_id of the pending send whose frame has the number `id`.
    pub(crate) fn local_id_of(&self, id: u32) -> Option<Arc<str>> {
        self.sends.values().find(|entry| entry.id == id).map(|entry| entry.local_id.clone())
    }

    /// Makes ready what has waited too long for its answer.
    pub(crate) fn on_time(&mut self, now: Instant) {
        while let Some(&(until, ticket)) = self.timers.first() {
            if until > now {
                break;
            }
            self.enter(ticket, Stage::Ready);
        }
    }

    /// When [`on_time`](Self::on_time) or [`peek`](Self::peek) has something new to say at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|&(until, _)| until);
        let pause =
            self.paused_until.filter(|_| !self.ready.is_empty() && self.in_flight < self.max_in_flight);
        [timer, pause].into_iter().flatten().min()
    }

    /// A new session begins: everything is sent again, in order, with at most `max_in_flight` unanswered.
    pub(crate) fn start_session(&mut self, max_in_flight: i64) {
        self.max_in_flight = usize::try_from(max_in_flight).unwrap_or(0).clamp(1, MAX_IN_FLIGHT);
        self.paused_until = None;
        self.timers.clear();
        self.in_flight = 0;
        for (&ticket, entry) in &mut self.sends {
            entry.stage = Stage::Ready;
            self.ready.insert(ticket);
        }
    }

    /// Takes everything out, in order: the client ends.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = W> + use<W> {
        let sends = std::mem::take(&mut self.sends);
        *self = Self::new();
        sends.into_values().map(|entry| entry.waiter)
    }

    /// Moves a send to a stage, and its figures with it.
    fn enter(&mut self, ticket: u64, stage: Stage) {
        let Some(entry) = self.sends.get_mut(&ticket) else { return };
        match std::mem::replace(&mut entry.stage, stage) {
            Stage::Ready => {
                self.ready.remove(&ticket);
            }
            Stage::InFlight(until) => {
                self.in_flight -= 1;
                self.timers.remove(&(until, ticket));
            }
            Stage::Accepted(until) => {
                self.timers.remove(&(until, ticket));
            }
        }
        match stage {
            Stage::Ready => {
                self.ready.insert(ticket);
            }
            Stage::InFlight(until) => {
                self.in_flight += 1;
                self.timers.insert((until, ticket));
            }
            Stage::Accepted(until) => {
                self.timers.insert((until, ticket));
            }
        }
    }
}

/// A send that has neither STORED nor REJECTED goes out again this long after ACCEPTED, or after it went out.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The pause after the first UNAVAILABLE or RATE_LIMITED of a row.
const PAUSE_BASE: Duration = Duration::from_millis(200);
/// The longest pause that is not the server's wish.
const PAUSE_CAP: Duration = Duration::from_secs(10);
/// The longest wish of the server that is followed.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
