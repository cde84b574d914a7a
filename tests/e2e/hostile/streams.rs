//! Raw QUIC and WebTransport by hand, on quinn: every byte above QUIC is written here.

use std::fs;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tidegate_client::Transport;

use crate::server::Server;

/// A connection with its control stream.
pub(super) struct Streams {
    _endpoint: Endpoint,
    pub(super) connection: Connection,
    /// What HTTP/3 needs to stay open: the client's control stream and the request.
    _kept: Option<(SendStream, SendStream, RecvStream)>,
    pub(super) control: (SendStream, RecvStream),
}

impl Streams {
    /// Connects and opens the control stream, within a WebTransport session for that transport.
    pub(super) async fn open(server: &Server, transport: Transport, config: TransportConfig) -> Self {
        if transport == Transport::Quic {
            let (endpoint, connection) = connect(server, b"tidegate/1", config).await.unwrap();
            let control = connection.open_bi().await.unwrap();
            return Self { _endpoint: endpoint, connection, _kept: None, control };
        }
        let (endpoint, connection) = connect(server, b"h3", config).await.unwrap();
        let mut settings = connection.open_uni().await.unwrap();
        settings.write_all(&SETTINGS).await.unwrap();
        let (mut request, mut answer) = connection.open_bi().await.unwrap();
        request.write_all(&headers(&connect_fields("/wt"))).await.unwrap();
        // HEADERS, its length, and in it the status.
        let mut head = [0; 2];
        answer.read_exact(&mut head).await.unwrap();
        let mut fields = vec![0; usize::from(head[1])];
        answer.read_exact(&mut fields).await.unwrap();
        assert!(head[0] == 1 && fields.ends_with(&STATUS_200), "{fields:x?}");
        let mut control = connection.open_bi().await.unwrap();
        // A stream of session 0, the number of the request's stream.
        control.0.write_all(&[0x40, 0x41, 0]).await.unwrap();
        Self { _endpoint: endpoint, connection, _kept: Some((settings, request, answer)), control }
    }

    /// What comes next on the control stream; `None` at its end.
    pub(super) async fn read(&mut self) -> Option<Vec<u8>> {
        let chunk = self.control.1.read_chunk(usize::MAX, true).await.ok()??;
        Some(chunk.bytes.to_vec())
    }

    /// The code with which the server closes, which it does sooner when it sees that the client has nothing more.
    pub(super) async fn closed(mut self) -> Option<u32> {
        let _ = self.control.0.finish();
        closed(&self.connection).await
    }
}

/// The code with which the server closes. `None` when it got lost: quinn forgets the close that it has just read when a
/// stateless reset, the answer to a packet that was late, is behind it.
pub(super) async fn closed(connection: &Connection) -> Option<u32> {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            Some(u32::try_from(close.error_code.into_inner()).unwrap())
        }
        ConnectionError::Reset => None,
        other => panic!("not closed by the server: {other:?}"),
    }
}

/// A connection without a stream, from a socket of its own.
pub(super) async fn connect(
    server: &Server,
    alpn: &[u8],
    config: TransportConfig,
) -> Result<(Endpoint, Connection), ConnectionError> {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let config = client_config(server, alpn, config);
    let connection = endpoint.connect_with(config, server.secure, "localhost").unwrap().await?;
    Ok((endpoint, connection))
}

/// A client that trusts the server's own certificate.
pub(super) fn client_config(server: &Server, alpn: &[u8], transport: TransportConfig) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(server.data().join("dev-cert.pem")).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(transport));
    config
}

/// The fields of a request for a session.
pub(super) fn connect_fields(path: &str) -> [(&str, &str); 5] {
    [
        (":method", "CONNECT"),
        (":protocol", "webtransport"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// A HEADERS frame, with every field as literals.
pub(super) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        put_string(&mut section, 0x20, 3, name);
        put_string(&mut section, 0, 7, value);
    }
    let mut frame = vec![1];
    // A length of four bytes.
    frame.extend_from_slice(&(0x8000_0000 | u32::try_from(section.len()).unwrap()).to_be_bytes());
    frame.extend_from_slice(&section);
    frame
}

/// A string with its length as a prefixed integer (RFC 7541, section 5.1).
fn put_string(out: &mut Vec<u8>, flags: u8, prefix_bits: u32, text: &str) {
    let max = (1usize << prefix_bits) - 1;
    if text.len() < max {
        out.push(flags | text.len() as u8);
    } else {
        out.push(flags | max as u8);
        let mut rest = text.len() - max;
        while rest >= 128 {
            out.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text.as_bytes());
}

/// A close code that is nobody's.
pub(super) const NO_CODE: VarInt = VarInt::from_u32(0);
/// The control stream with SETTINGS: extended CONNECT, datagrams, WebTransport.
pub(super) const SETTINGS: [u8; 12] = [0, 4, 9, 0x08, 1, 0x33, 1, 0xab, 0x60, 0x37, 0x42, 1];
/// The value of `:status` as the server writes it: two bytes in Huffman's code.
const STATUS_200: [u8; 3] = [0x82, 0x10, 0x01];
