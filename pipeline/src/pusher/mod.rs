//! The pusher: hands stored messages to the gateways that hold a recipient, and only to those
//! (ARCHITECTURE.md invariant 6).
//!
//! What it hands over is a hint (ARCHITECTURE.md invariant 1): a push that cannot be handed over leaves a mark,
//! never a wait.

mod cache;
pub mod dial;
pub mod link;
pub mod metrics;
pub mod plan;
mod queue;
mod remote;
mod routes;
mod window;
pub mod wire;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tidegate_proto::id::{ChannelName, UserId};
use tidegate_proto::v1::Signal;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::body::Body;
use crate::presence::interest::Interests;
use crate::presence::{Presence, Routes};
use crate::seldom::Seldom;
use dial::Dialer;
use link::{Batch, Local, Sender};
use metrics::Metrics;
use plan::{Batches, Placed, Rejected};
use remote::Worker;

/// Selects gateways by presence and hands each one batch. Its links end with it.
#[derive(Debug)]
pub struct Pusher {
    own: Option<Own>,
    shared: Arc<Shared>,
    /// The workers of the links to other gateways.
    workers: Mutex<JoinSet<()>>,
}

/// The gateway of this process.
#[derive(Debug)]
struct Own {
    gateway: Arc<str>,
    link: Local,
    calls: Counter,
    messages: Counter,
}

/// What the workers of the links need.
#[derive(Debug)]
struct Shared {
    routes: routes::Known,
    dialer: Dialer,
    metrics: Metrics,
    links: Mutex<Links>,
    /// Says that there are too many.
    too_many: Seldom,
}

#[derive(Debug, Default)]
struct Links {
    open: HashMap<Arc<str>, Link>,
    stopped: bool,
}

/// The pusher's end of a link to another gateway.
#[derive(Debug)]
struct Link {
    sender: Sender,
    calls: Counter,
    messages: Counter,
}

impl Pusher {
    /// A pusher with a link to the gateway of its own process, if there is one; other gateways are dialled at the first
    /// need, by their leases.
    pub fn new(presence: Presence, own: Option<(Arc<str>, Local)>, dialer: Dialer, metrics: Metrics) -> Self {
        let own = own.map(|(gateway, link)| {
            let (calls, messages) = metrics.of(&gateway);
            Own { gateway, link, calls, messages }
        });
        let routes = routes::Known::new(presence, metrics.clone());
        let shared = Arc::new(Shared {
            routes,
            dialer,
            metrics,
            links: Mutex::default(),
            too_many: Seldom::default(),
        });
        Self { own, shared, workers: Mutex::default() }
    }

    /// Hands over what a batch has stored, and the refusals of those whose waiters were answered before: one look at
    /// presence, each message encoded once, one batch a gateway. Waits for no link.
    ///
    /// Of one conversation, call it one after the other; calls for different ones may run beside each other.
    pub async fn push(&self, placed: &[Placed<'_>], rejected: &[Rejected<'_>]) {
        let (users, channels) = (plan::users(placed), plan::channels(placed));
        let known = &self.shared.routes;
        let (routes, interests) = tokio::join!(known.routes(&users), known.interests(&channels));
        let outdated = routes.outdated || interests.outdated;
        let routes: HashMap<&UserId, Routes> = users.iter().zip(routes.rows).collect();
        let interests: HashMap<&ChannelName, Interests> = channels.iter().zip(interests.rows).collect();
        let mut batches = plan::batches(placed, &routes);
        plan::post(placed, &interests, &mut batches);
        plan::reject(rejected, &mut batches);
        if outdated {
            plan::mark_elsewhere(placed, &routes, &interests, &self.gateways(), &mut batches);
        }
        self.send_all(batches);
    }

    /// Hands over messages of channels that are stored nowhere, each once to every gateway with subscribers.
    pub async fn pass(&self, posts: Vec<(ChannelName, Body)>) {
        let channels: BTreeSet<&ChannelName> = posts.iter().map(|(channel, _)| channel).collect();
        let channels: Vec<ChannelName> = channels.into_iter().cloned().collect();
        let found = self.shared.routes.interests(&channels).await;
        let interests: HashMap<&ChannelName, Interests> = channels.iter().zip(found.rows).collect();
        self.send_all(plan::pass(&posts, &interests));
    }

