//! The hub: which live sessions a user has on this gateway, and how something reaches them. It never awaits; a push
//! goes into each session's bounded mailbox or leaves a mark there.

pub mod mailbox;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tidegate_pipeline::body::Body;
use tidegate_proto::id::UserId;
use tidegate_proto::v1::{Receipt, Signal};

use mailbox::{Mailbox, Notice};

/// The live sessions of a gateway, by user and by number.
#[derive(Debug)]
pub struct Hub {
    users: Shards<UserId, Sessions>,
    numbers: Shards<u64, Arc<Mailbox>>,
    hasher: RandomState,
    live: AtomicUsize,
}

type Shards<K, V> = Box<[Mutex<HashMap<K, V>>]>;
type Sessions = SmallVec<[Arc<Mailbox>; 1]>;

/// A session's place in the hub; dropping it takes the session out.
#[derive(Debug)]
pub struct Place {
    hub: Arc<Hub>,
    user: UserId,
    mailbox: Arc<Mailbox>,
}

impl Hub {
    /// A hub without sessions.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            users: (0..SHARDS).map(|_| Mutex::default()).collect(),
            numbers: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            live: AtomicUsize::new(0),
        })
    }

    /// Adds a session; from now on it hears what its user gets.
    pub fn join(self: &Arc<Self>, user: UserId, mailbox: Arc<Mailbox>) -> Place {
        self.number_shard(mailbox.session()).lock().insert(mailbox.session(), mailbox.clone());
        self.user_shard(&user).lock().entry(user.clone()).or_default().push(mailbox.clone());
        self.live.fetch_add(1, Ordering::Relaxed);
        Place { hub: self.clone(), user, mailbox }
    }

    /// Hands an entry of the user's inbox to his sessions, and says how many he has here; `origin` is the session that
    /// sent it.
    pub fn push(&self, user: &UserId, seq: u64, body: &Body, origin: Option<u64>) -> usize {
        self.each(user, |mailbox| mailbox.push(seq, body, origin == Some(mailbox.session())))
    }

    /// Hands a message that is stored nowhere to the user's sessions; how many took it.
    pub fn pass(&self, user: &UserId, body: &Body) -> u32 {
        let mut taken = 0;
        self.each(user, |mailbox| taken += u32::from(mailbox.pass(body)));
        taken
    }

    /// Tells the user's sessions that his inbox has at least that head.
    pub fn mark(&self, user: &UserId, head: u64) {
        self.each(user, |mailbox| mailbox.mark(head));
    }

    /// Hands a signal to the user's sessions, but for the one it came from; how many the user has.
    pub fn signal(&self, user: &UserId, signal: &Arc<Signal>, from: Option<u64>) -> usize {
        self.each(user, |mailbox| {
            if from != Some(mailbox.session()) {
                mailbox.signal(signal.clone());
            }
        })
    }

    /// Hands a receipt to a session, if it is still here.
    pub fn receipt(&self, session: u64, receipt: Receipt) {
        if let Some(mailbox) = self.number_shard(session).lock().get(&session) {
            mailbox.receipt(receipt);
        }
    }

    /// Tells a session to end; whether it is still here.
    pub fn notify(&self, session: u64, notice: Notice) -> bool {
        let shard = self.number_shard(session).lock();
        let mailbox = shard.get(&session);
        mailbox.map(|mailbox| mailbox.notice(notice)).is_some()
    }

    /// Tells the user's sessions to end; how many there are.
    pub fn notify_user(&self, user: &UserId, notice: &Notice) -> usize {
        self.each(user, |mailbox| mailbox.notice(notice.clone()))
    }

    /// Tells every session to end; `notice` is made for each.
    pub fn notify_all(&self, mut notice: impl FnMut() -> Notice) {
        for shard in &self.numbers {
            shard.lock().values().for_each(|mailbox| mailbox.notice(notice()));
        }
    }

    /// The users that have a session here, a shard at a time, so that no lock is held for long.
    pub fn users(&self) -> impl Iterator<Item = Vec<UserId>> + '_ {
        self.users.iter().map(|shard| shard.lock().keys().cloned().collect())
    }

    /// How many sessions there are.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn each(&self, user: &UserId, mut tell: impl FnMut(&Mailbox)) -> usize {
        let shard = self.user_shard(user).lock();
        let Some(sessions) = shard.get(user) else { return 0 };
        sessions.iter().for_each(|mailbox| tell(mailbox));
        sessions.len()
    }

    fn user_shard(&self, user: &UserId) -> &Mutex<HashMap<UserId, Sessions>> {
        &self.users[self.hasher.hash_one(user) as usize % SHARDS]
    }

    fn number_shard(&self, session: u64) -> &Mutex<HashMap<u64, Arc<Mailbox>>> {
        &self.numbers[session as usize % SHARDS]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let session = self.mailbox.session();
        self.hub.number_shard(session).lock().remove(&session);
        let mut shard = self.hub.user_shard(&self.user).lock();
        if let Some(sessions) = shard.get_mut(&self.user) {
            sessions.retain(|mailbox| mailbox.session() != session);
            if sessions.is_empty() {
                shard.remove(&self.user);
            }
        }
        self.hub.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Enough that two cores seldom meet.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        UserId::new("alice").unwrap()
    }

    fn mailbox(session: u64) -> Arc<Mailbox> {
        Mailbox::new(session, 1_000, Arc::default())
    }

    fn body() -> Body {
        Body::new(&[], "d:a:b", ("l", "s"), 1, 1)
    }

    #[test]
    fn each_device_gets_the_message_and_the_origin_its_own() {
        let hub = Hub::new();
        let (one, two) = (mailbox(1), mailbox(2));
        let _places = [hub.join(user(), one.clone()), hub.join(user(), two.clone())];
        assert_eq!(hub.push(&user(), 5, &body(), Some(2)), 2);
        let own = |mailbox: &Mailbox| mailbox.take().pushes.iter().map(|push| push.own).collect::<Vec<_>>();
        assert_eq!((own(&one), own(&two)), (vec![false], vec![true]));
    }

    #[test]
    fn what_is_stored_nowhere_goes_to_every_session_of_one_user() {
        let hub = Hub::new();
        let (one, two) = (mailbox(1), mailbox(2));
        let _places = [hub.join(user(), one.clone()), hub.join(user(), two.clone())];
        assert_eq!(hub.pass(&user(), &body()), 2);
        assert_eq!(hub.pass(&UserId::new("bob").unwrap(), &body()), 0);
        assert_eq!((one.take().passing.len(), two.take().passing.len()), (1, 1));
    }

    #[test]
    fn nothing_is_left_of_a_session_that_went() {
        let hub = Hub::new();
        let place = hub.join(user(), mailbox(1));
        assert_eq!(hub.live(), 1);
        drop(place);
        assert_eq!(hub.live(), 0);
        assert_eq!(hub.users().flatten().count(), 0);
        assert_eq!(hub.push(&user(), 5, &body(), None), 0);
        assert!(hub.number_shard(1).lock().is_empty());
    }
}
