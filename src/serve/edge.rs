//! The gateway of a process with its listeners.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, anyhow};
use prometheus_client::registry::Registry;
use tidegate_certs::{CertResolver, Identity, watch};
use tidegate_gateway::admission::{self, Admission};
use tidegate_gateway::auth::{Auth, Signer};
use tidegate_gateway::gateway::backend::{Backend, Development};
use tidegate_gateway::gateway::{Gateway, Parts};
use tidegate_gateway::http::{self, ApiKeys, Assets, Stopping};
use tidegate_gateway::metrics::Metrics;
use tidegate_gateway::origin::OriginPolicy;
use tidegate_gateway::settings::Settings;
use tidegate_gateway::transport::quic;
use tidegate_pipeline::log::Log;
use tidegate_pipeline::metrics as pipeline;
use tidegate_pipeline::presence::Presence;
use tidegate_pipeline::pusher::link::Receiver;
use tidegate_pipeline::store::Store;
use tidegate_pipeline::volatile::Passing;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::debug;

use super::bind::{Bound, Clients};
use super::tasks::Tasks;
use super::{assets, identity, keys};
use crate::config::limits::Limits;
use crate::config::{Config, Role};

/// The gateway, and what its listeners share.
pub(super) struct Edge {
    gateway: Gateway,
    backend: Backend,
    metrics: Metrics,
    certificates: Arc<CertResolver>,
    endpoints: Vec<quinn::Endpoint>,
}

/// What the gateway shares with the rest of the process.
pub(super) struct Shared {
    pub(super) id: Arc<str>,
    pub(super) store: Store,
    pub(super) presence: Presence,
    pub(super) log: Log,
    pub(super) passing: Passing,
}

