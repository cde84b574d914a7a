//! A session: one live connection of a device, from Hello to its close (docs/PROTOCOL.md "A session").
//!
//! `handshake` makes a session out of a connection, `worker` runs it; what they decide by stands in the pure files
//! `in_flight`, `rate` and `taking` and in `feed`. Nothing here knows which transport it is on.

mod delivery;
mod end;
mod handshake;
mod in_flight;
mod rate;
mod request;
mod taking;
mod tally;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::id::LocalId;
use tokio::time::Instant;
use tracing::debug;
use uuid::Uuid;

use crate::gateway::Shared;
use crate::transport::Transport;
use end::End;

/// Serves a connection until it ends.
pub(crate) async fn run<T: Transport>(gateway: Arc<Shared>, transport: T) {
    let (kind, remote) = (transport.info().kind, transport.info().remote);
    let (transport, end) = match Box::pin(handshake::handshake(gateway.clone(), transport)).await {
        Ok(session) => {
            let (transport, end) = Box::pin(worker::run(*session)).await;
            gateway.parts.metrics.session_ended(end.label());
            (transport, end)
        }
        Err((transport, end)) => {
            gateway.parts.metrics.session_not_begun(end.label());
            (transport, end)
        }
    };
    debug!(transport = kind.as_str(), %remote, %end, "session ended");
    if let End::Close { code, last } = end {
        transport.close(code, *last).await;
    }
}

/// A message whose sender names it not is named here, in order of time; it cannot be retried.
pub(crate) fn draw_local_id() -> LocalId {
    LocalId::new(&Uuid::now_v7().to_string()).expect("a UUID is printable ASCII")
}

/// The session's clock: ms since it began, as the pure files want time.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn at(self, ms: u64) -> Instant {
        self.0 + Duration::from_millis(ms)
    }
}
