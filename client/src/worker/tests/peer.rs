//! The scripted server: the other end of the pipes that a client opens.

use std::future::Future;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{
    ClientFrame, CloseCode, Code, Deliver, Gone, Hello, Msg, Ping, Pong, Receipt, ReceiptStatus, ServerFrame,
    Welcome, client_frame, deliver, server_frame,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

use crate::client::{Client, Events};
use crate::connect::ConnectError;
use crate::dial::Dialer;
use crate::{Config, Transport};

/// Where the pipes of the clients under test come out.
pub(super) struct Stage {
    pipes: mpsc::Receiver<DuplexStream>,
    dialer: mpsc::Sender<DuplexStream>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let (dialer, pipes) = mpsc::channel(1);
        Self { pipes, dialer }
    }

    pub(super) fn config(&self) -> Config {
        Config::new("server:1").transports([Transport::WebSocket])
    }

    /// Begins to connect.
    pub(super) fn connect(&self, config: Config) -> JoinHandle<Result<(Client, Events), ConnectError>> {
        spawn(Client::connect_by(config, Dialer::Scripted(self.dialer.clone())))
    }

    /// A client with a session as alice, at the beginning of an empty inbox.
    pub(super) async fn started(&mut self, config: Config) -> (Peer, Client, Events) {
        let connecting = self.connect(config);
        let (mut peer, _) = Peer::greeted(self).await;
        peer.welcome(welcome()).await;
        let (client, events) = connecting.await.unwrap().unwrap();
        (peer, client, events)
    }

    pub(super) async fn session() -> (Peer, Client, Events, Self) {
        let mut stage = Self::new();
        let config = stage.config();
        let (peer, client, events) = stage.started(config).await;
        (peer, client, events, stage)
    }
}

/// One connection.
pub(super) struct Peer {
    stream: WebSocketStream<DuplexStream>,
    buffer: BytesMut,
}

impl Peer {
    /// The next connection, and the Hello on it.
    pub(super) async fn greeted(stage: &mut Stage) -> (Self, Hello) {
        let pipe = super::within(stage.pipes.recv()).await.unwrap();
        let mut peer = Self { stream: ServerBuilder::new().serve(pipe), buffer: BytesMut::new() };
        let frame = peer.next_raw().await;
        let Some(client_frame::Kind::Hello(hello)) = frame.kind else { panic!("no Hello: {frame:?}") };
        (peer, hello)
    }

    pub(super) async fn welcome(&mut self, welcome: Welcome) {
        self.send(server_frame::Kind::Welcome(welcome)).await;
    }

    pub(super) async fn send(&mut self, kind: server_frame::Kind) {
        self.answer(0, kind).await;
    }

    pub(super) async fn answer(&mut self, id: u32, kind: server_frame::Kind) {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, &ServerFrame { id, kind: Some(kind) });
        self.stream.send(Message::binary(bytes)).await.unwrap();
    }

    /// The client's next frame; Pings are answered on the way.
    pub(super) async fn next(&mut self) -> ClientFrame {
        loop {
            let frame = self.next_raw().await;
            match frame.kind {
                Some(client_frame::Kind::Ping(_)) => {
                    self.answer(frame.id, server_frame::Kind::Pong(Pong::default())).await;
                }
                _ => return frame,
            }
        }
    }

    /// The client's next message.
    pub(super) async fn next_send(&mut self) -> Msg {
        let frame = self.next().await;
        let Some(client_frame::Kind::Send(send)) = frame.kind else { panic!("no Send: {frame:?}") };
        send.msg.unwrap()
    }

    /// The client's next frame, Pings included. Cancel safe.
    pub(super) async fn next_raw(&mut self) -> ClientFrame {
        loop {
            if let Some(frame) = split_frame(&mut self.buffer, MAX_FRAME_BYTES).unwrap() {
                return ClientFrame::decode(frame).unwrap();
            }
            let message = super::within(self.stream.next()).await.expect("the client is there").unwrap();
            assert!(message.is_binary(), "{message:?}");
            self.buffer = message.into_payload().into();
        }
    }

    /// Reads until the client closes; its code.
    pub(super) async fn closed(&mut self) -> Option<u16> {
        while let Some(Ok(message)) = self.stream.next().await {
            if let Some((code, _)) = message.as_close() {
                let code = code.into();
                // The echo of the close.
                let _ = self.stream.next().await;
                return Some(code);
            }
        }
        None
    }

    pub(super) async fn close(&mut self, code: CloseCode) {
        let code = (code as u16).try_into().unwrap();
        self.stream.send(Message::close(Some(code), "")).await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has its own tasks")]
pub(super) fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(future)
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        session_id: "s".into(),
        user_id: "alice".into(),
        epoch: "e1".into(),
        floor: 1,
        ..Welcome::default()
    }
}

/// A message from `from`, or with nobody from this client, to alice.
pub(super) fn direct(from: &str, content: &str) -> Msg {
    Msg {
        send_id: from.into(),
        receiver_id: "alice".into(),
        content: content.to_owned().into(),
        ..Msg::default()
    }
}

pub(super) fn deliver(seq: i64, msg: Msg) -> server_frame::Kind {
    let entry = Some(deliver::Entry::Msg(msg));
    server_frame::Kind::Deliver(Deliver { timeline: String::new(), seq, entry })
}

pub(super) fn gone(seq: i64) -> server_frame::Kind {
    let entry = Some(deliver::Entry::Gone(Gone {}));
    server_frame::Kind::Deliver(Deliver { timeline: "i:alice".into(), seq, entry })
}

pub(super) fn accepted(local_id: &str) -> server_frame::Kind {
    receipt(Receipt {
        local_id: local_id.into(),
        send_time: 100,
        status: ReceiptStatus::Accepted.into(),
        ..Receipt::default()
    })
}

pub(super) fn stored(local_id: &str, seq: i64) -> server_frame::Kind {
    receipt(Receipt {
        local_id: local_id.into(),
        send_time: 101,
        status: ReceiptStatus::Stored.into(),
        seq,
        ..Receipt::default()
    })
}

pub(super) fn rejected(local_id: &str, code: Code, retry_after_ms: i64) -> server_frame::Kind {
    receipt(Receipt {
        local_id: local_id.into(),
        status: ReceiptStatus::Rejected.into(),
        code: code.into(),
        retry_after_ms,
        ..Receipt::default()
    })
}

pub(super) fn client_ping(id: u32) -> ClientFrame {
    ClientFrame { id, kind: Some(client_frame::Kind::Ping(Ping {})) }
}

fn receipt(receipt: Receipt) -> server_frame::Kind {
    server_frame::Kind::Receipt(receipt)
}
