//! Listeners of the HTTP edge: accepts within the limits, does TLS, serves HTTP/1.1 and hands upgraded sockets on.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stream::Stream;
use super::upgrade::Connection;
use super::{Edge, Refusals};
use crate::admission::{Admission, Admitted};
use crate::quoted::Quoted;
use crate::transport::Accept;

/// Where connections come from.
#[derive(Debug)]
pub struct Listener {
    /// A bound socket.
    pub tcp: TcpListener,
    /// The certificate and ALPN `http/1.1`; without it connections are plain.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Who gets a connection; upgraded ones count as long as they live. Listeners of all transports share it.
    pub admission: Admission,
}

/// How a listener ends.
#[derive(Debug, Clone)]
pub struct Stopping {
    /// Cancelled: nothing more is accepted, requests in hand are finished.
    pub token: CancellationToken,
    /// Holds a task for each connection up to its upgrade.
    pub tracker: TaskTracker,
}

/// Serves until it is stopped; fails only if the listener does.
pub async fn serve<A: Accept, B: Refusals>(
    listener: Listener,
    edge: Edge<A, B>,
    stopping: Stopping,
) -> io::Result<()> {
    let local_port = listener.tcp.local_addr()?.port();
    let mut pause = Pause::default();
    let mut said: Option<Instant> = None;
    let stopped = stopping.token.clone().cancelled_owned();
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            () = &mut stopped => return Ok(()),
        };
        let (tcp, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let Some(wait) = pause.next(&error) else { continue };
                edge.backend.refused("accept");
                // Whoever takes the last descriptor again and again shall not fill the log.
                if said.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
                    tracing::error!(%error, "accepting pauses");
                    said = Some(Instant::now());
                }
                tokio::select! {
                    () = sleep(wait) => continue,
                    () = &mut stopped => return Ok(()),
                }
            }
        };
        pause = Pause::default();
        let admitted = match listener.admission.try_admit(remote.ip()) {
            Ok(admitted) => admitted,
            Err(full) => {
                edge.backend.refused(full.label());
                refuse(tcp);
                continue;
            }
        };
        let worker = Worker { edge: edge.clone(), remote, local_port, token: stopping.token.clone() };
        stopping.tracker.spawn(worker.run(tcp, admitted, listener.tls.clone()));
    }
}

/// Closes with a reset, so that nothing is left of the connection in the system either.
fn refuse(tcp: TcpStream) {
    // It cannot fail on an open socket; without it the socket is closed all the same.
    let _ = tcp.set_zero_linger();
    drop(tcp);
}

/// How long accepting pauses after an error: doubling while errors follow each other.
#[derive(Debug, Default)]
struct Pause(u32);

impl Pause {
    /// `None` for the error of one connection, not of the listener.
    fn next(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return None;
        }
        let pause = MIN_PAUSE * 2u32.pow(self.0.min(4));
        self.0 += 1;
        Some(pause.min(MAX_PAUSE))
    }
}

/// A connection from its accept to its end or its upgrade.
struct Worker<A, B> {
    edge: Edge<A, B>,
    remote: SocketAddr,
    local_port: u16,
    token: CancellationToken,
}

impl<A: Accept, B: Refusals> Worker<A, B> {
    async fn run(self, tcp: TcpStream, admitted: Admitted, tls: Option<Arc<rustls::ServerConfig>>) {
        tune(&tcp);
        let secure = tls.is_some();
        let stream = match tls {
            None => Stream::plain(tcp, admitted),
            Some(config) => {
                let handshake = timeout(TLS_TIMEOUT, TlsAcceptor::from(config).accept(tcp));
                match self.token.run_until_cancelled(handshake).await {
                    Some(Ok(Ok(tls))) => Stream::tls(tls, admitted),
                    Some(Ok(Err(error))) => {
                        tracing::debug!(remote = %self.remote, error = %Quoted(error), "TLS handshake failed");
                        return self.edge.backend.refused("tls");
                    }
                    Some(Err(_)) => return self.edge.backend.refused("tls_timeout"),
                    // Nobody new is served any more.
                    None => return,
                }
            }
        };
        let connection =
            Connection { local_port: self.local_port, secure, granted: Arc::new(Mutex::new(None)) };
        self.serve_http(stream, connection.clone()).await;
        let granted = connection.granted.lock().take();
        if let Some(granted) = granted
            && let Ok(Some(websocket)) = timeout(UPGRADE_TIMEOUT, granted.into_websocket(self.remote)).await
        {
            self.edge.accept.accept(websocket);
        }
    }

    async fn serve_http(&self, stream: Stream, connection: Connection) {
        let service = with_connection(&self.edge.router, connection);
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut http = pin!(http);
        let served = tokio::select! {
            served = &mut http => Some(served),
            () = self.token.cancelled() => None,
            () = sleep(CONNECTION_LIFETIME) => None,
        };
        let served = match served {
            Some(served) => served,
            None => {
                http.as_mut().graceful_shutdown();
                timeout(FINISH_TIMEOUT, http).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = served {
            tracing::debug!(remote = %self.remote, error = %Quoted(&error), "HTTP connection ended");
            self.edge.backend.refused("http");
        }
    }
}

/// Sets what a socket for messages needs. Neither can fail on an open socket; without them it still works.
pub(super) fn tune(tcp: &TcpStream) {
    // A message waits for no other to fill a packet.
    let _ = tcp.set_nodelay(true);
    // What a slow client does not take stays in its bounded queue and not in megabytes of the system's.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(MAX_UNSENT_BYTES);
}

/// The routes, each request with the connection it came by.
fn with_connection(
    router: &Router,
    connection: Connection,
) -> impl hyper::service::Service<hyper::Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
{
    let router = TowerToHyperService::new(router.clone());
    service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request;
        request.extensions_mut().insert(connection.clone());
        router.call(request)
    })
}

/// How much the system takes of what cannot be sent yet. It takes more when most of that is sent, which a client at
/// 1 KiB a second must reach well within the minute after which it counts as taking nothing.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT_BYTES: u32 = 16 * 1024;
/// How long a client may take for its TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request, and how long a connection may idle between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head of a request: a token in the path and cookies of other servers on localhost fit in.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most header fields.
const MAX_HEADERS: usize = 64;
/// How long a connection may be used for HTTP: a client that takes its answer a byte at a time ends here.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(120);
/// How long the request in hand has when HTTP is to end: half of the time a server has to stop, by default.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the hand-over of a socket may take after its 101.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after an error of the listener, such as no descriptors.
const MIN_PAUSE: Duration = Duration::from_millis(100);
/// How often the log says so, at most.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test]
    async fn the_system_takes_little_for_a_client_that_reads_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        tune(&tcp);
        let mut taken = 0;
        tcp.writable().await.unwrap();
        while let Ok(bytes) = tcp.try_write(&[0; 16 * 1024]) {
            taken += bytes;
        }
        assert!(taken < 1 << 20, "{taken} bytes");
        drop(client);
    }

    #[test]
    fn accepting_pauses_longer_and_longer_but_not_for_the_error_of_one_connection() {
        let none_left = io::Error::from_raw_os_error(24);
        let mut pause = Pause::default();
        let pauses: Vec<u128> = (0..6).map(|_| pause.next(&none_left).unwrap().as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(pause.next(&aborted), None);
    }
}
