//! A listener on loopback whose sessions are scripted by the test, and clients for it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use prometheus_client::metrics::gauge::Gauge;
use prost::Message;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tidegate_pipeline::body::Body;
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::v1::{
    ClientFrame, CloseCode, Error, Msg, ServerFrame, Signal, client_frame, server_frame,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::{Counters, Keys, Limits, Listener, OriginCheck, bind, serve};
use crate::admission::{self, Admission};
use crate::transport::{Accept, Event, Info, Outgoing, PathStats, Transport};

/// Ends a test that hangs; no verdict hangs on it otherwise.
pub(crate) const HANG: Duration = Duration::from_secs(30);

/// Of a listener, if nothing else is said.
pub(crate) const KEYS: Keys = Keys { token: [1; 64], reset: [2; 64] };

/// A listener and what belongs to it.
pub(crate) struct Rig {
    pub(crate) server: Endpoint,
    pub(crate) address: SocketAddr,
    pub(crate) counters: Counters,
    pub(crate) tracker: TaskTracker,
    pub(crate) cancel: CancellationToken,
    pub(crate) certificate: CertificateDer<'static>,
    /// Connections that hold a place.
    pub(crate) live: Gauge,
    sessions: mpsc::Receiver<Scripted>,
}

/// The server's end of a connection, driven by the test.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) info: Info,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
}

/// The figures of a transport.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) queued: usize,
    pub(crate) written: u64,
    pub(crate) path: Option<PathStats>,
}

enum Command {
    Send(Outgoing),
    Open(usize, u32, bool),
    Read(bool),
    Figures(oneshot::Sender<Figures>),
    Close(CloseCode, ServerFrame),
}

#[derive(Clone)]
struct Script(mpsc::Sender<Scripted>, TaskTracker);

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), Arc::new(|_| true))
    }

    pub(crate) fn with(limits: Limits, origin: OriginCheck) -> Self {
        let places = admission::Limits { connections: 100_000, per_address: 0 };
        Self::with_all(limits, places, origin, &KEYS)
    }

    pub(crate) fn with_all(
        limits: Limits,
        places: admission::Limits,
        origin: OriginCheck,
        keys: &Keys,
    ) -> Self {
        let signed =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = signed.cert.der().clone();
        let key =
            rustls::pki_types::PrivateKeyDer::from_pem_slice(signed.signing_key.serialize_pem().as_bytes());
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.unwrap()).unwrap();
        let certified = CertifiedKey::new(vec![certificate.clone()], signing);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let idle = Duration::from_secs(60);
        let edge = bind(socket, Arc::new(SingleCertAndKey::from(certified)), keys, idle).unwrap();
        let server = edge.endpoint.clone();
        let (sender, sessions) = mpsc::channel(64);
        let live = Gauge::default();
        let (tracker, cancel, counters) = (TaskTracker::new(), CancellationToken::new(), Counters::default());
        let listener = Listener {
            edge,
            admission: Admission::new(places, live.clone()),
            limits,
            origin,
            counters: counters.clone(),
            accept: Script(sender, tracker.clone()),
            tracker: tracker.clone(),
        };
        #[expect(clippy::disallowed_methods, reason = "the assembly's part, in tests")]
        tokio::spawn(serve(listener, cancel.clone()));
        let address = server.local_addr().unwrap();
        Self { server, address, counters, tracker, cancel, certificate, live, sessions }
    }

    /// The next set-up connection.
    pub(crate) async fn session(&mut self) -> Scripted {
        timeout(HANG, self.sessions.recv()).await.expect("no session came").unwrap()
    }

    /// Whether no session has come so far.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.sessions.try_recv().is_err()
    }

    /// TLS of a client that trusts the listener's certificate.
    pub(crate) fn tls(&self, alpn: &[u8]) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls
    }

    pub(crate) fn client_config(&self, alpn: &[u8], transport: TransportConfig) -> ClientConfig {
        let tls = QuicClientConfig::try_from(self.tls(alpn)).unwrap();
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(transport));
        config
    }

    /// A connection from a socket of its own.
    pub(crate) async fn try_connect(
        &self,
        alpn: &[u8],
        transport: TransportConfig,
    ) -> Result<(Endpoint, Connection), ConnectionError> {
        let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = self.client_config(alpn, transport);
        let connecting = client.connect_with(config, self.address, "localhost").unwrap();
        timeout(HANG, connecting).await.expect("no handshake").map(|connection| (client, connection))
    }

    /// A raw QUIC client with its control stream, and the server's end.
    pub(crate) async fn raw(&mut self) -> (Client, Scripted) {
        self.raw_with(TransportConfig::default()).await
    }

    pub(crate) async fn raw_with(&mut self, transport: TransportConfig) -> (Client, Scripted) {
        let (endpoint, connection) =
            self.try_connect(tidegate_proto::ALPN, transport).await.expect("a connection");
        let (send, recv) = connection.open_bi().await.unwrap();
        let mut client = Client { endpoint, connection, send, control: Frames::new(recv) };
        // A stream is there for the server when something is on it.
        client.send(&signal("first", 0)).await;
        let mut session = self.session().await;
        assert_eq!(session.frame().await, signal("first", 0));
        (client, session)
    }
}

