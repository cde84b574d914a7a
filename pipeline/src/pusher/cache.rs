//! What presence said of whom, kept for a while. Pure.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

/// Rows of presence, and when each was read. The older half of them is dropped when the newer one is full.
#[derive(Debug)]
pub(super) struct Cache<K, T> {
    young: HashMap<K, (Instant, Rows<T>)>,
    old: HashMap<K, (Instant, Rows<T>)>,
    max_rows: usize,
}

/// What presence has of one user or channel.
type Rows<T> = SmallVec<[T; 2]>;

impl<K: Hash + Eq + Clone + Borrow<str>, T: Clone> Cache<K, T> {
    pub(super) fn new(max_rows: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), max_rows }
    }

    /// Those of whom nothing is known, or what is too old to go by.
    pub(super) fn due(&self, keys: &[K], now: Instant) -> Vec<K> {
        let is_fresh = |key: &K| self.row(key).is_some_and(|(at, _)| now < *at + FRESH_FOR);
        keys.iter().filter(|key| !is_fresh(key)).cloned().collect()
    }

    /// What was read last, however long ago.
    pub(super) fn last(&self, key: &K) -> Rows<T> {
        self.row(key).map(|(_, rows)| rows.clone()).unwrap_or_default()
    }

    /// Nobody there is not kept: whoever comes is to be found at once.
    pub(super) fn note(&mut self, key: &K, rows: Rows<T>, now: Instant) {
        self.forget(key.borrow());
        if rows.is_empty() {
            return;
        }
        if self.young.len() >= self.max_rows / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.clone(), (now, rows));
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn row(&self, key: &K) -> Option<&(Instant, Rows<T>)> {
        self.young.get::<K>(key).or_else(|| self.old.get::<K>(key))
    }
}

/// Whether presence is left alone, since it did not answer.
#[derive(Debug, Default)]
pub(super) struct Silence(Option<Instant>);

impl Silence {
    /// Whether presence may be asked. One who asks while it was silent is the only one until he has an answer.
    pub(super) fn ends_for_one(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            None => true,
            Some(until) if now < *until => false,
            Some(until) => {
                *until = now + ASK_AGAIN_AFTER;
                true
            }
        }
    }

    /// It did not answer.
    pub(super) fn begin(&mut self, now: Instant) {
        self.0 = Some(now + ASK_AGAIN_AFTER);
    }

    /// It answered; whether it had been silent.
    pub(super) fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// How long a row is gone by without asking (ARCHITECTURE.md "Presence and links").
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How long presence is left alone when it did not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tidegate_proto::id::UserId;

    use super::*;

    fn user(n: usize) -> UserId {
        UserId::new(&n.to_string()).unwrap()
    }

    fn on(gateway: &'static str) -> Rows<&'static str> {
        [gateway].into_iter().collect()
    }

    #[test]
    fn a_row_is_gone_by_for_a_second_and_kept_for_longer() {
        let mut cache = Cache::new(100);
        let now = Instant::now();
        cache.note(&user(1), on("one"), now);
        cache.note(&user(2), Rows::new(), now);
        let users = [user(1), user(2), user(3)];
        assert_eq!(cache.due(&users, now), [user(2), user(3)], "nobody there is asked for again");
        let later = now + FRESH_FOR;
        assert_eq!(cache.due(&users, later), users);
        assert_eq!(cache.last(&user(1)), on("one"));
        cache.forget("1");
        assert!(cache.last(&user(1)).is_empty());
        cache.note(&user(1), on("two"), later);
        cache.note(&user(1), Rows::new(), later);
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
        let (mut silence, now) = (Silence::default(), Instant::now());
        assert!(silence.ends_for_one(now) && silence.ends_for_one(now), "it answers");
        silence.begin(now);
        assert!(!silence.ends_for_one(now));
        let later = now + ASK_AGAIN_AFTER;
        assert!(silence.ends_for_one(later), "the one who asks");
        assert!(!silence.ends_for_one(later), "the next one meanwhile");
        assert!(silence.end() && !silence.end());
        assert!(silence.ends_for_one(later));
    }
}
