//! The channels that a client subscribes to: where it is in each, and which the server is to be asked for. No IO, no
//! clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::Refusal;
use tidegate_proto::v1::{Subscribe, Subscribed};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Who waits for the answer to a subscription.
pub(crate) type Waiter = oneshot::Sender<Result<Subscribed, Refusal>>;

/// The subscriptions, by the channel's name.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    of: HashMap<Arc<str>, Channel>,
    /// To be asked for, in this order.
    due: VecDeque<Arc<str>>,
    /// To be asked for again, at these times.
    later: BTreeSet<(Instant, Arc<str>)>,
    /// Asked for on this session, by the request's number: the subscription's number and the name.
    asked: HashMap<u32, (u64, Arc<str>)>,
    /// The number of the last subscription.
    last: u64,
}

#[derive(Debug, Default)]
struct Channel {
    /// Sets it apart from one of the same name that has ended.
    number: u64,
    /// Subscribed has come on this session: what comes before belongs to a subscription that has ended.
    open: bool,
    /// The last seq that has come; `None`: from the head on.
    position: Option<i64>,
    /// The server has confirmed it once: from then on the client keeps it by itself.
    kept: bool,
    waiters: Vec<Waiter>,
}

/// What became of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was no subscription's.
    NotOurs,
    /// Whoever asked has been told, or it is tried again.
    Settled,
    /// The subscription to this channel has ended.
    Ended(String),
}

impl Channels {
    /// Adds a subscription from after a seq on, or asks once more about one that is there, whose position stays.
    pub(crate) fn subscribe(&mut self, name: &str, after: Option<i64>, waiter: Waiter) {
        let name: Arc<str> = name.into();
        let channel = self.of.entry(name.clone()).or_insert_with(|| {
            self.last += 1;
            Channel { number: self.last, position: after, ..Channel::default() }
        });
        channel.waiters.push(waiter);
        self.due.push_back(name);
    }

    /// Ends a subscription; false if there is none.
    pub(crate) fn unsubscribe(&mut self, name: &str) -> bool {
        self.due.retain(|due| **due != *name);
        self.later.retain(|(_, later)| **later != *name);
        self.of.remove(name).is_some()
    }

    /// A new session begins, which subscribes to nothing yet; with `reset` the data have begun another life, and
    /// everything is asked for that is there.
    pub(crate) fn start_session(&mut self, reset: bool) {
        self.asked.clear();
        self.later.clear();
        self.due = self.of.keys().cloned().collect();
        for channel in self.of.values_mut() {
            channel.open = false;
            if reset && channel.kept {
                channel.position = Some(0);
            }
        }
    }

    /// The next subscription to ask for, as the request of this number.
    pub(crate) fn next(&mut self, id: u32) -> Option<Subscribe> {
        let name = self.due.pop_front()?;
        let channel = self.of.get(&name)?;
        let subscribe = Subscribe { channel: name.to_string(), after: channel.position };
        self.asked.insert(id, (channel.number, name));
        Some(subscribe)
    }

    /// Whether there is one to ask for.
    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// When one is to be asked for again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            self.due.extend(self.later.pop_first().map(|(_, name)| name));
        }
    }

    /// The server's answer to a request.
    pub(crate) fn subscribed(&mut self, id: u32, subscribed: Subscribed) {
        let Some((number, name)) = self.asked.remove(&id) else { return };
        let Some(channel) = self.of.get_mut(&name).filter(|channel| channel.number == number) else { return };
        (channel.kept, channel.open) = (true, true);
        channel.position = Some(match channel.position {
            None => subscribed.head,
            // Of another life of the data.
            Some(position) if position > subscribed.head => subscribed.floor - 1,
            Some(position) => position,
        });
        for waiter in channel.waiters.drain(..) {
            // Whoever asked may have gone.
            let _ = waiter.send(Ok(subscribed.clone()));
        }
    }

    /// The server's refusal of a request.
    pub(crate) fn refused(&mut self, id: u32, refusal: &Refusal, now: Instant) -> Refused {
        let Some((number, name)) = self.asked.remove(&id) else { return Refused::NotOurs };
        let channel = self.of.get_mut(&name).filter(|channel| channel.number == number);
        let Some(channel) = channel else { return Refused::Settled };
        for waiter in channel.waiters.drain(..) {
            let _ = waiter.send(Err(refusal.clone()));
        }
        if channel.kept && refusal.is_passing() {
            let wait = Duration::from_millis(refusal.retry_after_ms.try_into().unwrap_or(0)).max(AGAIN_AFTER);
            self.later.insert((now + wait, name));
            return Refused::Settled;
        }
        let was_kept = channel.kept;
        self.of.remove(&name);
        if was_kept { Refused::Ended(name.to_string()) } else { Refused::Settled }
    }

    /// A message of a channel has come; false if it is not to be told: a repeat, or of a subscription that has ended.
    pub(crate) fn arrive(&mut self, name: &str, seq: i64) -> bool {
        let Some(channel) = self.of.get_mut(name).filter(|channel| channel.open) else { return false };
        // Seq 0: it is stored nowhere.
        let is_new = seq == 0 || channel.position.is_none_or(|position| seq > position);
        if is_new && seq > 0 {
            channel.position = Some(seq);
        }
        is_new
    }

    /// Entries below a floor are gone; false if nobody subscribes, or that subscription has ended.
    pub(crate) fn history_gone(&mut self, name: &str, floor: i64) -> bool {
        let channel = self.of.get_mut(name).filter(|channel| channel.open);
        channel.map(|channel| channel.position = Some(floor - 1)).is_some()
    }
}