/// A raw QUIC client.
pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) control: Frames,
}

impl Client {
    pub(crate) async fn send(&mut self, frame: &ClientFrame) {
        self.send.write_all(&encoded(frame)).await.unwrap();
    }
}

/// A stream of length-delimited frames.
pub(crate) struct Frames {
    pub(crate) recv: RecvStream,
    buf: BytesMut,
}

impl Frames {
    pub(crate) fn new(recv: RecvStream) -> Self {
        Self { recv, buf: BytesMut::new() }
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Option<M> {
        loop {
            if let Some(frame) = split_frame(&mut self.buf, 1 << 20).unwrap() {
                return Some(M::decode(frame).unwrap());
            }
            let chunk = timeout(HANG, self.recv.read_chunk(usize::MAX, true)).await.expect("nothing came");
            self.buf.extend_from_slice(&chunk.expect("the stream is whole")?.bytes);
        }
    }
}

impl Scripted {
    pub(crate) async fn event(&mut self) -> Event {
        timeout(HANG, self.events.recv()).await.expect("nothing happened").expect("the session lives")
    }

    pub(crate) async fn frame(&mut self) -> ClientFrame {
        let event = self.event().await;
        let Event::Frame(frame) = event else { panic!("{event:?}") };
        frame
    }

    pub(crate) async fn send(&self, out: Outgoing) {
        self.command(Command::Send(out)).await;
    }

    pub(crate) async fn open(&self, lanes: u32, datagrams: bool) {
        self.command(Command::Open(72 * 1024, lanes, datagrams)).await;
    }

    pub(crate) async fn read(&self, read: bool) {
        self.command(Command::Read(read)).await;
    }

    pub(crate) async fn figures(&self) -> Figures {
        let (sender, figures) = oneshot::channel();
        self.command(Command::Figures(sender)).await;
        timeout(HANG, figures).await.expect("the session stands still").unwrap()
    }

    pub(crate) async fn close(&self, code: CloseCode) {
        self.command(Command::Close(code, last_frame(code))).await;
    }

    /// Whether nothing has happened so far.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.events.try_recv().is_err()
    }

    async fn command(&self, command: Command) {
        assert!(self.commands.send(command).await.is_ok(), "the session has ended");
    }
}

impl Accept for Script {
    fn accept<T: Transport>(&self, transport: T) {
        let (commands, command_receiver) = mpsc::channel(16);
        let (event_sender, events) = mpsc::channel(4_096);
        let scripted = Scripted { info: transport.info().clone(), commands, events };
        self.1.spawn(run(transport, command_receiver, event_sender));
        self.0.try_send(scripted).expect("the test takes its sessions");
    }
}

async fn run<T: Transport>(
    mut transport: T,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
) {
    let mut read = true;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Send(out)) => transport.send(out),
                Some(Command::Open(bytes, lanes, datagrams)) => transport.open(bytes, lanes, datagrams),
                Some(Command::Read(on)) => read = on,
                Some(Command::Figures(answer)) => {
                    let (queued, written) = (transport.queued_bytes(), transport.written_bytes());
                    let _ = answer.send(Figures { queued, written, path: transport.path() });
                }
                Some(Command::Close(code, last)) => return transport.close(code, last).await,
            },
            event = transport.next(read) => {
                let ended = matches!(event, Event::Gone(_) | Event::Bad(_));
                if !matches!(event, Event::Written) {
                    events.try_send(event).expect("the test takes its events");
                }
                if ended {
                    return;
                }
            }
        }
    }
}

pub(crate) fn encoded(frame: &impl Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    put_frame(&mut bytes, frame);
    bytes
}

/// A frame that says `kind` and is about `bytes` long.
pub(crate) fn signal(kind: &str, bytes: usize) -> ClientFrame {
    let signal = Signal { kind: kind.to_owned(), content: vec![b'x'; bytes].into(), ..Signal::default() };
    ClientFrame { id: 1, kind: Some(client_frame::Kind::Signal(signal)) }
}

/// The same from the server.
pub(crate) fn server_signal(kind: &str, bytes: usize) -> ServerFrame {
    let signal = Signal { kind: kind.to_owned(), content: vec![b'x'; bytes].into(), ..Signal::default() };
    ServerFrame { id: 0, kind: Some(server_frame::Kind::Signal(signal)) }
}

/// A message of a conversation.
pub(crate) fn body(conversation: &str, content: usize) -> Body {
    let content = vec![b'x'; content].into();
    let msg = Msg { local_id: "l".into(), conversation: conversation.into(), content, ..Msg::default() };
    Body::from_stored(&msg.encode_to_vec(), 1).unwrap()
}

/// The last frame before a close.
pub(crate) fn last_frame(code: CloseCode) -> ServerFrame {
    let error = Error { close: code as i32, message: "the end".into(), ..Error::default() };
    ServerFrame { id: 0, kind: Some(server_frame::Kind::Error(error)) }
}

/// Waits until something holds that nothing tells.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(HANG, waiting).await.expect("it never came to hold");
}
