//! A server that may open hardly any files, and more clients than that.

use std::time::{Duration, Instant};

use tidegate_client::Transport;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::watch::{WITH_ADMIN, sockets, until, value};
use crate::peer::{Peer, within};
use crate::server::Server;

/// The listeners, the store and the honest clients take some forty.
const LAUNCHER: [&str; 4] = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"];
/// Far more than there are descriptors, and what the system holds for a listener at least: 128.
const CLIENTS: usize = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_accepting_pauses_and_goes_on_by_itself() {
    let server = Server::start_with(&LAUNCHER, &[WITH_ADMIN]).await;
    let mut alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    let mut bob = Peer::connect(&server, Transport::WebSocket, "bob", "b").await;
    let mut admin = Admin::connect(&server).await;
    let honest = sockets(&server);

    let mut crowd = Vec::new();
    for _ in 0..CLIENTS {
        crowd.push(within(TcpStream::connect(server.plain)).await.unwrap());
    }
    let began = Instant::now();
    until(async || admin.failures().await >= 4).await;
    let failures = admin.failures().await;
    // After each of them every listener rests 100 ms and more: not a measure of speed, but of how often it was tried.
    let most = 3 * (2 + began.elapsed().as_millis() / 100);
    assert!(u128::from(failures) <= most, "{failures} in {:?}", began.elapsed());
    // Who is there is served, and QUIC needs no descriptor.
    alice.send("bob", "hello").await;
    assert_eq!(bob.text().await, "hello");
    let mut carol = Peer::connect(&server, Transport::Quic, "carol", "c").await;
    bob.send("carol", "hello").await;
    assert_eq!(carol.text().await, "hello");

    drop(crowd);
    let mut dora = Peer::connect(&server, Transport::WebSocket, "dora", "d").await;
    carol.send("dora", "hello").await;
    assert_eq!(dora.text().await, "hello");
    dora.send("alice", "hello").await;
    assert_eq!(alice.text().await, "hello");
    // Dora in place of the operator.
    drop(admin);
    until(async || sockets(&server) == honest).await;
    let log = server.log();
    // Each listener may say it once.
    assert!((1..=3).contains(&log.matches("accepting pauses").count()), "{log}");
}

/// A connection for metrics that is there before there are none any more.
struct Admin(BufReader<TcpStream>);

impl Admin {
    async fn connect(server: &Server) -> Self {
        let mut admin = Self(BufReader::new(TcpStream::connect(server.admin.unwrap()).await.unwrap()));
        admin.failures().await;
        admin
    }

    /// How often a listener failed to accept.
    async fn failures(&mut self) -> u64 {
        self.0.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            within(self.0.read_line(&mut line)).await.unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        within(self.0.read_exact(&mut body)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        value(&String::from_utf8(body).unwrap(), "http_refused_total{reason=\"accept\"}")
    }
}