    /// Hands over signals to the other gateways that hold a session of their user. Nothing is kept of what finds none.
    pub async fn signal(&self, signals: Vec<(UserId, Arc<Signal>)>) {
        let users: BTreeSet<&UserId> = signals.iter().map(|(user, _)| user).collect();
        let users: Vec<UserId> = users.into_iter().cloned().collect();
        let found = self.shared.routes.routes(&users).await;
        let routes: HashMap<&UserId, Routes> = users.iter().zip(found.rows).collect();
        let own = self.own.as_ref().map(|own| &*own.gateway);
        self.send_all(plan::signal(&signals, &routes, own));
    }

    fn send_all(&self, batches: Batches) {
        for ((gateway, _), batch) in batches {
            match &self.own {
                Some(own) if own.gateway == gateway => {
                    own.calls.inc();
                    own.messages.inc_by(batch.messages() as u64);
                    own.link.send(batch);
                }
                _ => self.send(gateway, batch),
            }
        }
    }

    /// Hands over to other gateways what waits for them, for at most `limit`, and closes their links. What is pushed to
    /// them from then on is dropped.
    pub async fn stop(&self, limit: Duration) {
        {
            let mut links = self.shared.links.lock();
            links.stopped = true;
            links.open.clear();
        }
        let mut workers = std::mem::take(&mut *self.workers.lock());
        if timeout(limit, async { while workers.join_next().await.is_some() {} }).await.is_err() {
            warn!(links = workers.len(), "links were ended before everything was handed over");
        }
    }

    /// Hands a batch to another gateway, by a new link if it has none.
    fn send(&self, gateway: Arc<str>, batch: Batch) {
        let mut links = self.shared.links.lock();
        if links.stopped {
            return;
        }
        if !links.open.contains_key(&gateway) {
            if links.open.len() >= MAX_LINKS {
                drop(links);
                self.shared.metrics.unlinked.inc();
                if self.shared.too_many.is_due() {
                    warn!(gateway = &*gateway, "too many links: a gateway is not handed anything");
                }
                return;
            }
            let link = self.start_link(&gateway);
            links.open.insert(gateway.clone(), link);
        }
        let link = &links.open[&gateway];
        link.calls.inc();
        link.messages.inc_by(batch.messages() as u64);
        link.sender.send(batch);
    }

    /// The one place that spawns here.
    fn start_link(&self, gateway: &Arc<str>) -> Link {
        let metrics = &self.shared.metrics;
        let (sender, receiver) = link::channel(metrics.link.clone());
        let (calls, messages) = metrics.of(gateway);
        let mut workers = self.workers.lock();
        while workers.try_join_next().is_some() {}
        workers.spawn(Worker::new(gateway.clone(), receiver, self.shared.clone()).run());
        Link { sender, calls, messages }
    }

    fn gateways(&self) -> Vec<Arc<str>> {
        let links = self.shared.links.lock();
        let own = self.own.iter().map(|own| own.gateway.clone());
        own.chain(links.open.keys().cloned()).collect()
    }
}

impl Shared {
    /// The worker of a link has ended.
    fn remove(&self, gateway: &Arc<str>) {
        self.links.lock().open.remove(gateway);
        self.metrics.forget(gateway);
    }
}

/// Links at once; each may hold 40,000 deliveries.
const MAX_LINKS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::memory;

    #[tokio::test]
    async fn links_are_so_many_and_what_is_beyond_them_is_counted() {
        let (presence, metrics) = (Presence::Memory(memory::Presence::default()), Metrics::default());
        let pusher = Pusher::new(presence, None, Dialer::default(), metrics.clone());
        for number in 0..MAX_LINKS {
            pusher.send(format!("g{number}").into(), Batch::default());
        }
        assert_eq!(metrics.unlinked.get(), 0);
        for _ in 0..3 {
            pusher.send("one more".into(), Batch::default());
        }
        assert_eq!((metrics.unlinked.get(), pusher.gateways().len()), (3, MAX_LINKS));
        // Those that have a link keep it.
        pusher.send("g0".into(), Batch::default());
        assert_eq!(metrics.unlinked.get(), 3);
    }
}
