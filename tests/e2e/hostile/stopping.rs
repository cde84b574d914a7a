//! SIGTERM among clients that do not go.

use quinn::{TransportConfig, VarInt};
use tidegate_client::Transport;
use tidegate_proto::v1::client_frame;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::socket::Socket;
use super::streams::{SETTINGS, Streams, connect};
use super::wire::{Wire, framed, hello};
use crate::peer::{Peer, within};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_keeps_the_server_from_stopping() {
    let key = "api.keys=[\"a-key-of-the-backend-0123456789\"]";
    let mut server = Server::start_with(&[], &[key, "stop.grace_ms=8000"]).await;
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    // Sessions that are deaf, each with something that waits for it.
    let mut deaf = Vec::new();
    for transport in [Transport::Quic, Transport::WebTransport] {
        let mut config = TransportConfig::default();
        config.stream_receive_window(VarInt::from_u32(2_000));
        let mut wire = Wire::on(within(Streams::open(&server, transport, config)).await);
        wire.hello(&server, "bob", &format!("{transport:?}")).await;
        deaf.push(wire);
    }
    let mut socket = Socket::upgrade(server.plain, "/ws", "tidegate.v1").await;
    socket.write_message(&framed(client_frame::Kind::Hello(hello(&server, "bob", "socket")))).await;
    for _ in 0..60 {
        alice.store("bob", "x".repeat(60_000)).await;
    }
    // Connections that are in the middle of something.
    let mut halves = Vec::new();
    for (address, text) in [
        (server.secure, &b""[..]),
        (server.secure, b"\x16\x03\x01\x02\x00\x01"),
        (server.plain, b""),
        (server.plain, b"GET /ws HT"),
        (server.plain, b"GET /ws HTTP/1.1\r\nHost: a\r\n"),
        (
            server.plain,
            b"POST /api/v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\
              Authorization: Bearer a-key-of-the-backend-0123456789\r\n\r\n{",
        ),
    ] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(text).await.unwrap();
        halves.push(tcp);
    }
    let silent = connect(&server, b"tidegate/1", TransportConfig::default()).await.unwrap();
    let unasked = connect(&server, b"h3", TransportConfig::default()).await.unwrap();
    let mut settings = unasked.1.open_uni().await.unwrap();
    settings.write_all(&SETTINGS).await.unwrap();

    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
    let log = server.log();
    assert!(log.contains("stopped") && !log.contains("grace period"), "{log}");
    drop((deaf, socket, halves, silent, settings, alice));
}
