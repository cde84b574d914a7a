//! Accepts connections within limits and hands them on once they are set up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connecting, Connection, ConnectionError, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::unproven::{Shown, Unshown};
use super::{Edge, raw};
use crate::admission::{Admission, Admitted, Full};
use crate::quoted::Quoted;
use crate::transport::{Accept, webtransport};

/// Whether a page of this Origin may connect; `None` for clients that are no browsers.
pub type OriginCheck = Arc<dyn Fn(Option<&str>) -> bool + Send + Sync>;

/// How many handshakes at once, and how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Handshakes that have begun and not ended; further ones are refused.
    pub max_half_open: usize,
    /// From this many on, a client must first show that its address is its own (Retry).
    pub retry_from_half_open: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long after the handshake the control stream, and WebTransport's session before it, may take.
    pub session_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 1,024 in 10 s; each holds some 20 KiB.
            max_half_open: 1_024,
            // A signature takes 0.2 ms: what comes at once up to here is done within 25 ms.
            retry_from_half_open: 128,
            handshake_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(5),
        }
    }
}

/// What became of connections that are no sessions.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Refused, since the process has as many connections as it may have.
    pub full: Counter,
    /// Refused, since the client's address has.
    pub address_full: Counter,
    /// Refused, since there are too many half-open ones.
    pub half_open: Counter,
    /// Refused while the gateway stops.
    pub stopping: Counter,
    /// Told to show that their address is their own.
    pub retried: Counter,
    /// The handshake failed or took too long.
    pub handshake_failed: Counter,
    /// The handshake was done, but no session came in time.
    pub no_session: Counter,
    /// The request for a session was refused, or what was sent is not HTTP/3.
    pub rejected: Counter,
}

impl Counters {
    /// Counts connections refused for `full`.
    fn full(&self, full: Full) -> &Counter {
        match full {
            Full::Process => &self.full,
            Full::Address => &self.address_full,
        }
    }
}

/// What [`serve`] needs.
pub struct Listener<A> {
    /// From [`super::bind`].
    pub edge: Edge,
    /// Who gets a connection; shared by the listeners of all transports.
    pub admission: Admission,
    /// How many handshakes at once, and how long.
    pub limits: Limits,
    /// Which pages may connect.
    pub origin: OriginCheck,
    /// Counts what does not become a session.
    pub counters: Counters,
    /// Where set-up connections go.
    pub accept: A,
    /// Where connections are set up.
    pub tracker: TaskTracker,
}

impl<A> fmt::Debug for Listener<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Accepts until `cancel`; what was accepted by then lives on. Whoever comes later is refused at once, and can go
/// elsewhere, until the endpoint is closed or the tracker is closed and empty; so this runs beside the tracker.
pub async fn serve<A: Accept>(listener: Listener<A>, cancel: CancellationToken) {
    let half_open = Arc::new(Semaphore::new(listener.limits.max_half_open.min(Semaphore::MAX_PERMITS)));
    while let Some(Some(incoming)) = cancel.run_until_cancelled(listener.edge.endpoint.accept()).await {
        listener.admit(incoming, &half_open);
        // Those that have begun go first. Without this, when a thousand come at once, the last one is begun before the
        // first is done: each waits for all, and when that takes longer than they wait, they all come again.
        yield_now().await;
    }
    let refusing = async {
        while let Some(incoming) = listener.edge.endpoint.accept().await {
            listener.counters.stopping.inc();
            incoming.refuse();
        }
    };
    tokio::select! {
        () = refusing => {}
        () = listener.tracker.wait() => {}
    }
}

/// What an open connection counts as.
#[derive(Debug)]
pub(crate) struct Permit {
    _admitted: Admitted,
    _shown: Shown,
}

/// What a connection counts as during its handshake.
struct HalfOpen {
    admitted: Admitted,
    half_open: OwnedSemaphorePermit,
    address: Address,
}

/// Whether a client has shown that its address is its own; before the handshake it has by a token.
enum Address {
    Unshown(Unshown),
    Shown(Shown),
}

