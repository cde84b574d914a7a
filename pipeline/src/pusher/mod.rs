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
use plan::Placed;

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

    /// Hands over what a batch has stored: one look at presence, each message encoded once, one batch a gateway.
    pub async fn push(&self, placed: &[Placed<'_>]) {
        let users = plan::users(placed);
        let Some(routes) = self.routes(&users).await else {
            // Nobody knows who is where: every gateway compares its sessions' heads with the store.
            self.links.values().for_each(Link::check_all);
            return;
        };
        let routes: HashMap<&UserId, Routes> = users.iter().zip(routes).collect();
        for (gateway, batch) in plan::batches(placed, &routes) {
            if let Some(link) = self.links.get(&gateway) {
                link.send(batch);
            }
        }
    }

    async fn routes(&self, users: &[UserId]) -> Option<Vec<Routes>> {
        self.presence.lookup(users).await.inspect_err(|error| warn!(%error, "routes are not known")).ok()
    }
}
