//! Where users and the subscribers of channels are, as presence said a moment ago; and, while presence does not answer,
//! as it said last.

use std::borrow::Borrow;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tidegate_proto::id::{ChannelName, DeviceId, UserId};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::cache::{Cache, Silence};
use super::metrics::Metrics;
use crate::presence::interest::{Interest, Interests};
use crate::presence::{Presence, Route, Routes, Unreachable};

/// Presence with a memory of a second.
#[derive(Debug)]
pub(super) struct Known {
    presence: Presence,
    /// None where presence itself is a map within the process.
    memory: Option<Memory>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Memory {
    users: Mutex<Cache<UserId, (DeviceId, Route)>>,
    channels: Mutex<Cache<ChannelName, Interest>>,
    silence: Mutex<Silence>,
}

/// What is known of those asked for.
#[derive(Debug)]
pub(super) struct Found<R> {
    /// In the order asked.
    pub(super) rows: Vec<R>,
    /// Presence does not answer: these are the last known ones, none for whom there is nothing known.
    pub(super) outdated: bool,
}

/// Presence's answer; `None`: it was not asked.
type Answer<T> = Option<Result<Result<Vec<SmallVec<[T; 2]>>, Unreachable>, Elapsed>>;

impl Known {
    pub(super) fn new(presence: Presence, metrics: Metrics) -> Self {
        let memory = match presence {
            Presence::Memory(_) => None,
            Presence::Redis(_) => Some(Memory {
                users: Mutex::new(Cache::new(MAX_USERS)),
                channels: Mutex::new(Cache::new(MAX_CHANNELS)),
                silence: Mutex::default(),
            }),
        };
        Self { presence, memory, metrics }
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The routes of each user, at most a second old while presence answers. Waits for presence for a moment only.
    pub(super) async fn routes(&self, users: &[UserId]) -> Found<Routes> {
        let Some(memory) = &self.memory else {
            return Found { rows: self.presence.lookup(users).await.unwrap_or_default(), outdated: false };
        };
        let due = memory.users.lock().due(users, Instant::now());
        let answer = match memory.may_ask(&due) {
            true => Some(timeout(ANSWER_LIMIT, self.presence.lookup(&due)).await),
            false => None,
        };
        self.found(memory, &memory.users, (users, &due), answer)
    }

    /// The gateways with subscribers of each channel, as with routes.
    pub(super) async fn interests(&self, channels: &[ChannelName]) -> Found<Interests> {
        let Some(memory) = &self.memory else {
            return Found {
                rows: self.presence.interests(channels).await.unwrap_or_default(),
                outdated: false,
            };
        };
        let due = memory.channels.lock().due(channels, Instant::now());
        let answer = match memory.may_ask(&due) {
            true => Some(timeout(ANSWER_LIMIT, self.presence.interests(&due)).await),
            false => None,
        };
        self.found(memory, &memory.channels, (channels, &due), answer)
    }

    /// A gateway has no session of these users: their routes are asked for again.
    pub(super) fn forget_users(&self, users: &[String]) {
        if let Some(memory) = &self.memory {
            let mut cache = memory.users.lock();
            users.iter().for_each(|user| cache.forget(user));
        }
    }

    /// A gateway has no subscriber of these channels.
    pub(super) fn forget_channels(&self, channels: &[String]) {
        if let Some(memory) = &self.memory {
            let mut cache = memory.channels.lock();
            channels.iter().for_each(|channel| cache.forget(channel));
        }
    }

    fn found<K: Hash + Eq + Clone + Borrow<str>, T: Clone>(
        &self,
        memory: &Memory,
        cache: &Mutex<Cache<K, T>>,
        (asked_for, due): (&[K], &[K]),
        answer: Answer<T>,
    ) -> Found<SmallVec<[T; 2]>> {
        self.metrics.routes_cached.inc_by((asked_for.len() - due.len()) as u64);
        let mut cache = cache.lock();
        let outdated = match answer {
            Some(Ok(Ok(rows))) => {
                self.metrics.routes_asked.inc_by(due.len() as u64);
                if memory.silence.lock().end() {
                    info!("presence answers again");
                }
                let now = Instant::now();
                due.iter().zip(rows).for_each(|(key, rows)| cache.note(key, rows, now));
                false
            }
            Some(failed) => {
                let error = failed.ok().and_then(Result::err);
                let error = error.as_ref().map(|error| error as &dyn std::error::Error);
                warn!(error, "presence does not answer: pushes go by the last known routes");
                memory.silence.lock().begin(Instant::now());
                true
            }
            None => !due.is_empty(),
        };
        if outdated {
            self.metrics.routes_outdated.inc_by(due.len() as u64);
        }
        Found { rows: asked_for.iter().map(|key| cache.last(key)).collect(), outdated }
    }
}

impl Memory {
    fn may_ask<K>(&self, due: &[K]) -> bool {
        !due.is_empty() && self.silence.lock().ends_for_one(Instant::now())
    }
}

/// How long a push waits for presence, at most once while it is silent and then once a second.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// Users whose routes are kept, some 300 bytes each.
const MAX_USERS: usize = 200_000;
/// Channels whose gateways are kept, some 400 bytes each with two of them.
const MAX_CHANNELS: usize = 50_000;
