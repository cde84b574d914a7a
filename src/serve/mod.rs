//! `tidegate serve`: everything in one process. Puts the parts together, runs them, and stops them in the direction of
//! flow (ARCHITECTURE.md "Stopping").

mod assets;
mod bind;
mod keys;
mod retention;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tidegate_certs::{CertResolver, watch};
use tidegate_gateway::admission::{self, Admission};
use tidegate_gateway::auth::{Auth, Signer};
use tidegate_gateway::gateway::backend::{Backend, Development};
use tidegate_gateway::gateway::operator::Operator;
use tidegate_gateway::gateway::{Gateway, Parts};
use tidegate_gateway::http::{self, ApiKeys, Assets, Edge, Stopping};
use tidegate_gateway::metrics::Metrics;
use tidegate_gateway::origin::OriginPolicy;
use tidegate_gateway::settings::Settings;
use tidegate_gateway::transport::quic;
use tidegate_pipeline::presence::{Presence, memory};
use tidegate_pipeline::pusher::Pusher;
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::link;
use tidegate_pipeline::sequencer::Sequencer;
use tidegate_pipeline::store::Store;
use tidegate_pipeline::{log, metrics};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::Config;
use crate::config::limits::Limits;
use crate::store;
use bind::Bound;
pub(crate) use bind::unusable;

/// Serves until SIGTERM or SIGINT; `config.data` is this process's own.
pub(crate) async fn run(config: &Config) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut signals = Signals::listen()?;
    let bound = Bound::bind(&config.listen)?;
    let store = store::open(config).await?;
    let mut server = Server::assemble(config, &bound, store).await?;
    bound.log();
    server.listen(config, bound)?;
    info!(version = env!("CARGO_PKG_VERSION"), took_ms = ms(began.elapsed()), "serving");
    let reason = server.until_told(&mut signals).await?;
    info!(reason, sessions = server.gateway.hub().live(), served_ms = ms(began.elapsed()), "stopping");
    let stopping = Instant::now();
    server.stop(Duration::from_millis(config.stop.grace_ms.into())).await?;
    info!(took_ms = ms(stopping.elapsed()), "stopped");
    Ok(())
}

/// The signals that end the process; kept from the first moment on, so that none comes too early.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }
}

/// The parts that run.
struct Server {
    gateway: Gateway,
    backend: Backend,
    operator: Operator,
    store: Store,
    metrics: Metrics,
    certificates: Arc<CertResolver>,
    /// Ends what lets in: listeners, watchers.
    entrance: CancellationToken,
    /// Ends the services beside the sessions, once those are gone.
    services: CancellationToken,
    /// The first one to end ends the process.
    tasks: JoinSet<anyhow::Result<()>>,
    /// Ends by itself when nobody can append any more.
    sequencer: JoinSet<()>,
    setup: TaskTracker,
    endpoints: Vec<quinn::Endpoint>,
}

impl Server {
    async fn assemble(config: &Config, bound: &Bound, store: Store) -> anyhow::Result<Self> {
        let source = config.tls.source(&config.data);
        let certificates =
            Arc::new(CertResolver::open(source, SystemTime::now()).context("the certificate")?);
        let (auth, development) = auth(config, bound, &certificates)?;
        let presence = Presence::Memory(memory::Presence::default());
        let (log, reader) = log::embedded::open();
        let counted = metrics::Metrics::default();
        let metrics = Metrics::new(&counted);
        let mut registry = Registry::with_prefix("tidegate");
        counted.register(&mut registry);
        metrics.register(&mut registry);
        let log = log::Log::Embedded(log);
        let (local, receiver) = link::local(counted.link.clone());
        let depths = metrics::Depths { log: log.clone(), link: receiver.depth() };
        registry.register_collector(Box::new(depths));
        let own = Some((GATEWAY_ID.into(), local));
        let pusher = Pusher::new(presence.clone(), own, Dialer::default(), counted.pusher.clone());

        let gateway = Gateway::new(Parts {
            id: GATEWAY_ID.into(),
            // Pushers of other processes come with the pipeline.
            address: "".into(),
            public: "".into(),
            epoch: store.epoch().await.context("the store's epoch")?.into(),
            settings: settings(config),
            auth,
            log,
            store: store.clone(),
            presence,
            metrics: metrics.clone(),
        });
        let mut server = Self {
            operator: Operator::new(gateway.clone(), registry),
            backend: Backend::new(gateway.clone(), development),
            gateway,
            metrics,
            certificates,
            entrance: CancellationToken::new(),
            services: CancellationToken::new(),
            tasks: JoinSet::new(),
            sequencer: JoinSet::new(),
            setup: TaskTracker::new(),
            endpoints: Vec::new(),
            store,
        };
        let sequencer = Sequencer::new(server.store.clone(), pusher, counted);
        server.sequencer.spawn(sequencer.run(log::Reader::Embedded(reader)));
        server.start_services(config, receiver);
        Ok(server)
    }

