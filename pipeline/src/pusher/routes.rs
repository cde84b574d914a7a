//! Where users are, as presence said a moment ago; and, while presence does not answer, as it said last.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_proto::id::UserId;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::metrics::Metrics;
use crate::presence::{Presence, Routes};

/// Presence with a memory of a second.
#[derive(Debug)]
pub(super) struct Known {
    presence: Presence,
    /// None where presence itself is a map within the process.
    cache: Option<Mutex<Cache>>,
    metrics: Metrics,
}

/// The routes of the users asked for.
#[derive(Debug)]
pub(super) struct Found {
    /// In the order asked.
    pub(super) routes: Vec<Routes>,
    /// Presence does not answer: these are the last known ones, none for whom there is nothing known.
    pub(super) outdated: bool,
}

/// What presence said, and when it is asked again. The older half of the rows is dropped when the newer one is full.
#[derive(Debug)]
struct Cache {
    young: HashMap<UserId, (Instant, Routes)>,
    old: HashMap<UserId, (Instant, Routes)>,
    max_rows: usize,
    /// Presence did not answer and is not asked before that.
    silent_until: Option<Instant>,
}

impl Known {
    pub(super) fn new(presence: Presence, metrics: Metrics) -> Self {
        let cache = match presence {
            Presence::Memory(_) => None,
            Presence::Redis(_) => Some(Mutex::new(Cache::new(MAX_ROWS))),
        };
        Self { presence, cache, metrics }
    }

    pub(super) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The routes of each user, at most a second old while presence answers. Waits for presence for a moment only.
    pub(super) async fn find(&self, users: &[UserId]) -> Found {
        let Some(cache) = &self.cache else {
            let routes = self.presence.lookup(users).await.unwrap_or_default();
            return Found { routes, outdated: false };
        };
        let (asked, silent) = cache.lock().due(users, Instant::now());
        self.metrics.routes_cached.inc_by((users.len() - asked.len()) as u64);
        let mut outdated = silent && !asked.is_empty();
        if !silent && !asked.is_empty() {
            let answer = timeout(ANSWER_LIMIT, self.presence.lookup(&asked)).await;
            let mut cache = cache.lock();
            match answer {
                Ok(Ok(routes)) => {
                    self.metrics.routes_asked.inc_by(asked.len() as u64);
                    if cache.silent_until.take().is_some() {
                        info!("presence answers again");
                    }
                    let now = Instant::now();
                    asked.iter().zip(routes).for_each(|(user, routes)| cache.note(user, routes, now));
                }
                failed => {
                    outdated = true;
                    let error = failed.ok().and_then(Result::err);
                    let error = error.as_ref().map(|error| error as &dyn std::error::Error);
                    warn!(error, "presence does not answer: pushes go by the last known routes");
                    cache.silent_until = Some(Instant::now() + ASK_AGAIN_AFTER);
                }
            }
        }
        if outdated {
            self.metrics.routes_outdated.inc_by(asked.len() as u64);
        }
        let cache = cache.lock();
        Found { routes: users.iter().map(|user| cache.last(user)).collect(), outdated }
    }

    /// A gateway has no session of these users: their routes are asked for again.
    pub(super) fn forget(&self, users: &[String]) {
        if let Some(cache) = &self.cache {
            let mut cache = cache.lock();
            users.iter().for_each(|user| cache.forget(user));
        }
    }
}

impl Cache {
    fn new(max_rows: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), max_rows, silent_until: None }
    }

    /// The users whose routes are too old to go by, and whether presence is silent. One who asks while it is silent no
    /// more is the only one until he has an answer.
    fn due(&mut self, users: &[UserId], now: Instant) -> (Vec<UserId>, bool) {
        let is_fresh =
            |user| self.row(user).is_some_and(|(at, routes)| !routes.is_empty() && now < *at + FRESH_FOR);
        let asked: Vec<_> = users.iter().filter(|user| !is_fresh(user)).cloned().collect();
        let silent = self.silent_until.is_some_and(|until| now < until);
        if self.silent_until.is_some() && !silent && !asked.is_empty() {
            self.silent_until = Some(now + ASK_AGAIN_AFTER);
        }
        (asked, silent)
    }

    fn last(&self, user: &UserId) -> Routes {
        self.row(user).map(|(_, routes)| routes.clone()).unwrap_or_default()
    }

    fn row(&self, user: &UserId) -> Option<&(Instant, Routes)> {
        self.young.get(user).or_else(|| self.old.get(user))
    }

    /// Nobody there is not kept: whoever comes is to be found at once.
    fn note(&mut self, user: &UserId, routes: Routes, now: Instant) {
        self.forget(user.as_str());
        if routes.is_empty() {
            return;
        }
        if self.young.len() >= self.max_rows / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(user.clone(), (now, routes));
    }

    fn forget(&mut self, user: &str) {
        self.young.remove(user);
        self.old.remove(user);
    }
}

/// How long a route is gone by without asking (ARCHITECTURE.md "Presence and links").
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How long a push waits for presence, at most once in the time below.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How long presence is left alone when it did not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Users whose routes are kept, some 300 bytes each.
const MAX_ROWS: usize = 200_000;

#[cfg(test)]
mod tests {
    use tidegate_proto::id::DeviceId;

    use super::*;
    use crate::presence::contract::route;

    fn user(n: usize) -> UserId {
        UserId::new(&n.to_string()).unwrap()
    }

    fn on(gateway: &str) -> Routes {
        [(DeviceId::new("d").unwrap(), route(gateway, 1, 1))].into_iter().collect()
    }

    #[test]
    fn a_row_is_gone_by_for_a_second_and_kept_for_longer() {
        let mut cache = Cache::new(100);
        let now = Instant::now();
        cache.note(&user(1), on("one"), now);
        cache.note(&user(2), Routes::new(), now);
        let users = [user(1), user(2), user(3)];
        assert_eq!(cache.due(&users, now).0, [user(2), user(3)], "nobody there is asked for again");
        let later = now + FRESH_FOR;
        assert_eq!(cache.due(&users, later).0, users);
        assert_eq!(cache.last(&user(1)), on("one"));
        cache.forget("1");
        assert!(cache.last(&user(1)).is_empty());
        cache.note(&user(1), on("two"), later);
        cache.note(&user(1), Routes::new(), later);
        assert!(cache.last(&user(1)).is_empty(), "a user who went is not where he was last");
    }

    #[test]
    fn a_full_cache_drops_the_older_half() {
        let mut cache = Cache::new(10);
        let now = Instant::now();
        for n in 0..1_000 {
            cache.note(&user(n), on("one"), now);
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert_eq!(cache.last(&user(999)), on("one"));
        assert!(cache.last(&user(0)).is_empty());
    }

    #[test]
    fn a_silent_presence_is_asked_by_one_at_a_time() {
        let mut cache = Cache::new(10);
        let now = Instant::now();
        cache.silent_until = Some(now + ASK_AGAIN_AFTER);
        assert!(cache.due(&[user(1)], now).1);
        let later = now + ASK_AGAIN_AFTER;
        assert!(!cache.due(&[user(1)], later).1, "the one who asks");
        assert!(cache.due(&[user(1)], later).1, "the next one meanwhile");
    }
}