/// The shortest wait before a subscription that was lost is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tidegate_proto::v1::Code;

    use super::*;

    fn subscribed(head: i64, floor: i64) -> Subscribed {
        Subscribed { channel: "news".into(), head, floor, count: 1 }
    }

    fn asked(channels: &mut Channels, id: u32) -> (String, Option<i64>) {
        let subscribe = channels.next(id).expect("one is due");
        (subscribe.channel, subscribe.after)
    }

    fn subscribe(
        channels: &mut Channels,
        after: Option<i64>,
    ) -> oneshot::Receiver<Result<Subscribed, Refusal>> {
        let (waiter, answer) = oneshot::channel();
        channels.subscribe("news", after, waiter);
        answer
    }

    #[test]
    fn it_goes_on_where_it_was_on_every_session() {
        let mut channels = Channels::default();
        let mut answer = subscribe(&mut channels, None);
        assert_eq!(asked(&mut channels, 1), ("news".into(), None));
        channels.start_session(false);
        assert_eq!(asked(&mut channels, 2), ("news".into(), None), "the answer did not come");
        channels.subscribed(1, subscribed(9, 1));
        assert!(answer.try_recv().is_err(), "of another session");
        channels.subscribed(2, subscribed(5, 1));
        assert_eq!(answer.try_recv().unwrap().unwrap().head, 5);
        assert!(!channels.arrive("news", 5) && channels.arrive("news", 6) && !channels.arrive("news", 6));
        assert!(channels.arrive("news", 0) && !channels.arrive("other", 1));
        channels.start_session(false);
        assert_eq!(asked(&mut channels, 3), ("news".into(), Some(6)));
        channels.start_session(true);
        assert_eq!(asked(&mut channels, 4), ("news".into(), Some(0)), "another life of the data");
        assert!(channels.unsubscribe("news") && !channels.unsubscribe("news"));
        assert!(!channels.arrive("news", 7) && !channels.is_due());
    }

    #[test]
    fn positions_follow_what_the_server_says() {
        let mut channels = Channels::default();
        let _answer = subscribe(&mut channels, Some(99));
        asked(&mut channels, 1);
        channels.subscribed(1, subscribed(5, 3));
        assert!(channels.arrive("news", 3), "beyond the head: from the floor");
        assert!(channels.history_gone("news", 8));
        assert!(!channels.arrive("news", 7) && channels.arrive("news", 8));
        assert!(!channels.history_gone("other", 8));
    }

    #[test]
    fn what_comes_of_a_subscription_that_has_ended_is_not_told() {
        let mut channels = Channels::default();
        let _first = subscribe(&mut channels, None);
        asked(&mut channels, 1);
        assert!(!channels.arrive("news", 5), "before Subscribed nothing of it comes");
        assert!(channels.unsubscribe("news"));
        let mut second = subscribe(&mut channels, Some(0));
        asked(&mut channels, 2);
        // Of the first one, still on their way.
        channels.subscribed(1, subscribed(7, 1));
        assert!(!channels.arrive("news", 8) && !channels.history_gone("news", 8));
        assert_eq!(
            channels.refused(1, &Refusal::new(Code::Unavailable, ""), Instant::now()),
            Refused::NotOurs
        );
        assert!(second.try_recv().is_err());
        channels.subscribed(2, subscribed(8, 1));
        assert!(second.try_recv().is_ok() && channels.arrive("news", 1), "from the first on");
        channels.start_session(false);
        assert!(!channels.arrive("news", 2), "another session has subscribed to nothing yet");
    }

    #[test]
    fn a_refusal_ends_it_unless_it_was_there_and_passes() {
        let mut channels = Channels::default();
        let now = Instant::now();
        let (busy, final_one) =
            (Refusal::new(Code::Unavailable, ""), Refusal::new(Code::PermissionDenied, ""));
        let mut answer = subscribe(&mut channels, None);
        asked(&mut channels, 1);
        assert_eq!(channels.refused(1, &busy, now), Refused::Settled);
        assert!(answer.try_recv().unwrap().is_err() && !channels.arrive("news", 1), "whoever asked decides");
        assert_eq!(channels.refused(1, &busy, now), Refused::NotOurs);

        let _answer = subscribe(&mut channels, None);
        asked(&mut channels, 2);
        channels.subscribed(2, subscribed(5, 1));
        channels.start_session(false);
        asked(&mut channels, 3);
        assert_eq!(channels.refused(3, &busy, now), Refused::Settled);
        assert!(!channels.is_due());
        let at = channels.deadline().unwrap();
        channels.on_time(at);
        assert_eq!(asked(&mut channels, 4), ("news".into(), Some(5)));
        assert_eq!(channels.refused(4, &final_one, now), Refused::Ended("news".into()));
        assert!(channels.deadline().is_none() && !channels.is_due());
    }
}
