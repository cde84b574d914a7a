//! A scripted server on the loopback, over each transport: what a test needs of one, and nothing more.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tidegate_client::v1::{
    ClientFrame, ServerFrame, StreamHeader, client_frame, server_frame, stream_header,
};
use tidegate_client::{Config, Transport, Trust};
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

/// A listener of one transport.
pub(crate) struct Server {
    listener: Listener,
    transport: Transport,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
}

enum Listener {
    Quic(quinn::Endpoint),
    WebTransport(wtransport::Endpoint<wtransport::endpoint::endpoint_side::Server>),
    WebSocket(TcpListener, TlsAcceptor),
}

/// A connection that a client has opened, and its control stream.
pub(crate) struct Peer {
    control: Control,
    pub(crate) connection: Connection,
}

pub(crate) enum Connection {
    Quic(quinn::Connection),
    WebTransport(wtransport::Connection),
    WebSocket,
}

enum Control {
    Stream { writer: Writer, reader: Pin<Box<dyn AsyncRead + Send>>, buffer: BytesMut },
    Messages { stream: Box<WebSocketStream<Tls>>, buffer: BytesMut },
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;
pub(crate) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

impl Server {
    pub(crate) fn start(transport: Transport) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let tls = |alpn: &[u8]| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let mut tls = rustls::ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], key.clone_key())
                .unwrap();
            tls.alpn_protocols = vec![alpn.to_vec()];
            tls
        };
        let quic = |alpn: &[u8]| {
            quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls(alpn)).unwrap()))
        };
        let (listener, address) = match transport {
            Transport::Quic => {
                let endpoint = quinn::Endpoint::server(quic(tidegate_proto::ALPN), address).unwrap();
                let address = endpoint.local_addr().unwrap();
                (Listener::Quic(endpoint), address)
            }
            Transport::WebTransport => {
                let config = wtransport::ServerConfig::builder()
                    .with_bind_address(address)
                    .build_with_quic_config(quic(b"h3"));
                let endpoint = wtransport::Endpoint::server(config).unwrap();
                let address = endpoint.local_addr().unwrap();
                (Listener::WebTransport(endpoint), address)
            }
            Transport::WebSocket => {
                let listener = std::net::TcpListener::bind(address).unwrap();
                listener.set_nonblocking(true).unwrap();
                let address = listener.local_addr().unwrap();
                let listener = TcpListener::from_std(listener).unwrap();
                (Listener::WebSocket(listener, TlsAcceptor::from(Arc::new(tls(b"http/1.1")))), address)
            }
        };
        Self { listener, transport, address, certificate }
    }

    /// How a client gets here.
    pub(crate) fn config(&self) -> Config {
        Config::new(self.address.to_string()).transports([self.transport]).trust(Trust::CertHash(self.hash()))
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    /// The next connection with its control stream.
    pub(crate) async fn accept(&self) -> Peer {
        match &self.listener {
            Listener::Quic(endpoint) => {
                let connection = endpoint.accept().await.unwrap().await.unwrap();
                let (send, receive) = connection.accept_bi().await.unwrap();
                Peer::new(Control::stream(send, receive), Connection::Quic(connection))
            }
            Listener::WebTransport(endpoint) => {
                let request = endpoint.accept().await.await.unwrap();
                assert_eq!(request.path(), "/wt");
                let connection = request.accept().await.unwrap();
                let (send, receive) = connection.accept_bi().await.unwrap();
                Peer::new(Control::stream(send, receive), Connection::WebTransport(connection))
            }
            Listener::WebSocket(listener, tls) => {
                let tcp = listener.accept().await.unwrap().0;
                let tls = tls.accept(tcp).await.unwrap();
                let (request, stream) = ServerBuilder::new()
                    .add_header(
                        http::header::SEC_WEBSOCKET_PROTOCOL,
                        http::HeaderValue::from_static("tidegate.v1"),
                    )
                    .unwrap()
                    .accept(tls)
                    .await
                    .unwrap();
                assert_eq!(request.uri().path(), "/ws");
                assert_eq!(request.headers()[http::header::SEC_WEBSOCKET_PROTOCOL], "tidegate.v1");
                let stream = Box::new(stream);
                Peer::new(Control::Messages { stream, buffer: BytesMut::new() }, Connection::WebSocket)
            }
        }
    }

    /// The next connection, its Hello answered with a Welcome.
    pub(crate) async fn welcomed(&self) -> Peer {
        let mut peer = self.accept().await;
        let frame = peer.next().await;
        assert!(matches!(frame.kind, Some(client_frame::Kind::Hello(_))), "{frame:?}");
        peer.send(server_frame::Kind::Welcome(super::welcome())).await;
        peer
    }
}

