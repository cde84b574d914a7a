//! A proxy before a WebSocket listener that loses deliveries: the first message of each connection that has one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use prost::Message as _;
use tidegate_proto::framing::split_frame;
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{ServerFrame, server_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::peer::spawn;

/// The proxy. It ends when it is dropped.
pub(super) struct Lossy {
    pub(super) address: SocketAddr,
    dropped: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Lossy {
    /// In front of the plain listener at `server`.
    pub(super) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        let task = spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                let ((mut from_client, to_client), (from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                // Either end may go first, and takes the other with it.
                spawn(async move { copy(&mut from_client, &mut to_server).await.is_ok() });
                spawn(lose(from_server, to_client, count.clone()));
            }
        });
        Self { address, dropped, task }
    }

    /// How many deliveries it has lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on the answer to the upgrade and the messages, without the first that delivers something.
async fn lose(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, dropped: Arc<AtomicU64>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    to.write_all(&head).await?;
    loop {
        let (header, payload) = read_message(&mut from).await?;
        let deliveries = if header[0] & 0x0f == BINARY { deliveries(&payload) } else { 0 };
        if deliveries > 0 {
            dropped.fetch_add(deliveries, Ordering::Relaxed);
            copy(&mut from, &mut to).await?;
            return Ok(());
        }
        to.write_all(&[header, payload].concat()).await?;
    }
}

/// A message of a server (RFC 6455, section 5.2): its header, and what is in it.
async fn read_message(from: &mut OwnedReadHalf) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut header = vec![0; 2];
    from.read_exact(&mut header).await?;
    let more = match header[1] {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    header.resize(2 + more, 0);
    from.read_exact(&mut header[2..]).await?;
    let length = match more {
        0 => usize::from(header[1]),
        _ => header[2..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).await?;
    Ok((header, payload))
}

/// How many Deliver frames a message holds.
fn deliveries(payload: &[u8]) -> u64 {
    let (mut bytes, mut count) = (BytesMut::from(payload), 0);
    while let Some(frame) = split_frame(&mut bytes, MAX_FRAME_BYTES).unwrap() {
        let frame = ServerFrame::decode(frame).unwrap();
        count += u64::from(matches!(frame.kind, Some(server_frame::Kind::Deliver(_))));
    }
    count
}

const BINARY: u8 = 2;
