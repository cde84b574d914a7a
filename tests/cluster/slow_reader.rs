//! A subscriber that reads 1 KiB a second, by hand over a WebSocket: so little fits into the sockets between it and its
//! gateway that what it leaves unread waits there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use prost::Message as _;
use socket2::SockRef;
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::v1::{ClientFrame, Hello, ServerFrame, Subscribe, client_frame, server_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::shared::{spawn, within};

/// The reader's figures; it reads for as long as this lives.
pub(crate) struct SlowReader {
    position: Arc<AtomicI64>,
    in_a_hurry: watch::Sender<bool>,
}

impl SlowReader {
    /// Connects with a token, and subscribes to a channel from its head on.
    pub(crate) async fn subscribe(address: SocketAddr, token: String, channel: &str) -> Self {
        let mut wire = Wire::open(address).await;
        let hello = Hello { token, device_id: "slow".into(), attempt: 1, ..Hello::default() };
        wire.send(client_frame::Kind::Hello(hello)).await;
        let welcome = within(wire.next()).await;
        assert!(matches!(welcome, server_frame::Kind::Welcome(_)), "{welcome:?}");
        wire.send(client_frame::Kind::Subscribe(Subscribe { channel: channel.into(), after: None })).await;
        let subscribed = within(wire.next()).await;
        let server_frame::Kind::Subscribed(subscribed) = subscribed else { panic!("{subscribed:?}") };
        let position = Arc::new(AtomicI64::new(subscribed.head));
        let in_a_hurry = watch::Sender::new(false);
        drop(spawn(read(wire, position.clone(), in_a_hurry.subscribe())));
        Self { position, in_a_hurry }
    }

    /// The seq up to which it has read everything, each message once and in order.
    pub(crate) fn position(&self) -> i64 {
        self.position.load(Ordering::Relaxed)
    }

    /// From now on it reads as fast as it can.
    pub(crate) fn hurry(&self) {
        self.in_a_hurry.send_replace(true);
    }
}

/// A panic, as any end, leaves the position where it is.
async fn read(mut wire: Wire, position: Arc<AtomicI64>, mut in_a_hurry: watch::Receiver<bool>) {
    loop {
        let frame = loop {
            if let Some(frame) = wire.decoded() {
                break frame;
            }
            let read = wire.read(1_024).await;
            if read == 0 {
                // Of the test, or too early: then the position says so.
                return;
            }
            let hurry = in_a_hurry.wait_for(|in_a_hurry| *in_a_hurry);
            if let Ok(Err(_)) = timeout(Duration::from_secs(1) * read / 1_024, hurry).await {
                // The test has ended.
                return;
            }
        };
        let server_frame::Kind::Deliver(deliver) = frame else { panic!("{frame:?}") };
        assert_eq!(deliver.seq, position.load(Ordering::Relaxed) + 1);
        position.store(deliver.seq, Ordering::Relaxed);
    }
}

struct Wire {
    tcp: TcpStream,
    unread: BytesMut,
    frames: BytesMut,
}

impl Wire {
    async fn open(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        // The other side's send buffer grows with the size of segments.
        SockRef::from(&socket).set_tcp_mss(536).unwrap();
        let mut tcp = within(socket.connect(address)).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: tidegate.v1\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(tcp.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self { tcp, unread: BytesMut::new(), frames: BytesMut::new() }
    }

    async fn send(&mut self, kind: client_frame::Kind) {
        let mut payload = BytesMut::new();
        put_frame(&mut payload, &ClientFrame { id: 1, kind: Some(kind) });
        self.write(BINARY, &payload).await;
    }

    /// A message masked with zeros.
    async fn write(&mut self, opcode: u8, payload: &[u8]) {
        let mut message = vec![0x80 | opcode, 0x80 | 126];
        message.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        if payload.len() < 126 {
            message.truncate(1);
            message.push(0x80 | payload.len() as u8);
        }
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(payload);
        self.tcp.write_all(&message).await.unwrap();
    }

    async fn next(&mut self) -> server_frame::Kind {
        loop {
            if let Some(frame) = self.decoded() {
                return frame;
            }
            assert!(self.read(1_024).await > 0, "the connection has ended");
        }
    }

    /// Reads at most so many bytes, and answers pings; how many there were; 0 at the end.
    async fn read(&mut self, at_once: u64) -> u32 {
        let read = (&mut self.tcp).take(at_once).read_buf(&mut self.unread).await.unwrap();
        while let Some((opcode, payload)) = self.message() {
            match opcode {
                0..=BINARY => self.frames.extend_from_slice(&payload),
                PING => self.write(PONG, &payload).await,
                PONG => {}
                _ => panic!("closed: {payload:?}"),
            }
        }
        read as u32
    }

    /// The next WebSocket frame that is whole.
    fn message(&mut self) -> Option<(u8, BytesMut)> {
        let [first, short] = *self.unread.first_chunk()?;
        let (head, length) = match short {
            126 => (4, usize::from(u16::from_be_bytes(*self.unread.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*self.unread.get(2..)?.first_chunk()?) as usize),
            length => (2, usize::from(length)),
        };
        if self.unread.len() < head + length {
            return None;
        }
        self.unread.advance(head);
        Some((first & 0x0f, self.unread.split_to(length)))
    }

    fn decoded(&mut self) -> Option<server_frame::Kind> {
        let frame = split_frame(&mut self.frames, 1 << 20).unwrap()?;
        Some(ServerFrame::decode(frame).unwrap().kind.expect("a frame says something"))
    }
}

const BINARY: u8 = 2;
const PING: u8 = 9;
const PONG: u8 = 10;
