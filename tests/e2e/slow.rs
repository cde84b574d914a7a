//! A client that hardly reads, among others: it gets everything in the end, and the others get theirs meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use prost::Message as _;
use tidegate_client::Transport;
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{ClientFrame, Hello, ServerFrame, client_frame, deliver, server_frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Interval, interval};
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

use crate::peer::{Peer, spawn, text, within};
use crate::server::Server;

/// Far more than the outbox and the buffers of both sockets hold.
const COUNT: i64 = 800;
const CONTENT_BYTES: usize = 8 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_gets_everything_and_disturbs_nobody() {
    let server = Server::start().await;
    let slow = SlowClient::connect(&server, "bob", "slow").await;
    let hurry = slow.hurry.clone();
    let reading = spawn(slow.read_all());
    let mut fast = Vec::new();
    for transport in [Transport::Quic, Transport::WebTransport, Transport::WebSocket] {
        fast.push(Peer::connect(&server, transport, "bob", &format!("{transport:?}")).await);
    }
    let mut carol = Peer::connect(&server, Transport::Quic, "carol", "c").await;
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;

    for number in 1..=COUNT {
        alice.send("bob", content(number)).await;
        alice.send("carol", number.to_string()).await;
        for peer in &mut fast {
            let message = peer.message().await;
            assert_eq!((message.seq, text(&message)), (number, content(number)));
        }
        assert_eq!(carol.text().await, number.to_string());
    }
    assert!(!reading.is_finished(), "it was not slow");
    hurry.store(true, Ordering::Relaxed);
    within(reading).await.unwrap();
}

fn content(number: i64) -> String {
    format!("{number} {}", "x".repeat(CONTENT_BYTES))
}

/// A WebSocket of our own over a socket with a tiny buffer.
struct SlowClient {
    socket: WebSocketStream<Trickle>,
    bytes: BytesMut,
    hurry: Arc<AtomicBool>,
}

impl SlowClient {
    async fn connect(server: &Server, user: &str, device: &str) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4 * 1024).unwrap();
        let tcp = within(tcp.connect(server.plain)).await.unwrap();
        let hurry = Arc::new(AtomicBool::new(true));
        let trickle = Trickle { tcp, hurry: hurry.clone(), every: interval(Duration::from_secs(1)) };
        let uri = format!("ws://{}/ws", server.plain);
        let builder = ClientBuilder::new().uri(&uri).unwrap();
        let protocol = HeaderValue::from_static(tidegate_proto::SUBPROTOCOL);
        let builder = builder.add_header(SEC_WEBSOCKET_PROTOCOL, protocol).unwrap();
        let limits = Limits::default().max_payload_len(Some(16 * MAX_FRAME_BYTES));
        let (mut socket, _) = within(builder.limits(limits).connect_on(trickle)).await.unwrap();
        let hello = Hello {
            token: server.token(user, Duration::from_secs(3600)),
            device_id: device.to_owned(),
            attempt: 1,
            ..Hello::default()
        };
        let mut out = BytesMut::new();
        put_frame(&mut out, &ClientFrame { id: 1, kind: Some(client_frame::Kind::Hello(hello)) });
        within(socket.send(Message::binary(out))).await.unwrap();
        let mut client = Self { socket, bytes: BytesMut::new(), hurry: hurry.clone() };
        let welcome = client.frame().await;
        assert!(matches!(welcome.kind, Some(server_frame::Kind::Welcome(_))), "{welcome:?}");
        hurry.store(false, Ordering::Relaxed);
        client
    }

    /// Reads until everything is there, in order and without a hole.
    async fn read_all(mut self) {
        let mut read = 0;
        while read < COUNT {
            if let Some(server_frame::Kind::Deliver(deliver)) = self.frame().await.kind {
                let Some(deliver::Entry::Msg(msg)) = deliver.entry else { panic!("no message") };
                read += 1;
                assert_eq!((deliver.seq, &msg.content[..]), (read, content(read).as_bytes()));
            }
        }
    }

    async fn frame(&mut self) -> ServerFrame {
        loop {
            if let Some(frame) = split_frame(&mut self.bytes, MAX_FRAME_BYTES).unwrap() {
                return ServerFrame::decode(frame).unwrap();
            }
            let message = within(self.socket.next()).await.expect("the connection lives").unwrap();
            if message.is_binary() {
                self.bytes.extend_from_slice(message.as_payload());
            }
        }
    }
}

/// 1 KiB a second, unless in a hurry.
struct Trickle {
    tcp: TcpStream,
    hurry: Arc<AtomicBool>,
    every: Interval,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.hurry.load(Ordering::Relaxed) {
            return Pin::new(&mut self.tcp).poll_read(cx, buffer);
        }
        ready!(self.every.poll_tick(cx));
        let mut bytes = [0; 1024];
        let mut little = ReadBuf::new(&mut bytes[..buffer.remaining().min(1024)]);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut little))?;
        buffer.put_slice(little.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
