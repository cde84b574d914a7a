//! What operators are told of this process, whatever its role.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tidegate_gateway::admission::{self, Admission};
use tidegate_gateway::gateway::Gateway;
use tidegate_gateway::http::{self, Admin, Edge, Refusals, Stopping};
use tidegate_pipeline::metrics::Counters;
use tidegate_pipeline::store::Store;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;

/// The process as operators see it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Operator(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gateway: Option<Gateway>,
    store: Store,
    registry: Registry,
    refused: Counters,
    stopping: CancellationToken,
}

impl Operator {
    /// A process with a gateway or without; it is ready until `stopping`, while its store answers. That presence does
    /// not answer keeps nobody from being served.
    pub(super) fn new(
        gateway: Option<Gateway>,
        store: Store,
        mut registry: Registry,
        stopping: CancellationToken,
    ) -> Self {
        let refused = Counters::default();
        // Shown from the start.
        drop(refused.get_or_create(&[("reason", "full")]));
        registry.register(
            "admin_refused",
            "Requests of operators that were refused, by reason",
            refused.clone(),
        );
        Self(Arc::new(Shared { gateway, store, registry, refused, stopping }))
    }
}

impl Admin for Operator {
    async fn ready(&self) -> Result<(), &'static str> {
        let Shared { gateway, store, stopping, .. } = &*self.0;
        match gateway {
            Some(gateway) if stopping.is_cancelled() || !gateway.is_ready() => {
                return Err("the gateway is stopping");
            }
            None if stopping.is_cancelled() => return Err("the pipeline is stopping"),
            _ => {}
        }
        match timeout(PING_TIMEOUT, store.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
                Err("the store fails")
            }
            Err(_) => Err("the store does not answer"),
        }
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl Refusals for Operator {
    fn refused(&self, reason: &'static str) {
        self.0.refused.get_or_create(&[("reason", reason)]).inc();
    }
}

/// Served to the last, so that operators see how the rest stops.
pub(super) fn listen(operator: Operator, listeners: Vec<TcpListener>, tasks: &mut Tasks) {
    let edge = Edge::admin(operator.clone(), operator);
    let limits = admission::Limits { connections: CONNECTIONS, per_address: 0 };
    let admission = Admission::new(limits, Gauge::default());
    for tcp in listeners {
        let listener = http::Listener { tcp, tls: None, admission: admission.clone() };
        let stopping = Stopping { token: tasks.services.clone(), tracker: tasks.setup.clone() };
        let serve = http::serve(listener, edge.clone(), stopping);
        tasks.spawn("the admin listener", async move { serve.await.context("the admin listener failed") });
    }
}

/// Operators' connections at once, apart from those of clients.
const CONNECTIONS: usize = 16;
/// Less than a prober waits.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tidegate_pipeline::store::sqlite;

    use super::*;

    #[tokio::test]
    async fn it_is_ready_while_it_serves_and_its_store_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let store = Store::Sqlite(sqlite::Store::open(&sqlite::Config::new(path)).await.unwrap());
        let stopping = CancellationToken::new();
        let operator = Operator::new(None, store.clone(), Registry::default(), stopping.clone());
        assert_eq!(operator.ready().await, Ok(()));
        operator.refused("full");
        let shown = operator.metrics().unwrap();
        assert!(
            shown.contains("admin_refused_total{reason=\"full\"} 1\n") && shown.ends_with("# EOF\n"),
            "{shown}"
        );
        store.close().await.unwrap();
        assert_eq!(operator.ready().await, Err("the store fails"));
        stopping.cancel();
        assert_eq!(operator.ready().await, Err("the pipeline is stopping"));
    }
}
