//! The endpoint's configuration: TLS, keys, windows and limits, each with its arithmetic.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use aws_lc_rs::{hkdf, hmac};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, Endpoint, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, Runtime as _,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::server::ResolvesServerCert;
use socket2::SockRef;

use super::unproven::{LimitedSocket, Unproven};

/// Keys that are kept over restarts, so that a client's tokens stay good and it learns at once that a connection is
/// gone. 64 bytes of randomness each.
#[derive(Clone)]
pub struct Keys {
    /// Signs Retry and NEW_TOKEN.
    pub token: [u8; 64],
    /// Makes the tokens of stateless resets.
    pub reset: [u8; 64],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The TLS settings do not go together.
    #[error("TLS for QUIC cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The crypto provider lacks what QUIC's first packets need.
    #[error("the crypto provider lacks TLS13_AES_128_GCM_SHA256")]
    Suite(#[from] NoInitialCipherSuite),
    /// The socket cannot be used.
    #[error("the UDP socket cannot be used")]
    Socket(#[from] io::Error),
}

/// A bound socket that speaks QUIC.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The endpoint; closing it is its owner's.
    pub endpoint: Endpoint,
    /// Which addresses are not shown to be their sender's.
    pub(super) unproven: Arc<Unproven>,
}

/// Makes a bound socket speak QUIC. Call it within a tokio runtime.
///
/// `certificates` is asked at every handshake, so a reloaded certificate needs nothing else.
pub fn bind(
    socket: UdpSocket,
    certificates: Arc<dyn ResolvesServerCert>,
    keys: &Keys,
    idle_timeout: Duration,
) -> Result<Edge, ConfigError> {
    widen_buffers(&socket);
    let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&keys.token);
    let mut server = ServerConfig::new(Arc::new(crypto(certificates)?), Arc::new(token_key));
    server
        .transport_config(Arc::new(transport(idle_timeout)))
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER_BYTES)
        .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * MAX_INCOMING as u64);
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &keys.reset);
    // By default drawn anew at each start; then the ids of an earlier life would be dropped in silence, without a reset.
    let id_key = connection_id_key(&reset_key);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    let (runtime, unproven) = (Arc::new(TokioRuntime), Arc::new(Unproven::default()));
    let socket = LimitedSocket::new(runtime.wrap_udp_socket(socket)?, unproven.clone());
    let endpoint = Endpoint::new_with_abstract_socket(config, Some(server), Arc::new(socket), runtime)?;
    Ok(Edge { endpoint, unproven })
}

/// The connection's receive window from Welcome on, set per connection then.
pub(super) const OPEN_RECEIVE_WINDOW_BYTES: VarInt = VarInt::from_u32(256 * 1024);

/// What connection ids are recognized by. It says nothing of the key it comes from, which must stay secret.
fn connection_id_key(reset_key: &hmac::Key) -> u64 {
    let tag = hmac::sign(reset_key, b"connection ids");
    let first = tag.as_ref().first_chunk().expect("HMAC-SHA256 has 32 bytes");
    u64::from_le_bytes(*first)
}

fn crypto(certificates: Arc<dyn ResolvesServerCert>) -> Result<QuicServerConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    tls.alpn_protocols = vec![tidegate_proto::ALPN.to_vec(), wtransport_proto::WEBTRANSPORT_ALPN.to_vec()];
    tls.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(QuicServerConfig::try_from(tls)?)
}

fn transport(idle_timeout: Duration) -> TransportConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(ACK_EVERY);
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.minimum_change(MTU_STEP_BYTES);
    let idle = IdleTimeout::try_from(idle_timeout).unwrap_or_else(|_| VarInt::MAX.into());
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(MAX_BIDI_STREAMS)
        .max_concurrent_uni_streams(MAX_UNI_STREAMS)
        .max_idle_timeout(Some(idle))
        .stream_receive_window(STREAM_RECEIVE_WINDOW_BYTES)
        .receive_window(HELLO_RECEIVE_WINDOW_BYTES)
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(false)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        .mtu_discovery_config(Some(mtu))
        .ack_frequency_config(Some(acks))
        .keep_alive_interval(None);
    config
}

/// Asks for room for a burst; the system grants what it allows, and works with less.
fn widen_buffers(socket: &UdpSocket) {
    let socket = SockRef::from(socket);
    for result in
        [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
    {
        if let Err(error) = result {
            tracing::debug!(%error, "the UDP socket keeps its buffer size");
        }
    }
}

/// Each allowed stream is paid for when the connection is born. WebTransport needs two (the request and the control
/// stream) and may waste two.
const MAX_BIDI_STREAMS: VarInt = VarInt::from_u32(4);
/// HTTP/3 has three of the client's (control, QPACK encoder and decoder) and one to try reserved types with.
const MAX_UNI_STREAMS: VarInt = VarInt::from_u32(4);
/// One frame of 72 KiB fits, so that a frame never waits for a round trip.
const STREAM_RECEIVE_WINDOW_BYTES: VarInt = VarInt::from_u32(128 * 1024);
/// What somebody unknown may make us hold: a Hello of 8 KiB, or a request of 16 KiB, and HTTP/3's settings.
const HELLO_RECEIVE_WINDOW_BYTES: VarInt = VarInt::from_u32(32 * 1024);
/// What a connection may have unacknowledged: 20 Mbit/s at 100 ms. More would only hide a slow client from its feed.
const SEND_WINDOW_BYTES: u64 = 256 * 1024;
/// 28 signals of the largest size; the oldest are dropped.
const DATAGRAM_BUFFER_BYTES: usize = 32 * 1024;
/// A client's handshake messages are below 2 KiB, with post-quantum key shares below 4 KiB.
const CRYPTO_BUFFER_BYTES: usize = 8 * 1024;
/// Handshakes that arrived and are not begun. One takes 0.7 ms with its session, so the last one waits 0.7 s on one core:
/// less than the second after which a client sends again what is dropped here.
const MAX_INCOMING: usize = 1_024;
/// The packets of one such handshake: a ClientHello takes two of 1,200 bytes.
const INCOMING_BUFFER_BYTES: u64 = 8 * 1024;
/// 3,000 packets of 1,400 bytes: what arrives in 10 ms at 300,000 a second.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How exactly the largest packet of a path is looked for: two probes for each new connection; with the default of 20 it
/// is five, for 3 % less bytes.
const MTU_STEP_BYTES: u16 = 64;
/// Our own clients acknowledge every 11th packet, or after 25 ms.
const ACK_EVERY: VarInt = VarInt::from_u32(10);
