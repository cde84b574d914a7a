//! Clients that say nothing, that take nothing, and that are not there any more.

use std::thread;
use std::time::Duration;

use quinn::{TransportConfig, VarInt};
use tidegate_client::Transport;
use tidegate_proto::v1::{CloseCode, Hello, client_frame};
use tokio::net::TcpSocket;
use tokio::time::sleep;

use super::socket::Socket;
use super::streams::{Streams, closed};
use super::watch::{WITH_ADMIN, metric, sessions, sockets, until};
use super::wire::{Wire, framed, hello};
use crate::peer::{Peer, text, within};
use crate::server::Server;

const TRANSPORTS: [Transport; 3] = [Transport::Quic, Transport::WebTransport, Transport::WebSocket];

over_each_transport!(who_says_no_hello_is_closed);

async fn who_says_no_hello_is_closed(transport: Transport) {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let before = sockets(&server);
    let silent = async { Wire::open(&server, transport).await.closed().await.1 };
    let half = async {
        let mut wire = Wire::open(&server, transport).await;
        if transport == Transport::WebSocket {
            wire.write_raw(&[0x82]).await;
        } else {
            wire.write(&[0x80]).await;
        }
        wire.closed().await.1
    };
    // Bytes that come all the time do not prolong it.
    let dribbling = async {
        let mut wire = Wire::open(&server, transport).await;
        let hello = Hello { agent: "x".repeat(4_000), ..hello(&server, "eve", "e") };
        let frame = framed(client_frame::Kind::Hello(hello));
        let masked = super::socket::message(2, &frame);
        let bytes = if transport == Transport::WebSocket { &masked[..] } else { &frame[..] };
        let dribble = async {
            for byte in bytes {
                wire.write_raw(&[*byte]).await;
                sleep(Duration::from_millis(100)).await;
                if server.log().contains("panicked") || metric(&server, NOT_BEGUN).await >= 1 {
                    return;
                }
            }
            panic!("a Hello of one byte every 100 ms was taken");
        };
        within(dribble).await;
        wire.closed().await.1
    };
    let codes = tokio::join!(silent, half, dribbling);
    let expected = CloseCode::Unauthenticated as u32;
    assert_eq!(codes, (expected, expected, expected));
    until(async || sockets(&server) <= before).await;
}

const NOT_BEGUN: &str = "sessions_not_begun_total{code=\"UNAUTHENTICATED\"}";

/// Side by side, since each takes more than a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_or_is_gone_without_a_word_is_closed() {
    let server = Server::start_with(&[], &[WITH_ADMIN, "limits.sessions_per_user=1"]).await;
    let before = sockets(&server);
    let ghosts = TRANSPORTS.map(|transport| vanish(&server, transport));
    let slow: Vec<Deaf> = vec![
        Deaf::streams(&server, Transport::Quic).await,
        Deaf::streams(&server, Transport::WebTransport).await,
        Deaf::socket(&server).await,
    ];
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    for _ in 0..COUNT {
        for transport in TRANSPORTS {
            alice.store(&format!("slow-{transport:?}"), "x".repeat(CONTENT_BYTES)).await;
        }
    }
    // While they count as there, no other device of theirs gets in.
    let mut next = Wire::open(&server, Transport::WebSocket).await;
    next.send(client_frame::Kind::Hello(hello(&server, "ghost-Quic", "next"))).await;
    assert_eq!(next.closed().await.1, CloseCode::Limit as u32);

    until(async || sessions(&server).await == 1).await;
    assert_eq!(metric(&server, "sessions_ended_total{code=\"SLOW\"}").await, 3);
    assert_eq!(metric(&server, "sessions_ended_total{code=\"GONE\"}").await, 3);
    for deaf in slow {
        deaf.was_closed().await;
    }
    // Nobody is present any more, and who was slow has lost nothing.
    for transport in TRANSPORTS {
        Peer::connect(&server, transport, &format!("ghost-{transport:?}"), "next").await.leave().await;
        let mut back = Peer::connect(&server, transport, &format!("slow-{transport:?}"), "next").await;
        for seq in 1..=COUNT {
            let message = back.message().await;
            assert_eq!((message.seq, text(&message).len()), (seq, CONTENT_BYTES));
        }
        back.leave().await;
    }
    within(alice.client.close()).await;
    until(async || sockets(&server) <= before).await;
    drop(ghosts);
}

/// More than the outbox and all buffers between.
const COUNT: i64 = 60;
const CONTENT_BYTES: usize = 60_000;

/// A session whose client is there no more: nothing answers, nothing is closed. What it held is kept until the end.
fn vanish(server: &Server, transport: Transport) -> impl Sized + use<> {
    thread::scope(|scope| {
        let gone = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let user = format!("ghost-{transport:?}");
            let wire = runtime.block_on(Wire::welcomed(server, transport, &user, "d"));
            // Nobody runs it from here on.
            std::mem::ManuallyDrop::new((runtime, wire))
        });
        gone.join().unwrap()
    })
}

/// A client after its Welcome that reads nothing, and is alive otherwise.
enum Deaf {
    Streams(Wire, quinn::Connection),
    Socket(Socket),
}

impl Deaf {
    async fn streams(server: &Server, transport: Transport) -> Self {
        let mut config = TransportConfig::default();
        config
            .keep_alive_interval(Some(Duration::from_secs(10)))
            .stream_receive_window(VarInt::from_u32(2_000));
        let streams = within(Streams::open(server, transport, config)).await;
        let connection = streams.connection.clone();
        let mut wire = Wire::on(streams);
        wire.hello(server, &format!("slow-{transport:?}"), "d").await;
        Self::Streams(wire, connection)
    }

    async fn socket(server: &Server) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4 * 1024).unwrap();
        let tcp = within(tcp.connect(server.plain)).await.unwrap();
        let mut socket = within(Socket::upgrade_on(tcp, server.plain, "/ws", "tidegate.v1")).await;
        let hello = framed(client_frame::Kind::Hello(hello(server, "slow-WebSocket", "d")));
        within(socket.write_message(&hello)).await;
        within(socket.read_message()).await.expect("Welcome");
        Self::Socket(socket)
    }

    async fn was_closed(self) {
        match self {
            Self::Streams(_wire, connection) => {
                let code = within(closed(&connection)).await;
                assert!(code.is_none_or(|code| code == CloseCode::Slow as u32), "{code:?}");
            }
            Self::Socket(socket) => _ = within(socket.closed()).await,
        }
    }
}
