//! What this gateway keeps in presence: the routes of its sessions, those among them that presence has not confirmed,
//! and those of sessions that are gone. No IO: [`super::registrar`] does what is due.

use std::collections::{BinaryHeap, HashMap, VecDeque};

use parking_lot::Mutex;
use tidegate_pipeline::presence::Route;
use tidegate_proto::id::{DeviceId, UserId};
use tokio::sync::Notify;

/// A row of presence: whose, of which device, and the route.
pub(crate) type Row = (UserId, DeviceId, Route);

/// The rows of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    rows: Mutex<Rows>,
    gone: Mutex<VecDeque<Row>>,
    /// Somebody is gone.
    left: Notify,
    /// Something is to be registered.
    due: Notify,
}

#[derive(Debug, Default)]
struct Rows {
    of: HashMap<u64, Kept>,
    round: Round,
    /// Under which all of them are to be registered; `None` before the first lease.
    incarnation: Option<u64>,
}

/// Rises with each lease that begins: what presence confirmed before may have been dropped by whoever met it without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Round(u64);

#[derive(Debug)]
struct Kept {
    row: Row,
    confirmed: bool,
}

impl Registrations {
    /// The round by now, to be looked at before presence is asked to register a session.
    pub(crate) fn round(&self) -> Round {
        self.rows.lock().round
    }

    /// Notes a session's row, which presence has confirmed, asked in that round, or could not be asked.
    pub(crate) fn begin(&self, mut row: Row, confirmed: Option<Round>) {
        let mut rows = self.rows.lock();
        let is_of_now = confirmed == Some(rows.round);
        if !is_of_now {
            row.2.incarnation = rows.incarnation.unwrap_or(row.2.incarnation);
        }
        rows.of.insert(row.2.session, Kept { row, confirmed: is_of_now });
        drop(rows);
        // Who could not be asked is not asked again at once.
        if confirmed.is_some() && !is_of_now {
            self.due.notify_one();
        }
    }

    /// Notes that a session is gone. Called where it ends, also by a panic: its row is dropped later, since a destructor
    /// cannot wait.
    pub(crate) fn end(&self, session: u64) {
        if let Some(kept) = self.rows.lock().of.remove(&session) {
            self.leave(kept.row);
        }
    }

    /// A row that is to be dropped.
    pub(crate) fn leave(&self, row: Row) {
        let mut gone = self.gone.lock();
        if gone.len() == MAX_GONE {
            gone.pop_front();
        }
        gone.push_back(row);
        drop(gone);
        self.left.notify_one();
    }

    /// Waits until somebody is gone. Cancel safe.
    pub(crate) async fn left(&self) {
        self.left.notified().await;
    }

    /// Takes out at most `most` rows that are to be dropped, those that wait longest.
    pub(crate) fn gone(&self, most: usize) -> Vec<Row> {
        let mut gone = self.gone.lock();
        let most = most.min(gone.len());
        gone.drain(..most).collect()
    }

    /// Waits until something is to be registered. Cancel safe.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    /// At most `most` rows that are to be registered.
    pub(crate) fn unconfirmed(&self, most: usize) -> Vec<Row> {
        let rows = &self.rows.lock().of;
        rows.values().filter(|kept| !kept.confirmed).take(most).map(|kept| kept.row.clone()).collect()
    }

    /// The rows of the `most` sessions with the lowest numbers above `after`, in their order.
    pub(crate) fn rows_after(&self, after: u64, most: usize) -> Vec<Row> {
        let rows = &self.rows.lock().of;
        let mut numbers = BinaryHeap::with_capacity(most + 1);
        for number in rows.keys().filter(|number| **number > after) {
            numbers.push(*number);
            if numbers.len() > most {
                numbers.pop();
            }
        }
        numbers.into_sorted_vec().into_iter().map(|number| rows[&number].row.clone()).collect()
    }

