//! gRPC of a process: the services that its parts have, on `listen.grpc`.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use tidegate_certs::{CertResolver, watch};
use tidegate_gateway::gateway::Gateway;
use tidegate_gateway::rpc::{MsgService, admin};
use tidegate_pipeline::log::Log;
use tidegate_pipeline::metrics::Metrics;
use tidegate_pipeline::presence::Presence;
use tidegate_pipeline::rpc::broadcast::follow::{Follow, Polled};
use tidegate_pipeline::rpc::push::Own;
use tidegate_pipeline::rpc::{Health, Security, Server, broadcast, chat, db, push, registry};
use tidegate_pipeline::store::Store;
use tidegate_pipeline::submit::Submitter;
use tidegate_pipeline::trace::Sampling;
use tidegate_pipeline::volatile::Passing;
use tokio::net::TcpListener;
use tracing::{error, info};

use super::edge::CERTIFICATE_EVERY;
use super::tasks::Tasks;
use crate::config::Role;
use crate::config::rpc::Rpc;

/// What the services need.
pub(super) struct Parts<'a> {
    pub(super) role: Role,
    pub(super) id: Arc<str>,
    /// With a gateway.
    pub(super) gateway: Option<&'a Gateway>,
    pub(super) log: Log,
    pub(super) passing: Passing,
    pub(super) store: Store,
    pub(super) presence: Presence,
    pub(super) security: Security,
    pub(super) metrics: Metrics,
    pub(super) sampling: Sampling,
}

/// The server with the services of the role.
pub(super) fn server(parts: Parts<'_>, tasks: &Tasks) -> Server {
    let Parts { role, id, gateway, log, passing, store, presence, security, metrics, sampling } = parts;
    let own = gateway.map(|gateway| Own { gateway: id, sessions: Arc::new(gateway.clone()) });
    let submitter = Submitter::new(log, metrics.clone(), sampling).with_volatile(passing);
    let everybodys: Arc<dyn Follow> = match gateway {
        Some(gateway) => Arc::new(gateway.clone()),
        None => Arc::new(Polled::new(store.clone())),
    };
    let mut server = Server::new(security.clone(), metrics.rpc.clone())
        .with(chat::service(submitter.clone(), store.clone()))
        .with(broadcast::chat(submitter, store.clone()))
        .with(broadcast::notify(everybodys, tasks.entrance.clone()))
        .with(push::service(presence.clone(), security, own))
        .with(registry::service(presence));
    if role.has_pipeline() {
        server = server.with(db::service(store, metrics));
    }
    if let Some(gateway) = gateway {
        server = server
            .with(MsgService::server(gateway.clone()))
            .with(admin::service(gateway, tasks.drain.clone()));
    }
    server
}

/// Takes up a renewed certificate, and with it the authorities as their files are then.
pub(super) fn renew(settings: &Rpc, security: Security, tasks: &mut Tasks) -> anyhow::Result<()> {
    let Some(source) = settings.certificate() else { return Ok(()) };
    let resolver = CertResolver::open(source, SystemTime::now()).context("rpc.cert_file")?;
    let (mut renewed, resolver) = (resolver.subscribe(), Arc::new(resolver));
    let stop = tasks.entrance.clone();
    tasks.run("the watcher of gRPC's certificate", watch(resolver, CERTIFICATE_EVERY, stop.clone()));
    let settings = settings.clone();
    tasks.run("the renewal of gRPC's certificate", async move {
        while let Some(Ok(())) = stop.run_until_cancelled(renewed.changed()).await {
            let taken = settings.read().and_then(|settings| Ok(security.renew(&settings)?));
            match taken {
                Ok(()) => info!("gRPC goes by the new certificate"),
                Err(error) => error!(%error, "gRPC stays with the certificate it has"),
            }
        }
    });
    Ok(())
}

/// Serves until the services end: links to the last session, and what backends ask meanwhile.
pub(super) fn listen(server: Server, listeners: Vec<TcpListener>, tasks: &mut Tasks) -> Health {
    let health = server.health();
    let stop = tasks.services.clone();
    tasks.spawn("gRPC and links", async move {
        server.serve(listeners, stop).await.context("listen.grpc failed")
    });
    health
}