    fn start_services(&mut self, config: &Config, receiver: link::Receiver) {
        let (gateway, stop) = (self.gateway.clone(), self.services.clone());
        self.tasks.spawn(async move {
            gateway.run(receiver, stop).await;
            Ok(())
        });
        let (certificates, stop) = (self.certificates.clone(), self.entrance.clone());
        self.tasks.spawn(async move {
            watch(certificates, CERTIFICATE_EVERY, stop).await;
            Ok(())
        });
        let (store, policy, stop) =
            (self.store.clone(), retention::policy(&config.retention), self.services.clone());
        self.tasks.spawn(async move {
            retention::run(&store, policy, &stop).await;
            Ok(())
        });
        let (store, stop) = (self.store.clone(), self.services.clone());
        self.tasks.spawn(async move {
            store.keep_up(&stop).await;
            Ok(())
        });
    }

    fn listen(&mut self, config: &Config, bound: Bound) -> anyhow::Result<()> {
        let origins = origins(config, &bound)?;
        let keys = config.api.all_keys().map_err(|invalid| anyhow::anyhow!("{invalid:?}"))?;
        let settings = http::Settings {
            origins: origins.clone(),
            api_keys: ApiKeys::new(keys.iter().map(|key| key.reveal())),
            development: config.is_development(),
            assets: Assets::new(assets::find),
        };
        let edge = Edge::new(self.gateway.clone(), self.backend.clone(), settings);
        let admission = self.admission(&config.limits);
        let tls = Arc::new(tidegate_certs::tls::tcp(self.certificates.clone(), &[b"http/1.1"]));
        bound.announce(config, &self.certificates.current());

        for (tcp, tls) in bound
            .plain
            .into_iter()
            .map(|tcp| (tcp, None))
            .chain(bound.secure.into_iter().map(|tcp| (tcp, Some(tls.clone()))))
        {
            let listener = http::Listener { tcp, tls, admission: admission.clone() };
            let stopping = Stopping { token: self.entrance.clone(), tracker: self.setup.clone() };
            let serve = http::serve(listener, edge.clone(), stopping);
            self.tasks.spawn(async move { serve.await.context("an HTTP listener failed") });
        }
        let keys = keys::open_or_make(&config.data)?;
        for udp in bound.udp {
            let edge = quic::bind(udp, self.certificates.clone(), &keys, QUIC_IDLE)?;
            self.endpoints.push(edge.endpoint.clone());
            let (origins, stop) = (origins.clone(), self.entrance.clone());
            let listener = quic::Listener {
                edge,
                admission: admission.clone(),
                limits: quic::Limits::default(),
                origin: Arc::new(move |origin| origins.allows(origin)),
                counters: self.metrics.quic().clone(),
                accept: self.gateway.clone(),
                tracker: self.setup.clone(),
            };
            self.tasks.spawn(async move {
                quic::serve(listener, stop).await;
                Ok(())
            });
        }
        self.listen_admin(bound.admin);
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

    /// Served to the last, so that operators see how the rest stops.
    fn listen_admin(&mut self, listeners: Vec<TcpListener>) {
        let edge = Edge::admin(self.gateway.clone(), self.backend.clone(), self.operator.clone());
        let limits = admission::Limits { connections: ADMIN_CONNECTIONS, per_address: 0 };
        let admission = Admission::new(limits, Gauge::default());
        for tcp in listeners {
            let listener = http::Listener { tcp, tls: None, admission: admission.clone() };
            let stopping = Stopping { token: self.services.clone(), tracker: self.setup.clone() };
            let serve = http::serve(listener, edge.clone(), stopping);
            self.tasks.spawn(async move { serve.await.context("the admin listener failed") });
        }
    }

    /// Waits for a signal; or for a part that ends before it should, which is an error.
    async fn until_told(&mut self, signals: &mut Signals) -> anyhow::Result<&'static str> {
        tokio::select! {
            _ = signals.terminate.recv() => Ok("SIGTERM"),
            _ = signals.interrupt.recv() => Ok("SIGINT"),
            ended = self.tasks.join_next() => {
                ended.context("no service runs")?.context("a service panicked")??;
                anyhow::bail!("a service ended by itself")
            }
            _ = self.sequencer.join_next() => anyhow::bail!("the sequencer ended by itself"),
        }
    }

