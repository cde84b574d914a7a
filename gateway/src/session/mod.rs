//! A session: one live connection of a device, from Hello to its close (docs/PROTOCOL.md "A session").
//!
//! `handshake` makes a session out of a connection, `worker` runs it; what they decide by stands in the pure files
//! `in_flight`, `rate` and `taking` and in `feed`. Nothing here knows which transport it is on.

mod channels;
mod delivery;
mod end;
mod handshake;
mod in_flight;
mod rate;
mod request;
mod subscriptions;
mod taking;
mod tally;
mod worker;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use crate::gateway::Shared;
use crate::transport::{Info, Transport};
use end::End;

/// Serves a connection until it ends.
///
/// The connection moves from box to box: what an idle session's task would hold of its handshake and of its close is
/// several times what it needs.
pub(crate) fn run<T: Transport>(
    gateway: Arc<Shared>,
    transport: T,
) -> impl Future<Output = ()> + Send + 'static {
    let handshake = Box::pin(handshake::handshake(gateway.clone(), transport));
    async move {
        let begun = handshake.await;
        let closing = match begun {
            Ok(session) => {
                let (transport, end) = *worker::run(session).await;
                gateway.parts.metrics.session_ended(end.label());
                close(transport, end)
            }
            Err(refused) => {
                let (transport, end) = *refused;
                gateway.parts.metrics.session_not_begun(end.label());
                close(transport, end)
            }
        };
        if let Some(closing) = closing {
            closing.await;
        }
    }
}

/// The close of a connection, where it is ours to close.
fn close<T: Transport>(transport: T, end: End) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let Info { kind, remote, .. } = transport.info();
    debug!(transport = kind.as_str(), %remote, %end, "session ended");
    match end {
        End::Gone => None,
        End::Close { code, last } => Some(Box::pin(transport.close(code, *last))),
    }
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
