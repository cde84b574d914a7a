//! `tidegate serve`, `gateway` and `pipeline`: puts the parts of the role together, runs them, and stops them in the
//! direction of flow (ARCHITECTURE.md "Stopping").

mod assets;
mod backends;
mod behind;
mod bind;
mod edge;
mod identity;
mod keys;
mod operator;
mod retention;
mod rpc;
mod signals;
mod tasks;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tidegate_pipeline::log::Log;
use tidegate_pipeline::metrics;
use tidegate_pipeline::presence::instance::Instance;
use tidegate_pipeline::presence::lease::Lease;
use tidegate_pipeline::pusher::Pusher;
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::link;
use tidegate_pipeline::rpc::{Health, Server};
use tidegate_pipeline::store::Store;
use tidegate_pipeline::volatile;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::config::{Config, Role};
use backends::Backends;
use bind::Bound;
pub(crate) use bind::unusable;
use edge::Edge;
use operator::Operator;
use signals::Signals;
use tasks::Tasks;

/// Runs until SIGTERM or SIGINT. With a gateway, `config.data` is this process's own.
pub(crate) async fn run(config: &Config, role: Role) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut signals = Signals::listen()?;
    let bound = Bound::bind(&config.listen, role)?;
    let process = Box::pin(Process::assemble(config, role, &bound)).await?;
    bound.log();
    let (version, id) = (env!("CARGO_PKG_VERSION"), process.id.clone());
    let mut running = process.listen(config, bound).await?;
    info!(version, role = role.name(), id = &*id, took_ms = ms(began.elapsed()), "serving");
    let reason = running.tasks.until_told(&mut signals).await?;
    info!(reason, sessions = running.live(), served_ms = ms(began.elapsed()), "stopping");
    let stopping = Instant::now();
    Box::pin(running.stop(Duration::from_millis(config.stop.grace_ms.into()))).await?;
    info!(took_ms = ms(stopping.elapsed()), "stopped");
    Ok(())
}

/// The parts that run.
struct Process {
    id: Arc<str>,
    role: Role,
    store: Store,
    log: Log,
    /// With a gateway.
    edge: Option<Edge>,
    /// Without one, where others may call.
    instance: Option<Arc<Instance>>,
    operator: Operator,
    server: Server,
    tasks: Tasks,
}

impl Process {
    async fn assemble(config: &Config, role: Role, bound: &Bound) -> anyhow::Result<Self> {
        let id = identity::id(config, role)?;
        let security = config.rpc.security()?;
        let counted = metrics::Metrics::default();
        let mut registry = Registry::with_prefix("tidegate");
        counted.register(&mut registry);
        let mut tasks = Tasks::default();
        rpc::renew(&config.rpc, security.clone(), &mut tasks)?;
        let Backends { store, guard, presence, log, reader } =
            Backends::open(config, role, &counted, tasks.reader.clone()).await?;

        let stop = tasks.services.clone();
        tasks.run("the database's guard", async move { guard.keep(&stop).await });

        let (local, receiver) = link::local(counted.link.clone());
        let depths = metrics::Depths { log: log.clone(), link: receiver.depth() };
        registry.register_collector(Box::new(depths));
        let (passing, passer) = volatile::open(config.channels.rules(), counted.passed.clone());
        let shared = edge::Shared {
            id: id.clone(),
            passing: passing.clone(),
            store: store.clone(),
            presence: presence.clone(),
            log: log.clone(),
        };
        let edge = if role.has_gateway() {
            let metrics = (&counted, &mut registry);
            Some(Edge::assemble((config, role), bound, shared, metrics, receiver, &mut tasks).await?)
        } else {
            None
        };
        let own = role.has_gateway().then(|| (id.clone(), local));
        let dialer = Dialer::new(security.clone());
        let pusher = Arc::new(Pusher::new(presence.clone(), own, dialer, counted.pusher.clone()));
        behind::pass(passer, pusher.clone(), reader.is_some(), &mut tasks);
        if let Some(reader) = reader {
            let shared = behind::Shared { store: store.clone(), reader, pusher };
            behind::start(config, shared, counted.clone(), &mut tasks);
        }
        let gateway = edge.as_ref().map(Edge::gateway);
        let operator = Operator::new(gateway.cloned(), store.clone(), registry, tasks.entrance.clone());
        let instance = bound.grpc_address().filter(|_| !role.has_gateway()).map(|bound| {
            let lease = Lease::new(role.of_lease(), id.clone(), identity::address(config, Some(bound)));
            Arc::new(Instance::new(presence.clone(), lease))
        });
        let parts = rpc::Parts {
            role,
            id: id.clone(),
            gateway,
            log: log.clone(),
            passing,
            store: store.clone(),
            presence,
            security,
            metrics: counted,
            sampling: config.trace.sampling(),
        };
        let server = rpc::server(parts, &tasks);
        Ok(Self { id, role, store, log, edge, instance, operator, server, tasks })
    }

