//! What the pusher and its links count. The names and what they mean stand in docs/OPERATIONS.md.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::link;
use crate::metrics::Counters;

/// The metrics of a pusher. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Of all links.
    pub link: link::Counters,
    pub(super) calls: PerGateway,
    pub(super) messages: PerGateway,
    pub(super) open: Gauge,
    openings: Counters,
    pub(super) opened: Counter,
    pub(super) failed: Counter,
    pub(super) refused: Counter,
    pub(super) breaks: Counter,
    pub(super) batches: Counter,
    pub(super) not_here: Counter,
    pub(super) unlinked: Counter,
    routes: Counters,
    pub(super) routes_asked: Counter,
    pub(super) routes_cached: Counter,
    pub(super) routes_outdated: Counter,
}

/// Counters by gateway.
pub(super) type PerGateway = Family<[(&'static str, Arc<str>); 1], Counter>;

impl Metrics {
    /// Nothing counted yet but by `link`.
    pub fn new(link: link::Counters) -> Self {
        let [openings, routes] = std::array::from_fn(|_| Counters::default());
        let opening = |result| openings.get_or_create_owned(&[("result", result)]);
        let from = |from| routes.get_or_create_owned(&[("from", from)]);
        Self {
            link,
            calls: PerGateway::default(),
            messages: PerGateway::default(),
            open: Gauge::default(),
            opened: opening("opened"),
            failed: opening("failed"),
            refused: opening("refused"),
            openings,
            breaks: Counter::default(),
            batches: Counter::default(),
            not_here: Counter::default(),
            unlinked: Counter::default(),
            routes_asked: from("presence"),
            routes_cached: from("cache"),
            routes_outdated: from("last_known"),
            routes,
        }
    }

    /// Makes them part of what is shown.
    pub fn register(&self, to: &mut Registry) {
        to.register("link_calls", "Batches handed to a gateway's link by the pusher", self.calls.clone());
        to.register("link_messages", "Messages in those batches", self.messages.clone());
        to.register("links_open", "Links to other gateways that are open", self.open.clone());
        to.register("link_openings", "Tries to open a link to another gateway", self.openings.clone());
        to.register("link_breaks", "Open links to other gateways that broke", self.breaks.clone());
        to.register("link_batches", "Batches sent to other gateways", self.batches.clone());
        to.register(
            "link_too_many",
            "Batches for gateways beyond the links that there may be",
            self.unlinked.clone(),
        );
        to.register("link_not_here", "Recipients with no session where a route said", self.not_here.clone());
        to.register(
            "routes",
            "Users whose routes were needed, by where they were known",
            self.routes.clone(),
        );
    }

    /// The counters of calls and messages of a gateway.
    pub(super) fn of(&self, gateway: &Arc<str>) -> (Counter, Counter) {
        let label = [("gateway", gateway.clone())];
        (self.calls.get_or_create_owned(&label), self.messages.get_or_create_owned(&label))
    }

    /// A gateway that is no more is not shown for ever.
    pub(super) fn forget(&self, gateway: &Arc<str>) {
        let label = [("gateway", gateway.clone())];
        self.calls.remove(&label);
        self.messages.remove(&label);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(link::Counters::default())
    }
}
