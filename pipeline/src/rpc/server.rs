//! The gRPC server: whatever services a process has, with health and reflection, behind one guard.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::Server as Transport;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder as Reflection;
use tracing::warn;

use super::guard::Guard;
use super::incoming::Listeners;
use super::metrics::Metrics;
use super::security::{
    CONNECTION_WINDOW_BYTES, KEEP_ALIVE_EVERY, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES, Security, Tls,
};

/// A server in the making.
#[derive(Debug)]
pub struct Server {
    routes: Routes,
    names: Vec<&'static str>,
    health: HealthReporter,
    security: Security,
    metrics: Metrics,
}

/// Tells probers whether requests should come here.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

/// The server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport gave up.
    #[error("gRPC cannot be served")]
    Transport(#[source] tonic::transport::Error),
    /// The program's own description of its services is damaged.
    #[error("the services cannot be described")]
    Reflection(#[source] tonic_reflection::server::Error),
}

impl Server {
    /// A server without services.
    pub fn new(security: Security, metrics: Metrics) -> Self {
        let health = HealthReporter::new();
        Self { routes: Routes::default(), names: Vec::new(), health, security, metrics }
    }

    /// With one more service.
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        self.names.push(S::NAME);
        self.routes = self.routes.add_service(service);
        self
    }

    /// To be told when the process stops, before its sessions are sent away. Made when all services are there.
    pub fn health(&self) -> Health {
        Health { reporter: self.health.clone(), names: self.names.clone() }
    }

    /// Serves on all `listeners` until `stop`, which also takes it out of health; then requests under way are finished,
    /// for a while, and every connection ends. Without listeners it only waits for `stop`.
    pub async fn serve(self, listeners: Vec<TcpListener>, stop: CancellationToken) -> Result<(), ServeError> {
        let health = self.health();
        health.set(true).await;
        if listeners.is_empty() {
            stop.cancelled().await;
            return Ok(());
        }
        let mut tls = self.security.tls();
        let Guarded { service, metrics } = self.guard()?;
        let cut = CancellationToken::new();
        let listeners = Listeners::new(listeners, MAX_CONNECTIONS, &metrics, &cut);
        // tonic serves with one certificate. With a renewed one another life begins on the same listeners; the one before
        // takes no more connections, and ends when those that it has are done.
        let live = |tls: &Tls, renewed: &CancellationToken| {
            let incoming = listeners.clone().incoming().take_until(renewed.clone().cancelled_owned());
            let stopped = stop.clone().cancelled_owned();
            let transport = transport(tls)?;
            Ok(Box::pin(transport.serve_with_incoming_shutdown(service.clone(), incoming, stopped)))
        };
        let mut renewed = CancellationToken::new();
        let mut lives = FuturesUnordered::new();
        lives.push(live(&tls.borrow_and_update().clone(), &renewed)?);
        let mut overdue = pin!(async {
            stop.cancelled().await;
            health.set(false).await;
            sleep(GRACE).await;
        });
        loop {
            tokio::select! {
                Some(ended) = lives.next() => ended.map_err(ServeError::Transport)?,
                Ok(()) = tls.changed(), if !stop.is_cancelled() => {
                    let next = CancellationToken::new();
                    lives.push(live(&tls.borrow_and_update().clone(), &next)?);
                    std::mem::replace(&mut renewed, next).cancel();
                }
                () = &mut overdue, if !cut.is_cancelled() => {
                    warn!("gRPC: calls under way are cut off");
                    cut.cancel();
                }
            }
            if lives.is_empty() {
                return Ok(());
            }
        }
    }

    fn guard(self) -> Result<Guarded, ServeError> {
        let reflection = || {
            let builder = Reflection::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name(HEALTH);
            self.names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
        };
        let routes = self
            .routes
            .add_service(tonic_health::pb::health_server::HealthServer::new(
                tonic_health::server::HealthService::from_health_reporter(self.health),
            ))
            .add_service(reflection().build_v1().map_err(ServeError::Reflection)?)
            .add_service(reflection().build_v1alpha().map_err(ServeError::Reflection)?)
            .prepare();
        let service = Guard::new(routes, self.security, self.metrics.clone());
        Ok(Guarded { service, metrics: self.metrics })
    }
}

struct Guarded {
    service: Guard,
    metrics: Metrics,
}

impl Health {
    /// Whether requests should come here, for every service and for the process.
    pub async fn set(&self, serves: bool) {
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in self.names.iter().chain(&[PROCESS]) {
            self.reporter.set_service_status(*name, status).await;
        }
    }
}

fn transport(tls: &Tls) -> Result<Transport, ServeError> {
    let transport = Transport::builder()
        .timeout(REQUEST_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_BYTES);
    match &tls.server {
        Some(tls) => transport.tls_config(tls.clone()).map_err(ServeError::Transport),
        None => Ok(transport),
    }
}

/// All of ours, written by the build.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/services.bin"));
/// gRPC's name for the health service.
const HEALTH: &str = "grpc.health.v1.Health";
/// gRPC's name for the process as a whole.
const PROCESS: &str = "";
/// The largest request of a backend: a frame's limit.
pub const MAX_REQUEST_BYTES: usize = MAX_FRAME_BYTES;
/// A little more than the log's own limit of 10 s (ARCHITECTURE.md "A message's way").
const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);
/// Connections at once, of pushers and backends: each keeps one. A descriptor each.
const MAX_CONNECTIONS: usize = 1_024;
/// How long calls under way may take at the end.
const GRACE: Duration = Duration::from_secs(3);
/// Of one connection at once.
const MAX_STREAMS: u32 = 256;
/// Of one request: a token and what a client's library adds.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
