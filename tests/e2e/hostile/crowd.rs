//! Many hostile clients of each kind, one after the other and side by side, while honest ones talk: afterwards the
//! server has what it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use rustix::net::sockopt::set_socket_linger;
use tidegate_client::Transport;
use tidegate_proto::v1::{Hello, Ping, client_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::socket::Socket;
use super::streams::{NO_CODE, SETTINGS, Streams, closed, connect, connect_fields, headers};
use super::watch::{WITH_ADMIN, descriptors, memory_kib, metric, sessions, sockets, until};
use super::wire::{Wire, framed, hello};
use crate::peer::{Peer, spawn, within};
use crate::server::Server;

/// Of each kind, in each of two rounds.
const TIMES: usize = 200;
/// How many at once.
const AT_ONCE: usize = 50;
/// What memory may differ after a round; 200 clients of 16 kinds would leave 3 KiB each.
const SPREAD_KIB: u64 = 10 * 1024;

const TRANSPORTS: [Transport; 3] = [Transport::Quic, Transport::WebTransport, Transport::WebSocket];

/// What one hostile client does.
#[derive(Debug, Clone, Copy)]
enum Actor {
    Tcp(Tcp),
    Udp(Udp),
    Any(Any),
}

/// Over TCP.
#[derive(Debug, Clone, Copy)]
enum Tcp {
    /// Connects over TCP, says half a request, goes.
    HalfRequest,
    /// No TLS where TLS belongs.
    NoTls,
    /// A reset in the middle of a session.
    Reset,
    /// A body that is announced and does not come.
    NoBody,
    /// A WebSocket that is broken at once.
    BrokenWebSocket,
}

/// Over QUIC, or what looks like it.
#[derive(Debug, Clone, Copy)]
enum Udp {
    /// Packets of noise that look like QUIC's first ones.
    Noise,
    /// QUIC, and no stream.
    NoStream,
    /// Streams opened and reset until it is enough.
    OpenAndReset,
    /// WebTransport to nowhere.
    WrongPath,
    /// HTTP/3 with a stream and a frame that are none.
    NoHttp3,
}

/// Over each transport in turn.
#[derive(Debug, Clone, Copy)]
enum Any {
    /// A bad token.
    BadToken,
    /// Something other than Hello.
    NoHello,
    /// A session that goes without a word.
    Vanish,
    /// A session that sends noise.
    NoiseInSession,
    /// The same device again and again.
    SameDevice,
}

const ACTORS: [Actor; 15] = [
    Actor::Tcp(Tcp::HalfRequest),
    Actor::Tcp(Tcp::NoTls),
    Actor::Tcp(Tcp::Reset),
    Actor::Tcp(Tcp::NoBody),
    Actor::Tcp(Tcp::BrokenWebSocket),
    Actor::Udp(Udp::Noise),
    Actor::Udp(Udp::NoStream),
    Actor::Udp(Udp::OpenAndReset),
    Actor::Udp(Udp::WrongPath),
    Actor::Udp(Udp::NoHttp3),
    Actor::Any(Any::BadToken),
    Actor::Any(Any::NoHello),
    Actor::Any(Any::Vanish),
    Actor::Any(Any::NoiseInSession),
    Actor::Any(Any::SameDevice),
];

impl Actor {
    async fn act(self, server: &Server, time: usize) {
        match self {
            Self::Tcp(tcp) => tcp.act(server, time).await,
            Self::Udp(udp) => udp.act(server, time).await,
            Self::Any(any) => any.act(server, TRANSPORTS[time % 3], time).await,
        }
    }
}

impl Tcp {
    async fn act(self, server: &Server, time: usize) {
        match self {
            Self::HalfRequest => {
                let mut tcp = TcpStream::connect(server.plain).await.unwrap();
                tcp.write_all(&b"GET /ws HTTP/1.1\r\nHost: a\r\n"[..time % 28]).await.unwrap();
            }
            Self::NoTls => {
                let mut tcp = TcpStream::connect(server.secure).await.unwrap();
                tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
                let _ = tcp.read(&mut [0; 64]).await;
            }
            Self::Reset => {
                let mut socket = Socket::upgrade(server.plain, "/ws", "tidegate.v1").await;
                let hello =
                    framed(client_frame::Kind::Hello(hello(server, "eve", &format!("r{}", time % 8))));
                socket.write_message(&hello).await;
                set_socket_linger(&socket.tcp, Some(std::time::Duration::ZERO)).unwrap();
            }
            Self::NoBody => {
                let mut tcp = TcpStream::connect(server.plain).await.unwrap();
                let request = "POST /api/v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{";
                tcp.write_all(request.as_bytes()).await.unwrap();
                let _ = tcp.read(&mut [0; 64]).await;
            }
            Self::BrokenWebSocket => {
                let mut socket = Socket::upgrade(server.plain, "/ws", "tidegate.v1.json").await;
                socket.write_raw(&[0xff, 0xff, 0xff, 0xff]).await;
                while socket.read_message().await.is_some() {}
            }
        }
    }
}

impl Udp {
    async fn act(self, server: &Server, time: usize) {
        match self {
            Self::Noise => {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let mut packet: Vec<u8> = (0..1_200).map(|at| (at * 7 + time * 13) as u8).collect();
                packet[..7].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8, time as u8]);
                packet[14..17].copy_from_slice(&[0, 0, 0x44]);
                socket.send_to(&packet, server.secure).await.unwrap();
            }
            Self::NoStream => drop(connect(server, b"tidegate/1", Default::default()).await.unwrap()),
            Self::OpenAndReset => {
                let streams = Streams::open(server, Transport::Quic, Default::default()).await;
                // The first one is the control stream, once something is on it.
                while let Ok((mut send, _recv)) = streams.connection.open_bi().await {
                    let _ = send.write_all(&[0]).await;
                    let _ = send.reset(NO_CODE);
                }
            }
            Self::WrongPath => {
                let (_endpoint, connection) = connect(server, b"h3", Default::default()).await.unwrap();
                let mut settings = connection.open_uni().await.unwrap();
                settings.write_all(&SETTINGS).await.unwrap();
                let (mut request, mut answer) = connection.open_bi().await.unwrap();
                request.write_all(&headers(&connect_fields("/"))).await.unwrap();
                let _ = answer.read_chunk(100, true).await;
            }
            Self::NoHttp3 => {
                let (_endpoint, connection) = connect(server, b"h3", Default::default()).await.unwrap();
                let mut stream = connection.open_uni().await.unwrap();
                let _ = stream.write_all(&[0, 7, 0]).await;
                closed(&connection).await;
            }
        }
    }
}

