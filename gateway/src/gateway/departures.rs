//! Sessions that are gone and whose routes are to be dropped from presence: noted where a session ends, also by a
//! panic, and worked off by a service, since a destructor cannot wait.

use parking_lot::Mutex;
use tidegate_pipeline::presence::{Presence, Route};
use tidegate_proto::id::{DeviceId, UserId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Routes to be dropped. Bounded by the number of sessions.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    gone: Mutex<Vec<(UserId, DeviceId, Route)>>,
    wake: Notify,
}

impl Departures {
    /// Notes that a session is gone.
    pub(crate) fn note(&self, user: UserId, device: DeviceId, route: Route) {
        self.gone.lock().push((user, device, route));
        self.wake.notify_one();
    }

    /// Drops routes until `stop`, and what is left then.
    pub(crate) async fn run(&self, presence: &Presence, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
            }
            let gone = std::mem::take(&mut *self.gone.lock());
            for (user, device, route) in gone {
                if let Err(error) = presence.drop(&user, &device, &route).await {
                    // The row is stale and goes when somebody meets it (ARCHITECTURE.md "Presence and links").
                    warn!(error = &error as &dyn std::error::Error, %user, "a route is not dropped");
                }
            }
        }
    }
}
