//! The gateways that are called for one request at a time: found by their leases, a connection kept to each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::security::{Connection, Security, Tls};
use super::v1::msg_service_client::MsgServiceClient;
use crate::presence::lease::Lease;
use crate::presence::{Presence, Unreachable};

/// Connections to gateways. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Gateways(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    presence: Presence,
    security: Security,
    known: Mutex<Known>,
}

/// The leases as they were seen last, with the connections made.
#[derive(Debug)]
struct Known {
    /// What the connections were made with.
    tls: watch::Receiver<Tls>,
    seen_at: Option<Instant>,
    gateways: HashMap<Arc<str>, (Arc<str>, Option<Connection>)>,
}

impl Gateways {
    /// Finds gateways in `presence` and calls them with what `security` has.
    pub(super) fn new(presence: Presence, security: Security) -> Self {
        let known = Known { tls: security.tls(), seen_at: None, gateways: HashMap::new() };
        Self(Arc::new(Shared { presence, security, known: Mutex::new(known) }))
    }

    /// Whoever can be asked of the gateway with that id; `None` if it has no lease, or does not say where it is.
    pub(super) async fn find(
        &self,
        gateway: &str,
    ) -> Result<Option<MsgServiceClient<Connection>>, Unreachable> {
        if !self.0.known.lock().is_fresh() {
            let leases = self.0.presence.leases().await?;
            self.0.known.lock().note(leases);
        }
        let mut known = self.0.known.lock();
        known.forget_outdated();
        let Some((address, connection)) = known.gateways.get_mut(gateway) else { return Ok(None) };
        if connection.is_none() && !address.is_empty() {
            let made = self.0.security.connect(address);
            let failed = |error: &_| warn!(error = error as &dyn std::error::Error, gateway, "not called");
            *connection = made.inspect_err(failed).ok();
        }
        Ok(connection.clone().map(MsgServiceClient::new))
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.seen_at.is_some_and(|at| at.elapsed() < SEEN_FOR)
    }

    /// Who dials again after a renewal shows the new certificate.
    fn forget_outdated(&mut self) {
        if self.tls.has_changed().unwrap_or(false) {
            self.tls.mark_unchanged();
            self.gateways.values_mut().for_each(|(_, connection)| *connection = None);
        }
    }

    /// Connections of gateways that are where they were are kept.
    fn note(&mut self, leases: Vec<Lease>) {
        let mut before = std::mem::take(&mut self.gateways);
        let gateways = leases.into_iter().map(|Lease { id, address, .. }| {
            let connection = before.remove(&id).filter(|(at, _)| *at == address);
            (id, (address, connection.and_then(|(_, connection)| connection)))
        });
        self.gateways = gateways.collect();
        self.seen_at = Some(Instant::now());
    }
}

/// How old what is known of leases may be.
const SEEN_FOR: Duration = Duration::from_secs(1);