    /// Nobody new, sessions sent away, connections closed, cursors and routes written, the log worked off, the store
    /// closed.
    async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        let stopped = timeout(grace, async {
            self.entrance.cancel();
            let spread_ms = i64::try_from(RECONNECT_SPREAD.as_millis()).unwrap_or(i64::MAX);
            self.gateway.drain(spread_ms).await;
            for endpoint in &self.endpoints {
                endpoint.close(quinn::VarInt::from_u32(4000), b"the gateway has stopped");
                endpoint.wait_idle().await;
            }
            self.setup.close();
            self.setup.wait().await;
            self.services.cancel();
            while let Some(ended) = self.tasks.join_next().await {
                ended.context("a service panicked")??;
            }
            // The last ones who could append: then the log ends, and with it the sequencer.
            drop((self.gateway, self.backend, self.operator));
            while self.sequencer.join_next().await.is_some() {}
            self.store.close().await.context("closing the store")
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

/// The configured verifier; or development mode's own.
fn auth(
    config: &Config,
    bound: &Bound,
    certificates: &Arc<CertResolver>,
) -> anyhow::Result<(Auth, Option<Development>)> {
    if let Some(auth) = config.auth.verifier().map_err(|invalid| anyhow::anyhow!("{invalid:?}"))? {
        return Ok((auth, None));
    }
    let signer = Signer::open_or_make(&config.data)?;
    let auth = signer.auth()?;
    let (webtransport, websocket) = bound.demo_urls();
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
    }
}

/// The server's own addresses, and those configured.
fn origins(config: &Config, bound: &Bound) -> anyhow::Result<OriginPolicy> {
    let mut origins = OriginPolicy::default();
    for port in bound.plain_ports() {
        origins.allow_loopback("http", port);
    }
    for port in bound.secure_ports() {
        origins.allow_loopback("https", port);
    }
    for origin in config.listen.allowed_origins.iter().chain(config.listen.public_urls.iter()) {
        origins.allow(origin.as_str())?;
    }
    Ok(origins)
}

/// Operators' connections at once, apart from those of clients.
const ADMIN_CONNECTIONS: usize = 16;
/// In one process there is one gateway.
const GATEWAY_ID: &str = "gateway-1";
const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);
/// How long a silent QUIC connection lives (docs/PROTOCOL.md "Heartbeat").
const QUIC_IDLE: Duration = Duration::from_secs(60);
/// Over how long sessions that are sent away come back.
const RECONNECT_SPREAD: Duration = Duration::from_secs(5);