impl Edge {
    /// Makes the gateway and starts its services; `link` is the end of the pusher of this process.
    pub(super) async fn assemble(
        (config, role): (&Config, Role),
        bound: &Bound,
        shared: Shared,
        (counted, registry): (&pipeline::Metrics, &mut Registry),
        link: Receiver,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Self> {
        let Shared { id, store, presence, log, passing } = shared;
        let source = config.tls.source(&config.data);
        let certificates =
            Arc::new(CertResolver::open(source, SystemTime::now()).context("the certificate")?);
        let (auth, development) = auth(config, &bound.clients, &certificates)?;
        let metrics = Metrics::new(counted);
        metrics.register(registry);
        let gateway = Gateway::new(Parts {
            id,
            role: role.of_lease(),
            address: identity::address(config, bound.grpc_address()),
            public: config.listen.public().unwrap_or_default().into(),
            demo: if config.is_development() { bound.clients.plain_address() } else { "".into() },
            epoch: store.epoch().await.context("the store's epoch")?.into(),
            settings: settings(config),
            auth,
            log,
            passing,
            store,
            presence,
            metrics: metrics.clone(),
        });
        let (services, stop) = (gateway.clone(), tasks.services.clone());
        tasks.run("the gateway's sessions", async move { services.run(link, stop).await });
        let (watched, stop) = (certificates.clone(), tasks.entrance.clone());
        tasks.run("the certificate's watcher", async move { watch(watched, CERTIFICATE_EVERY, stop).await });
        let backend = Backend::new(gateway.clone(), development);
        Ok(Self { gateway, backend, metrics, certificates, endpoints: Vec::new() })
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The certificate that clients see now.
    pub(super) fn certificate(&self) -> Arc<Identity> {
        self.certificates.current()
    }

    /// Serves clients, once the others know of the gateway.
    pub(super) async fn listen(
        &mut self,
        config: &Config,
        clients: Clients,
        tasks: &mut Tasks,
    ) -> anyhow::Result<()> {
        self.gateway.known().await;
        let origins = origins(config, &clients)?;
        let admission = self.admission(&config.limits);
        let Clients { plain, secure, udp } = clients;
        let settings = http_settings(config, origins.clone())?;
        self.listen_tcp((plain, secure), settings, &admission, tasks);
        let keys = keys::open_or_make(&config.data)?;
        for udp in udp {
            self.listen_udp(udp, &keys, origins.clone(), admission.clone(), tasks)?;
        }
        Ok(())
    }

    /// Sends the sessions away.
    pub(super) async fn drain(&self) {
        let spread_ms = i64::try_from(RECONNECT_SPREAD.as_millis()).unwrap_or(i64::MAX);
        self.gateway.drain(spread_ms).await;
    }

    /// Closes the connections of QUIC, and answers for a while those that have not heard of it.
    pub(super) async fn close_quic(&self) {
        for endpoint in &self.endpoints {
            endpoint.close(quinn::VarInt::from_u32(4000), b"the gateway has stopped");
        }
        let idle = async {
            for endpoint in &self.endpoints {
                endpoint.wait_idle().await;
            }
        };
        if timeout(QUIC_CLOSE_LIMIT, idle).await.is_err() {
            debug!("connections of QUIC are given up; their clients notice by themselves");
        }
    }

    fn listen_tcp(
        &self,
        (plain, secure): (Vec<TcpListener>, Vec<TcpListener>),
        settings: http::Settings,
        admission: &Admission,
        tasks: &mut Tasks,
    ) {
        let edge = http::Edge::new(self.gateway.clone(), self.backend.clone(), settings);
        let tls = Arc::new(tidegate_certs::tls::tcp(self.certificates.clone(), &[b"http/1.1"]));
        let plain = plain.into_iter().map(|tcp| (tcp, None));
        let secure = secure.into_iter().map(|tcp| (tcp, Some(tls.clone())));
        for (tcp, tls) in plain.chain(secure) {
            let listener = http::Listener { tcp, tls, admission: admission.clone() };
            let stopping = Stopping { token: tasks.entrance.clone(), tracker: tasks.setup.clone() };
            let serve = http::serve(listener, edge.clone(), stopping);
            tasks.spawn("HTTP", async move { serve.await.context("an HTTP listener failed") });
        }
    }

    fn listen_udp(
        &mut self,
        udp: UdpSocket,
        keys: &quic::Keys,
        origins: OriginPolicy,
        admission: Admission,
        tasks: &mut Tasks,
    ) -> anyhow::Result<()> {
        let edge = quic::bind(udp, self.certificates.clone(), keys, QUIC_IDLE)?;
        self.endpoints.push(edge.endpoint.clone());
        let listener = quic::Listener {
            edge,
            admission,
            limits: quic::Limits::default(),
            origin: Arc::new(move |origin| origins.allows(origin)),
            counters: self.metrics.quic().clone(),
            accept: self.gateway.clone(),
            tracker: tasks.setup.clone(),
        };
        tasks.run("QUIC", quic::serve(listener, tasks.entrance.clone()));
        Ok(())
    }

    /// The places that clients' connections share, whatever they come over.
    fn admission(&self, limits: &Limits) -> Admission {
        let limits = admission::Limits {
            connections: limits.max_connections as usize,
            per_address: limits.max_connections_per_address as usize,
        };
        Admission::new(limits, self.metrics.connections().clone())
    }
}

/// The configured verifier; or development mode's own.
fn auth(
    config: &Config,
    clients: &Clients,
    certificates: &Arc<CertResolver>,
) -> anyhow::Result<(Auth, Option<Development>)> {
    if let Some(auth) = config.auth.verifier().map_err(|invalid| anyhow!("{invalid:?}"))? {
        return Ok((auth, None));
    }
    let signer = Signer::open_or_make(&config.data)?;
    let auth = signer.auth()?;
    let (webtransport, websocket) = clients.demo_urls();
    let certificates = certificates.clone();
    Ok((auth, Some(Development { signer, certificates, webtransport, websocket })))
}

fn settings(config: &Config) -> Settings {
    let limits = &config.limits;
    Settings {
        max_devices: limits.sessions_per_user as usize,
        outbox_bytes: limits.outbox_bytes as usize,
        messages_per_second: limits.messages_per_second,
        message_burst: limits.messages_burst,
        signals_per_second: limits.signals_per_second,
        signal_burst: limits.signals_burst,
        max_subscriptions: limits.subscriptions_per_session as usize,
        channels: config.channels.rules(),
        sampling: config.trace.sampling(),
    }
}

fn http_settings(config: &Config, origins: OriginPolicy) -> anyhow::Result<http::Settings> {
    let keys = config.api.all_keys().map_err(|invalid| anyhow!("{invalid:?}"))?;
    Ok(http::Settings {
        origins,
        api_keys: ApiKeys::new(keys.iter().map(|key| key.reveal())),
        development: config.is_development(),
        assets: Assets::new(assets::find),
    })
}

/// The server's own addresses, and those configured.
fn origins(config: &Config, clients: &Clients) -> anyhow::Result<OriginPolicy> {
    let mut origins = OriginPolicy::default();
    for port in clients.plain_ports() {
        origins.allow_loopback("http", port);
    }
    for port in clients.secure_ports() {
        origins.allow_loopback("https", port);
    }
    for origin in config.listen.allowed_origins.iter().chain(config.listen.public_urls.iter()) {
        origins.allow(origin.as_str())?;
    }
    Ok(origins)
}

/// How often files of certificates are looked at.
pub(super) const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);
/// How long a silent QUIC connection lives (docs/PROTOCOL.md "Heartbeat").
const QUIC_IDLE: Duration = Duration::from_secs(60);
/// Of the grace period. Each connection is kept for three of its time-outs to repeat the close to whoever missed it: enough
/// for round trips of half a second.
const QUIC_CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Over how long sessions that are sent away come back.
const RECONNECT_SPREAD: Duration = Duration::from_secs(5);
