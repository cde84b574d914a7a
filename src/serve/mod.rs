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
mod signals;
mod tasks;

use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tidegate_pipeline::metrics;
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::link;
use tidegate_pipeline::store::Store;
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
    let mut process = Box::pin(Process::assemble(config, role, &bound)).await?;
    bound.log();
    process.listen(config, bound)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        role = role.name(),
        id = &*process.id,
        took_ms = ms(began.elapsed()),
        "serving"
    );
    let reason = process.tasks.until_told(&mut signals).await?;
    info!(reason, sessions = process.live(), served_ms = ms(began.elapsed()), "stopping");
    let stopping = Instant::now();
    process.stop(Duration::from_millis(config.stop.grace_ms.into())).await?;
    info!(took_ms = ms(stopping.elapsed()), "stopped");
    Ok(())
}

/// The parts that run.
struct Process {
    id: std::sync::Arc<str>,
    role: Role,
    store: Store,
    /// With a gateway.
    edge: Option<Edge>,
    operator: Operator,
    tasks: Tasks,
}

impl Process {
    async fn assemble(config: &Config, role: Role, bound: &Bound) -> anyhow::Result<Self> {
        let id = identity::id(config, role)?;
        let Backends { store, presence, log, reader } = Backends::open(config).await?;
        let counted = metrics::Metrics::default();
        let mut registry = Registry::with_prefix("tidegate");
        counted.register(&mut registry);
        let mut tasks = Tasks::default();

        let (local, receiver) = link::local(counted.link.clone());
        let depths = metrics::Depths { log: log.clone(), link: receiver.depth() };
        registry.register_collector(Box::new(depths));
        let edge = if role.has_gateway() {
            let shared =
                edge::Shared { id: id.clone(), store: store.clone(), presence: presence.clone(), log };
            Some(
                Edge::assemble(config, bound, shared, (&counted, &mut registry), receiver, &mut tasks)
                    .await?,
            )
        } else {
            None
        };
        if role.has_pipeline() {
            let shared = behind::Shared { store: store.clone(), presence, reader, dialer: Dialer::default() };
            let own = role.has_gateway().then(|| (id.clone(), local));
            behind::start(config, shared, own, counted, &mut tasks);
        }
        let gateway = edge.as_ref().map(|edge| edge.gateway().clone());
        let operator = Operator::new(gateway, store.clone(), registry, tasks.entrance.clone());
        Ok(Self { id, role, store, edge, operator, tasks })
    }

    fn listen(&mut self, config: &Config, bound: Bound) -> anyhow::Result<()> {
        let identity = self.edge.as_ref().map(Edge::certificate);
        bound.announce(config, self.role, &self.id, identity.as_deref());
        operator::listen(&self.operator, bound.admin, &mut self.tasks);
        match &mut self.edge {
            Some(edge) => edge.listen(config, bound.clients, &mut self.tasks),
            None => Ok(()),
        }
    }

    fn live(&self) -> usize {
        self.edge.as_ref().map_or(0, |edge| edge.gateway().hub().live())
    }

    /// Nobody new, sessions sent away, connections closed, cursors and routes written, the log worked off, the store
    /// closed.
    async fn stop(self, grace: Duration) -> anyhow::Result<()> {
        let Self { store, edge, operator, mut tasks, .. } = self;
        let stopped = timeout(grace, async {
            tasks.entrance.cancel();
            if let Some(edge) = &edge {
                edge.drain().await;
            }
            tasks.end_services().await?;
            // The last ones who could append: then the log ends, and with it the sequencer.
            drop((edge, operator));
            tasks.end_sequencer().await;
            store.close().await.context("closing the store")
        });
        match stopped.await {
            Ok(result) => result,
            Err(_) => {
                warn!(grace_ms = grace.as_millis(), "not everything ended within the grace period");
                Ok(())
            }
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