impl Control {
    fn stream(writer: impl AsyncWrite + Send + 'static, reader: impl AsyncRead + Send + 'static) -> Self {
        Self::Stream { writer: Box::pin(writer), reader: Box::pin(reader), buffer: BytesMut::new() }
    }
}

impl Peer {
    fn new(control: Control, connection: Connection) -> Self {
        Self { control, connection }
    }

    pub(crate) async fn send(&mut self, kind: server_frame::Kind) {
        self.write(&frames(&[kind])).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        match &mut self.control {
            Control::Stream { writer, .. } => writer.write_all(bytes).await.unwrap(),
            Control::Messages { stream, .. } => {
                stream.send(Message::binary(Bytes::copy_from_slice(bytes))).await.unwrap();
            }
        }
    }

    /// The client's next frame; panics at the end.
    pub(crate) async fn next(&mut self) -> ClientFrame {
        self.try_next().await.expect("the client is there")
    }

    /// The client's next frame; `None` when the client has finished or closed.
    pub(crate) async fn try_next(&mut self) -> Option<ClientFrame> {
        loop {
            let (Control::Stream { buffer, .. } | Control::Messages { buffer, .. }) = &mut self.control;
            if let Some(frame) = split_frame(buffer, MAX_FRAME_BYTES).unwrap() {
                return Some(ClientFrame::decode(frame).unwrap());
            }
            match &mut self.control {
                Control::Stream { reader, buffer, .. } => {
                    if reader.read_buf(buffer).await.ok()? == 0 {
                        return None;
                    }
                }
                Control::Messages { stream, buffer } => {
                    let message = stream.next().await?.ok()?;
                    if message.is_close() {
                        return None;
                    }
                    *buffer = message.into_payload().into();
                }
            }
        }
    }

    /// Ends the control stream, as after a last frame.
    pub(crate) async fn finish(&mut self) {
        if let Control::Stream { writer, .. } = &mut self.control {
            writer.shutdown().await.unwrap();
        }
    }

    /// A uni stream with its header.
    pub(crate) async fn open(&self, header: stream_header::Kind) -> Writer {
        let mut stream: Writer = match &self.connection {
            Connection::Quic(connection) => Box::pin(connection.open_uni().await.unwrap()),
            Connection::WebTransport(connection) => {
                Box::pin(connection.open_uni().await.unwrap().await.unwrap())
            }
            Connection::WebSocket => panic!("a WebSocket has no streams"),
        };
        stream.write_all(&self::header(header)).await.unwrap();
        stream
    }
}

impl Connection {
    pub(crate) async fn datagram(&self) -> ClientFrame {
        let bytes = match self {
            Self::Quic(connection) => connection.read_datagram().await.unwrap(),
            Self::WebTransport(connection) => connection.receive_datagram().await.unwrap().payload(),
            Self::WebSocket => panic!("a WebSocket has no datagrams"),
        };
        ClientFrame::decode(bytes).unwrap()
    }

    pub(crate) fn send_datagram(&self, frame: &ServerFrame) {
        let bytes = Bytes::from(frame.encode_to_vec());
        match self {
            Self::Quic(connection) => connection.send_datagram(bytes).unwrap(),
            Self::WebTransport(connection) => connection.send_datagram(bytes).unwrap(),
            Self::WebSocket => panic!("a WebSocket has no datagrams"),
        }
    }

    /// The code the client closes with.
    pub(crate) async fn closed(&self) -> u64 {
        let connection = match self {
            Self::Quic(connection) => connection,
            Self::WebTransport(connection) => connection.quic_connection(),
            Self::WebSocket => panic!("a WebSocket's close is on its control stream"),
        };
        match connection.closed().await {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("{other}"),
        }
    }
}

/// The beginning of a uni stream.
pub(crate) fn header(kind: stream_header::Kind) -> BytesMut {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, &StreamHeader { kind: Some(kind) });
    bytes
}

/// Frames as they stand on a byte stream.
pub(crate) fn frames(kinds: &[server_frame::Kind]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for kind in kinds {
        put_frame(&mut bytes, &ServerFrame { id: 0, kind: Some(kind.clone()) });
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "a test has its own tasks")]
pub(crate) fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(future)
}