impl Any {
    async fn act(self, server: &Server, transport: Transport, time: usize) {
        match self {
            Self::BadToken => {
                let mut wire = Wire::open(server, transport).await;
                let hello = Hello { token: format!("x.{time}.y"), device_id: "e".into(), ..Hello::default() };
                wire.send(client_frame::Kind::Hello(hello)).await;
                wire.closed().await;
            }
            Self::NoHello => {
                let mut wire = Wire::open(server, transport).await;
                wire.send(client_frame::Kind::Ping(Ping {})).await;
                wire.closed().await;
            }
            Self::Vanish => drop(Wire::welcomed(server, transport, "eve", &format!("v{}", time % 8)).await),
            Self::NoiseInSession => {
                let mut wire =
                    Wire::welcomed(server, transport, &format!("eve{time}"), &time.to_string()).await;
                let noise: Vec<u8> = (1..=1_000).map(|at| (at * at + time) as u8 | 1).collect();
                wire.write(&noise).await;
                wire.finish().await;
                wire.closed_somehow().await;
            }
            Self::SameDevice => {
                let mut wire = Wire::open(server, transport).await;
                let attempt = 1 + i64::try_from(time).unwrap();
                let hello = Hello { attempt, ..hello(server, "eve", "same") };
                wire.send(client_frame::Kind::Hello(hello)).await;
                let _ = wire.frame().await;
            }
        }
    }
}

/// Every actor, as often as said.
async fn attack(server: &Arc<Server>) {
    for actor in ACTORS {
        let acts = (0..TIMES).map(|time| {
            let server = server.clone();
            async move { within(actor.act(&server, time)).await }
        });
        stream::iter(acts).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }
}

/// Two who talk until told to stop; how often they did.
async fn talk(mut one: Peer, mut other: Peer, stop: Arc<AtomicBool>) -> (usize, Peer, Peer) {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        one.send("bob", count.to_string()).await;
        assert_eq!(other.text().await, count.to_string());
        other.send("alice", count.to_string()).await;
        assert_eq!(one.text().await, count.to_string());
        count += 1;
    }
    (count, one, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_attack_everything_is_as_it_was() {
    let server = Arc::new(Server::start_with(&[], &[WITH_ADMIN]).await);
    let mut pairs = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    let one = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    let other = Peer::connect(&server, Transport::WebSocket, "bob", "b").await;
    pairs.push(spawn(talk(one, other, stop.clone())));

    let sockets_before = sockets(&server);
    let mut rounds = Vec::new();
    for _ in 0..2 {
        attack(&server).await;
        until(async || sessions(&server).await == 2 && sockets(&server) <= sockets_before).await;
        rounds.push((descriptors(&server), memory_kib(&server)));
    }
    stop.store(true, Ordering::Relaxed);
    for pair in pairs {
        let (count, one, _other) = pair.await.expect("the honest ones were harmed");
        assert!(count > 0);
        within(one.client.ping()).await.unwrap();
    }
    let [(_, memory_first), (files, memory_second)] = rounds[..] else { panic!("{rounds:?}") };
    assert!(files < TIMES, "what the store keeps open: {rounds:?}");
    assert!(memory_second <= memory_first + SPREAD_KIB, "{rounds:?} KiB");
    for name in [
        "http_refused_total{reason=\"tls\"}",
        "quic_refused_total{reason=\"rejected\"}",
        "sessions_not_begun_total{code=\"UNAUTHENTICATED\"}",
        "sessions_not_begun_total{code=\"PROTOCOL_ERROR\"}",
        "sessions_ended_total{code=\"PROTOCOL_ERROR\"}",
    ] {
        assert!(metric(&server, name).await > 0, "{name}");
    }
    // At the level operators have, nothing of it is worth a line; nor did anything panic.
    let log = server.log();
    let begun = log.lines().position(|line| line.contains("serving")).unwrap();
    assert_eq!(log.lines().count(), begun + 1, "{log}");
}
