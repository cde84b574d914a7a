//! The pusher: hands stored messages to the gateways that hold a recipient, and only to those
//! (ARCHITECTURE.md invariant 6).
//!
//! What it hands over is a hint (ARCHITECTURE.md invariant 1): a push that cannot be handed over leaves a mark,
//! never a wait.

pub mod link;
pub mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_proto::id::UserId;
use tracing::warn;

use crate::presence::{Presence, Routes};
use link::Link;
use plan::{Placed, Rejected};

/// Selects gateways by presence and hands each one batch.
#[derive(Debug)]
pub struct Pusher {
    presence: Presence,
    links: HashMap<Arc<str>, Link>,
}

impl Pusher {
    /// A pusher with a link to each gateway, by the gateway's id.
    pub fn new(presence: Presence, links: impl IntoIterator<Item = (Arc<str>, Link)>) -> Self {
        Self { presence, links: links.into_iter().collect() }
    }

    /// Hands over what a batch has stored, and the refusals of those whose waiters were answered before: one look at
    /// presence, each message encoded once, one batch a gateway.
    pub async fn push(&self, placed: &[Placed<'_>], rejected: &[Rejected<'_>]) {
        let users = plan::users(placed);
        let routes = self.routes(&users).await;
        if routes.is_none() {
            // Nobody knows who is where: every gateway compares its sessions' heads with the store.
            self.links.values().for_each(Link::check_all);
        }
        let routes: HashMap<&UserId, Routes> = users.iter().zip(routes.unwrap_or_default()).collect();
        let mut batches = plan::batches(placed, &routes);
        plan::reject(rejected, &mut batches);
        for (gateway, batch) in batches {
            if let Some(link) = self.links.get(&gateway) {
                link.send(batch);
            }
        }
    }

    async fn routes(&self, users: &[UserId]) -> Option<Vec<Routes>> {
        self.presence.lookup(users).await.inspect_err(|error| warn!(%error, "routes are not known")).ok()
    }
}
