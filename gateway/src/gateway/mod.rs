//! The gateway: what all its sessions share, and the services beside them.

pub mod backend;
mod cursors;
pub(crate) mod drain;
mod heads;
pub(crate) mod link;
pub(crate) mod registrar;
pub(crate) mod registrations;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_pipeline::log::Log;
use tidegate_pipeline::presence::Presence;
use tidegate_pipeline::presence::lease::{Role, draw_incarnation};
use tidegate_pipeline::pusher::link::Receiver;
use tidegate_pipeline::record::Origin;
use tidegate_pipeline::store::Store;
use tidegate_pipeline::submit::Submitter;
use tidegate_pipeline::volatile::Passing;
use tidegate_proto::v1::CloseCode;
use tokio::sync::{Notify, Semaphore, SetOnce};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::channels::Channels;
use crate::hub::Hub;
use crate::hub::mailbox::Notice;
use crate::metrics::Metrics;
use crate::rpc::deliver::MAX_LINKS;
use crate::session;
use crate::settings::Settings;
use crate::transport::{Accept, Transport};

/// What a gateway's sessions share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Shared>);

/// The parts, for the assembly.
#[derive(Debug)]
pub struct Parts {
    /// The gateway's id; it stands in Welcome and in presence.
    pub id: Arc<str>,
    /// What the process is, beside the gateway.
    pub role: Role,
    /// Where pushers of other processes reach it, `host:port`; empty if there are none.
    pub address: Arc<str>,
    /// Where clients reach it, `host:port`; empty if it does not say.
    pub public: Arc<str>,
    /// Where pages reach its plain HTTP, `host:port`; empty outside of development mode.
    pub demo: Arc<str>,
    /// Names the life of the store's data.
    pub epoch: Arc<str>,
    /// Limits and rates.
    pub settings: Settings,
    /// Who may come in.
    pub auth: Auth,
    /// Where messages are accepted.
    pub log: Log,
    /// Where messages of volatile channels go.
    pub passing: Passing,
    /// What the sessions read.
    pub store: Store,
    /// Where sessions are registered.
    pub presence: Presence,
    /// What is counted.
    pub metrics: Metrics,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) hub: Arc<Hub>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) cursors: cursors::Cursors,
    pub(crate) registrations: registrations::Registrations,
    incarnation: AtomicU64,
    redrawn: Notify,
    /// The first lease has begun: before, what is registered counts for nobody.
    leased: SetOnce<()>,
    /// What other gateways tell this one is heard.
    hears: SetOnce<()>,
    pub(crate) heads: heads::Fresh,
    next_session: AtomicU64,
    sessions: TaskTracker,
    stopping: CancellationToken,
    /// No session is left, none comes, and the lease has ended: until then pushers may mean this gateway.
    pub(crate) gone: CancellationToken,
    /// Places for links from other processes.
    pub(crate) links: Arc<Semaphore>,
    pub(crate) alternatives: drain::Alternatives,
}

impl Gateway {
    /// A gateway without sessions.
    pub fn new(parts: Parts) -> Self {
        let channels = Channels::new(&parts.metrics);
        Self(Arc::new(Shared {
            parts,
            hub: Hub::new(),
            channels,
            cursors: cursors::Cursors::default(),
            registrations: registrations::Registrations::default(),
            incarnation: AtomicU64::new(draw_incarnation()),
            redrawn: Notify::new(),
            leased: SetOnce::new(),
            hears: SetOnce::new(),
            heads: heads::Fresh::default(),
            next_session: AtomicU64::new(1),
            sessions: TaskTracker::new(),
            stopping: CancellationToken::new(),
            gone: CancellationToken::new(),
            links: Arc::new(Semaphore::new(MAX_LINKS)),
            alternatives: drain::Alternatives::default(),
        }))
    }

    /// Where sessions are found.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// Sends for backends to this gateway's log.
    pub fn submitter(&self) -> Submitter {
        let parts = &self.0.parts;
        let (log, counted) = (parts.log.clone(), parts.metrics.pipeline().clone());
        Submitter::new(log, counted, parts.settings.sampling).with_volatile(parts.passing.clone())
    }

    /// Tells every session to go, each with a time of its own to come back within `spread_ms` and other gateways to go
    /// to, and waits until all are gone. No new ones are served from now on.
    pub async fn drain(&self, spread_ms: i64) {
        self.0.stopping.cancel();
        self.0.sessions.close();
        drain::announce(&self.0).await;
        let notice = || Notice {
            code: CloseCode::Draining,
            message: "the gateway is stopping",
            retry_after_ms: rand::random_range(0..=spread_ms.max(1)),
        };
        self.0.hub.notify_all(notice);
        self.0.sessions.wait().await;
    }

    /// Waits until the others find this gateway by presence and it hears them, while [`Gateway::run`] runs. Not for long:
    /// while presence does not answer, sessions are served and registered later.
    pub async fn known(&self) {
        let known = async { tokio::join!(self.0.leased.wait(), self.0.hears.wait()) };
        // Whoever waits in vain goes on.
        let _ = timeout(KNOWN_LIMIT, known).await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Whether it serves new sessions.
    pub fn is_ready(&self) -> bool {
        !self.0.stopping.is_cancelled()
    }

    /// Runs the services beside the sessions until `stop`, which comes after [`Gateway::drain`]; cursors and routes
    /// are written to the last, and links live until then.
    pub async fn run(&self, link: Receiver, stop: CancellationToken) {
        let Shared { parts, channels, cursors, heads, gone, .. } = &*self.0;
        let link = link::run(link, &self.0);
        // What asks servers is large.
        Box::pin(async {
            tokio::join!(
                cursors.run(&parts.store, &stop),
                async {
                    registrar::run(&self.0, &stop).await;
                    gone.cancel();
                },
                heads.run(&self.0, &stop),
                channels.run_interest(&self.0, &stop),
                channels.run_fanout(&stop),
                stop.run_until_cancelled(link),
            )
        })
        .await;
    }
}

impl Shared {
    pub(crate) fn draw_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// Drawn at the start, and each time the lease was lost.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::Acquire)
    }

    pub(crate) fn draw_incarnation(&self) {
        self.incarnation.store(draw_incarnation(), Ordering::Release);
        self.redrawn.notify_waiters();
    }

    /// Waits until the gateway has another incarnation than this. Cancel safe.
    pub(crate) async fn left(&self, incarnation: u64) {
        loop {
            let redrawn = self.redrawn.notified();
            if self.incarnation() != incarnation {
                return;
            }
            redrawn.await;
        }
    }

    pub(crate) fn origin(&self, session: u64) -> Origin {
        Origin { gateway: self.parts.id.clone(), incarnation: self.incarnation(), session }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// What comes of it; `None` once no new sessions are served.
    pub(crate) async fn until_stopping<R>(&self, work: impl Future<Output = R>) -> Option<R> {
        self.stopping.run_until_cancelled(work).await
    }
}

impl Accept for Gateway {
    fn accept<T: Transport>(&self, transport: T) {
        // The one place that spawns sessions; a panic ends its own only, and its guards clean up.
        self.0.sessions.spawn(session::run(self.0.clone(), transport));
    }
}

/// ms since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long a start waits for presence.
const KNOWN_LIMIT: Duration = Duration::from_secs(2);