    async fn listen(self, config: &Config, bound: Bound) -> anyhow::Result<Running> {
        let Self { id, role, store, log, mut edge, instance, operator, server, mut tasks } = self;
        let identity = edge.as_ref().map(Edge::certificate);
        bound.announce(config, role, &id, identity.as_deref());
        operator::listen(operator, bound.admin, &mut tasks);
        let health = rpc::listen(server, bound.grpc, &mut tasks);
        if let Some(edge) = &mut edge {
            edge.listen(config, bound.clients, &mut tasks).await?;
        }
        if let Some(instance) = instance.clone() {
            let stop = tasks.services.clone();
            tasks.run("the lease", async move { instance.run(&stop).await });
        }
        Ok(Running { store, log: Some(log), edge, instance, health, tasks })
    }
}

/// The parts that are needed to stop.
struct Running {
    store: Store,
    /// Until it is closed.
    log: Option<Log>,
    edge: Option<Edge>,
    instance: Option<Arc<Instance>>,
    health: Health,
    tasks: Tasks,
}

impl Running {
    fn live(&self) -> usize {
        self.edge.as_ref().map_or(0, |edge| edge.gateway().hub().live())
    }

    /// Nobody new, sessions sent away, connections closed, cursors and routes written, the log worked off or its
    /// partitions handed over, the store closed.
    async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        let stage = Cell::new("");
        match timeout(grace, self.stop_in_order(&stage)).await {
            Ok(result) => result,
            Err(_) => {
                let waits_for = match stage.get() {
                    SERVICES => format!("{SERVICES}: {}", self.tasks.left().join(", ")),
                    stage => stage.to_owned(),
                };
                warn!(
                    grace_ms = grace.as_millis(),
                    waits_for, "not everything ended within the grace period"
                );
                Ok(())
            }
        }
    }

    /// `stage` says what is waited for.
    async fn stop_in_order(&mut self, stage: &Cell<&'static str>) -> anyhow::Result<()> {
        self.tasks.entrance.cancel();
        stage.set("health");
        self.health.set(false).await;
        if let Some(instance) = &self.instance {
            stage.set("the lease");
            instance.drain().await;
        }
        if let Some(edge) = &self.edge {
            stage.set("sessions");
            edge.drain().await;
            stage.set("QUIC");
            edge.close_quic().await;
        }
        stage.set("connections being set up");
        self.tasks.end_setup().await;
        stage.set(SERVICES);
        self.tasks.end_services().await?;
        if let Some(log) = self.log.take() {
            stage.set("the log");
            log.close().await;
        }
        // The last one who could append: then the log ends, and with it the sequencer.
        self.edge = None;
        stage.set("the sequencer");
        self.tasks.end_sequencer().await;
        if let Some(instance) = &self.instance {
            stage.set("the lease");
            instance.end().await;
        }
        stage.set("the store");
        self.store.close().await.context("closing the store")
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The stage of a stop that has names of its own.
const SERVICES: &str = "services";