    /// A row is registered; false if its session is gone by now, or is to be registered under another incarnation.
    pub(crate) fn confirm(&self, route: &Route) -> bool {
        let mut rows = self.rows.lock();
        let kept = rows.of.get_mut(&route.session).filter(|kept| kept.row.2.incarnation == route.incarnation);
        kept.map(|kept| kept.confirmed = true).is_some()
    }

    /// Every row is to be registered again: under this incarnation, or to be compared with presence under its own.
    pub(crate) fn register_all(&self, incarnation: Option<u64>) {
        let mut rows = self.rows.lock();
        if incarnation.is_some() {
            rows.round.0 += 1;
            rows.incarnation = incarnation;
        }
        for kept in rows.of.values_mut() {
            kept.confirmed = false;
            kept.row.2.incarnation = incarnation.unwrap_or(kept.row.2.incarnation);
        }
        drop(rows);
        self.due.notify_one();
    }
}

/// Rows of gone sessions that wait for presence: with the oldest of more forgotten, some 20 MiB while Redis is away.
/// What is forgotten counts for others until this gateway's lease ends; a push by it finds nobody.
const MAX_GONE: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(session: u64, incarnation: u64) -> Row {
        let route =
            Route { gateway: "g".into(), incarnation, session, attempt: 1, platform: "".into(), since: 1 };
        (UserId::new("alice").unwrap(), DeviceId::new(&session.to_string()).unwrap(), route)
    }

    #[test]
    fn what_is_not_confirmed_is_due_until_it_is() {
        let registrations = Registrations::default();
        registrations.begin(row(1, 7), Some(registrations.round()));
        registrations.begin(row(2, 7), None);
        assert_eq!(registrations.unconfirmed(9), [row(2, 7)]);
        assert!(registrations.confirm(&row(2, 7).2));
        assert!(registrations.unconfirmed(9).is_empty());

        registrations.register_all(None);
        assert_eq!(registrations.unconfirmed(1).len(), 1);
        assert_eq!(registrations.unconfirmed(9).len(), 2);
    }

    #[test]
    fn rows_are_read_in_pages() {
        let registrations = Registrations::default();
        for session in [5, 1, 4, 2, 3] {
            registrations.begin(row(session, 7), (session % 2 == 0).then(|| registrations.round()));
        }
        let page = |after, most| -> Vec<u64> {
            registrations.rows_after(after, most).iter().map(|(_, _, route)| route.session).collect()
        };
        assert_eq!((page(0, 2), page(2, 2), page(4, 2)), (vec![1, 2], vec![3, 4], vec![5]));
        assert!(page(5, 2).is_empty());
    }

    #[test]
    fn a_new_incarnation_is_confirmed_by_nothing_older() {
        let registrations = Registrations::default();
        registrations.begin(row(1, 7), None);
        registrations.register_all(Some(8));
        assert!(!registrations.confirm(&row(1, 7).2));
        assert_eq!(registrations.unconfirmed(9), [row(1, 8)]);
        registrations.end(1);
        assert!(!registrations.confirm(&row(1, 8).2), "it is gone");
        assert_eq!(registrations.gone(9), [row(1, 8)]);
        assert!(registrations.gone(9).is_empty());
    }

    #[test]
    fn what_was_confirmed_before_a_lease_began_is_registered_again() {
        let registrations = Registrations::default();
        let asked_before = registrations.round();
        registrations.register_all(Some(8));
        registrations.begin(row(1, 7), Some(asked_before));
        assert_eq!(registrations.unconfirmed(9), [row(1, 8)]);
        registrations.begin(row(2, 8), Some(registrations.round()));
        registrations.register_all(None);
        registrations.begin(row(3, 8), Some(registrations.round()));
        assert_eq!(registrations.unconfirmed(9).len(), 2, "a comparison confirms no less");
    }

    #[test]
    fn of_the_gone_the_oldest_are_forgotten() {
        let registrations = Registrations::default();
        (0..=MAX_GONE as u64).for_each(|session| registrations.leave(row(session, 7)));
        assert_eq!(registrations.gone(2), [row(1, 7), row(2, 7)]);
    }
}
