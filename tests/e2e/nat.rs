//! A NAT between clients and a server, that gives a client another port from time to time without a word to anybody.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::peer::spawn;

/// A NAT for one client. It ends when it is dropped.
pub(crate) struct Nat {
    /// Where the client finds the server.
    pub(crate) address: SocketAddr,
    moves: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Nat {
    /// In front of the server at `server`.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let inside = open().await;
        let address = inside.local_addr().unwrap();
        let moves = Arc::new(Notify::new());
        let task = spawn(relay(inside, server, moves.clone()));
        Self { address, moves, task }
    }

    /// From now on the server sees the client at another port, and what is on its way to the old one is lost.
    pub(crate) fn rebind(&self) {
        self.moves.notify_one();
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What cannot be sent is lost, as on a network.
async fn relay(inside: UdpSocket, server: SocketAddr, moves: Arc<Notify>) {
    let mut outside = open().await;
    let mut client = None;
    let (mut from_client, mut from_server) = (vec![0; DATAGRAM_BYTES], vec![0; DATAGRAM_BYTES]);
    loop {
        tokio::select! {
            Ok((bytes, from)) = inside.recv_from(&mut from_client) => {
                client = Some(from);
                let _ = outside.send_to(&from_client[..bytes], server).await;
            }
            Ok((bytes, _)) = outside.recv_from(&mut from_server) => {
                if let Some(client) = client {
                    let _ = inside.send_to(&from_server[..bytes], client).await;
                }
            }
            () = moves.notified() => outside = open().await,
        }
    }
}

async fn open() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// The longest there is.
const DATAGRAM_BYTES: usize = 64 * 1024;