impl HalfOpen {
    /// The handshake is done.
    fn open(self) -> Permit {
        let shown = match self.address {
            Address::Unshown(unshown) => unshown.shown(),
            Address::Shown(shown) => shown,
        };
        Permit { _admitted: self.admitted, _shown: shown }
    }

    /// The handshake came to nothing. The address stays limited until the goodbye to it is sent.
    async fn fail(self, counters: &Counters, error: &ConnectionError) {
        count_failed(counters, error);
        let Self { admitted, half_open, address } = self;
        drop((admitted, half_open));
        if let Address::Unshown(unshown) = address {
            tokio::time::sleep(GOODBYE_TIME).await;
            drop(unshown);
        }
    }
}

impl<A: Accept> Listener<A> {
    /// Decides at once: an [`Incoming`] left alone leaks.
    fn admit(&self, incoming: Incoming, half_open: &Arc<Semaphore>) {
        let remote = incoming.remote_address();
        let waiting = self.limits.max_half_open.saturating_sub(half_open.available_permits());
        let must_show =
            waiting >= self.limits.retry_from_half_open || self.admission.is_half_full(remote.ip());
        if must_show && !incoming.remote_address_validated() {
            self.counters.retried.inc();
            // An address that is not validated may be asked to retry.
            let _ = incoming.retry();
            return;
        }
        let Ok(half_open) = half_open.clone().try_acquire_owned() else {
            self.counters.half_open.inc();
            incoming.refuse();
            return;
        };
        let admitted = match self.admission.try_admit(remote.ip()) {
            Ok(admitted) => admitted,
            Err(full) => {
                self.counters.full(full).inc();
                incoming.refuse();
                return;
            }
        };
        let unproven = &self.edge.unproven;
        let address = if incoming.remote_address_validated() {
            Address::Shown(unproven.show(remote))
        } else {
            Address::Unshown(unproven.begin(remote))
        };
        // Here and not in the task, so that handshakes are signed one after the other: each holds the endpoint's lock.
        match incoming.accept() {
            Ok(connecting) => self.start_set_up(connecting, HalfOpen { admitted, half_open, address }),
            Err(error) => count_failed(&self.counters, &error),
        }
    }

    fn start_set_up(&self, connecting: Connecting, half_open: HalfOpen) {
        let (limits, counters) = (self.limits.clone(), self.counters.clone());
        let (origin, accept) = (self.origin.clone(), self.accept.clone());
        self.tracker.spawn(async move {
            let handshake = timeout(limits.handshake_timeout, handshake(connecting));
            let ready = match handshake.await {
                Ok(Ok(ready)) => ready,
                Ok(Err(error)) => return half_open.fail(&counters, &error).await,
                Err(_) => return half_open.fail(&counters, &ConnectionError::TimedOut).await,
            };
            let permit = half_open.open();
            let streams = match ready {
                Ready::Raw(connection) => {
                    raw::establish(connection, limits.session_timeout, permit, &counters).await
                }
                Ready::WebTransport(opening) => {
                    let limit = limits.session_timeout;
                    Box::pin(webtransport::establish(opening, &origin, limit, permit, &counters)).await
                }
            };
            if let Some(streams) = streams {
                accept.accept(streams);
            }
        });
    }
}

/// A connection after its handshake.
enum Ready {
    Raw(Connection),
    WebTransport(webtransport::Opening),
}

async fn handshake(mut connecting: Connecting) -> Result<Ready, ConnectionError> {
    let data = connecting.handshake_data().await?;
    let protocol = data.downcast::<HandshakeData>().ok().and_then(|data| data.protocol);
    if protocol.as_deref() != Some(wtransport_proto::WEBTRANSPORT_ALPN.as_slice()) {
        return connecting.await.map(Ready::Raw);
    }
    webtransport::handshake(connecting).await.map(Ready::WebTransport)
}

fn count_failed(counters: &Counters, error: &ConnectionError) {
    counters.handshake_failed.inc();
    // A client that closes may say why, in its own words.
    tracing::debug!(error = %Quoted(error), "a QUIC handshake failed");
}

/// quinn sends it at once.
const GOODBYE_TIME: Duration = Duration::from_secs(1);
