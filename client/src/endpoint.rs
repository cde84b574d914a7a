//! The UDP sockets and TLS state under QUIC and WebTransport, of one client or shared by many.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::version::{TLS12, TLS13};
use socket2::SockRef;
use wtransport::config::{DnsLookupFuture, DnsResolver};
use wtransport::endpoint::endpoint_side::Client;

use crate::trust::{Trust, TrustError};

/// A UDP socket for each address family, opened at the first need, with the TLS configurations for it. Clients that
/// share one cost one socket together: thousands in one process should.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bind: Option<IpAddr>,
    state: Mutex<State>,
    names: Names,
}

#[derive(Default)]
struct State {
    quic: HashMap<Family, quinn::Endpoint>,
    web_transport: Vec<(Trust, Family, WebTransportEndpoint)>,
    tls: Vec<(Trust, Arc<Tls>)>,
}

/// What wtransport dials from.
pub(crate) type WebTransportEndpoint = Arc<wtransport::Endpoint<Client>>;

/// The configurations for one trust.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) quic: quinn::ClientConfig,
    pub(crate) web_transport: quinn::ClientConfig,
    pub(crate) web_socket: Arc<rustls::ClientConfig>,
}

/// Why there is no socket or no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The UDP socket cannot be had.
    #[error("cannot open a UDP socket")]
    Socket(#[from] io::Error),
    /// The trust is not usable.
    #[error("no TLS configuration")]
    Trust(#[from] TrustError),
}

impl Endpoint {
    /// Sends from the local address `bind`; from any when `None`.
    pub fn new(bind: Option<IpAddr>) -> Self {
        Self(Arc::new(Inner { bind, state: Mutex::default(), names: Names::default() }))
    }

    /// Moves the QUIC sockets to new local ports. The connections on them live on: the server sees them migrate.
    /// Those of WebTransport stay where they are.
    pub fn rebind(&self) -> io::Result<()> {
        for (family, endpoint) in &self.lock().quic {
            endpoint.rebind(self.socket(*family)?)?;
        }
        Ok(())
    }

    /// The QUIC endpoint for a server at `address`.
    pub(crate) fn quic(&self, address: SocketAddr) -> Result<quinn::Endpoint, EndpointError> {
        let family = Family::of(address);
        let mut state = self.lock();
        if let Some(endpoint) = state.quic.get(&family) {
            return Ok(endpoint.clone());
        }
        let socket = self.socket(family)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?;
        state.quic.insert(family, endpoint.clone());
        Ok(endpoint)
    }

    /// The WebTransport endpoint for a server at `address`, which the URL names `host`.
    pub(crate) fn web_transport(
        &self,
        trust: &Trust,
        host: &str,
        address: SocketAddr,
    ) -> Result<WebTransportEndpoint, EndpointError> {
        self.0.names.set(format!("{host}:{}", address.port()), address);
        let tls = self.tls(trust)?;
        let family = Family::of(address);
        let mut state = self.lock();
        let same = |entry: &&(Trust, Family, _)| entry.0 == *trust && entry.1 == family;
        if let Some((_, _, endpoint)) = state.web_transport.iter().find(same) {
            return Ok(endpoint.clone());
        }
        let mut config = wtransport::ClientConfig::builder()
            .with_bind_socket(self.socket(family)?)
            .build_with_quic_config(tls.web_transport.clone());
        config.set_dns_resolver(self.0.names.clone());
        let endpoint = Arc::new(wtransport::Endpoint::client(config)?);
        state.web_transport.push((trust.clone(), family, endpoint.clone()));
        Ok(endpoint)
    }

    /// The TLS configurations for `trust`, made once.
    pub(crate) fn tls(&self, trust: &Trust) -> Result<Arc<Tls>, TrustError> {
        let mut state = self.lock();
        if let Some((_, tls)) = state.tls.iter().find(|(known, _)| known == trust) {
            return Ok(tls.clone());
        }
        let tls = Arc::new(Tls {
            quic: quic_config(trust.tls(tidegate_proto::ALPN, &[&TLS13])?)?,
            web_transport: quic_config(trust.tls(H3_ALPN, &[&TLS13])?)?,
            web_socket: Arc::new(trust.tls(HTTP1_ALPN, &[&TLS13, &TLS12])?),
        });
        state.tls.push((trust.clone(), tls.clone()));
        Ok(tls)
    }

    /// A new socket with room for what many connections get at once; the system grants what it allows.
    fn socket(&self, family: Family) -> io::Result<UdpSocket> {
        let any = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind(SocketAddr::new(self.0.bind.unwrap_or(any), 0))?;
        let room = SockRef::from(&socket);
        for result in
            [room.set_recv_buffer_size(SOCKET_BUFFER_BYTES), room.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
        {
            if let Err(error) = result {
                tracing::debug!(%error, "the UDP socket keeps its buffer size");
            }
        }
        Ok(socket)
    }

    /// A panic of another holder leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("quic", &self.quic).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Gives wtransport the addresses that were resolved already, so that the URL can have the name on the certificate.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, SocketAddr>>>);

impl Names {
    fn set(&self, name: String, address: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, address);
    }
}

impl DnsResolver for Names {
    fn resolve(&self, host: &str) -> Pin<Box<dyn DnsLookupFuture>> {
        let address = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        let found: Pin<Box<dyn Future<Output = io::Result<Option<SocketAddr>>> + Send>> =
            Box::pin(std::future::ready(Ok(address)));
        Box::pin(found)
    }
}

fn quic_config(tls: rustls::ClientConfig) -> Result<quinn::ClientConfig, TrustError> {
    let crypto = QuicClientConfig::try_from(tls)
        .expect("aws-lc-rs has TLS13_AES_128_GCM_SHA256, the one suite that QUIC needs");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config()));
    Ok(config)
}

fn transport_config() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_uni_streams(VarInt::from_u32(SERVER_UNI_STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    transport
}

const H3_ALPN: &[u8] = b"h3";
const HTTP1_ALPN: &[u8] = b"http/1.1";
const IDLE_TIMEOUT_MS: u32 = 60_000;
/// Three frames of the largest size: what one lane may have on its way.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const SEND_WINDOW_BYTES: u64 = 256 * 1024;
/// Eight lanes, an answer to a Pull or two, and the three of HTTP/3.
const SERVER_UNI_STREAMS: u32 = 16;
const DATAGRAM_BUFFER_BYTES: usize = 64 * 1024;
/// 900 packets as the system counts them, some 2,300 bytes each. What does not fit is lost, and a lost packet of a
/// handshake costs a second.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024 * 1024;
