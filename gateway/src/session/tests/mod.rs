//! Whole sessions over pipes in memory, with the real log, sequencer, pusher, link and SQLite store behind them.

mod begin;
mod channels;
mod drain;
mod floors;
mod messages;
mod pace;
mod presence;
mod rpc;
mod rules;
mod volatile;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use prost::Message as _;
use tempfile::TempDir;
use tidegate_pipeline::presence::lease::Role;
use tidegate_pipeline::presence::{Presence, memory};
use tidegate_pipeline::pusher::Pusher;
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::link;
use tidegate_pipeline::sequencer::Sequencer;
use tidegate_pipeline::store::{Store, sqlite};
use tidegate_pipeline::volatile as passing;
use tidegate_pipeline::{log, metrics as pipeline};
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::id::UserId;
use tidegate_proto::v1::{
    Ack, ClientFrame, CloseCode, Code, Deliver, Head, Hello, Msg, Ping, Pong, Position, Pull, Receipt,
    ReceiptStatus, Refresh, Send, ServerFrame, Signal, Start, Welcome, client_frame as from_client, deliver,
    pull, server_frame::Kind, start,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::worker::Session;
use crate::auth::Signer;
use crate::gateway::{Gateway, Parts, Shared, now_ms};
use crate::http::Stream;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::transport::pipe::Pipe;
use crate::transport::quic::Streams;
use crate::transport::websocket::WebSocket;
use crate::transport::{Accept as _, Transport};

/// A gateway with everything behind it.
struct World {
    folder: TempDir,
    signer: Signer,
    gateway: Gateway,
    registry: Registry,
    presence: Presence,
    stop: CancellationToken,
    services: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        Self::with(Settings { message_burst: 10_000, ..Settings::default() }).await
    }

    async fn with(settings: Settings) -> Self {
        Self::of(settings, ("g", ""), Presence::Memory(memory::Presence::default())).await
    }

    /// A gateway of that id, reached by others at that address.
    #[expect(clippy::disallowed_methods, reason = "the assembly of these tests")]
    async fn of(settings: Settings, (id, address): (&str, &str), presence: Presence) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = sqlite::Config::new(folder.path().join("store.sqlite"));
        let store = Store::Sqlite(sqlite::Store::open(&config).await.unwrap());
        let (log, reader) = log::embedded::open();
        let counted = pipeline::Metrics::default();
        let metrics = Metrics::new(&counted);
        let mut registry = Registry::default();
        counted.register(&mut registry);
        metrics.register(&mut registry);
        let (local, receiver) = link::local(counted.link.clone());
        let own = Some((id.into(), local));
        let pusher = Pusher::new(presence.clone(), own, Dialer::default(), counted.pusher.clone());
        let pusher = Arc::new(pusher);
        let (passing, passer) = passing::open(settings.channels.clone(), counted.passed.clone());
        let stop = CancellationToken::new();
        let (passes, until) = (pusher.clone(), stop.clone());
        tokio::spawn(async move { passer.run(&passes, &until).await });
        tokio::spawn(Sequencer::new(store.clone(), pusher, counted).run(log::Reader::Embedded(reader)));
        let signer = Signer::open_or_make(folder.path()).unwrap();
        let gateway = Gateway::new(Parts {
            id: id.into(),
            role: Role::Serve,
            address: address.into(),
            public: "".into(),
            demo: "".into(),
            epoch: store.epoch().await.unwrap().into(),
            settings,
            auth: signer.auth().unwrap(),
            log: log::Log::Embedded(log),
            passing,
            store,
            presence: presence.clone(),
            metrics,
        });
        let (services, until) = (gateway.clone(), stop.clone());
        let services = tokio::spawn(async move { services.run(receiver, until).await });
        Self { folder, signer, gateway, registry, presence, stop, services }
    }

    /// Ends everything in order; afterwards all that was noted is in the store.
    async fn end(self) -> TempDir {
        self.gateway.drain(1).await;
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.services).await.expect("an end in time").unwrap();
        self.folder
    }

    fn shows(&self, lines: &[&str]) {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        for line in lines {
            assert!(text.lines().any(|shown| shown == *line), "{line} is not in {text}");
        }
    }

    fn token(&self, user: &str, ttl: Duration) -> String {
        self.signer.sign(&UserId::new(user).unwrap(), None, ttl, now_ms()).unwrap()
    }

    fn pipe(&self, capacity: usize) -> Client {
        let (ours, theirs) = tokio::io::duplex(capacity);
        self.gateway.accept(Pipe::new(theirs));
        Client { io: ours, buf: BytesMut::new() }
    }

    fn hello(&self, user: &str, device: &str) -> Hello {
        let token = self.token(user, Duration::from_secs(600));
        Hello { token, device_id: device.into(), attempt: 1, ..Hello::default() }
    }

    async fn connect(&self, user: &str, device: &str) -> (Client, Welcome) {
        self.connect_with(self.hello(user, device)).await
    }

    async fn connect_with(&self, hello: Hello) -> (Client, Welcome) {
        let mut client = self.pipe(1 << 20);
        client.send(from_client::Kind::Hello(hello)).await;
        match client.next().await {
            Kind::Welcome(welcome) => (client, welcome),
            other => panic!("no Welcome: {other:?}"),
        }
    }
}

struct Client {
    io: DuplexStream,
    buf: BytesMut,
}

impl Client {
    async fn send(&mut self, kind: from_client::Kind) {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, &ClientFrame { id: 7, kind: Some(kind) });
        self.io.write_all(&bytes).await.unwrap();
    }

    async fn message(&mut self, to: &str, local_id: &str, content: &str) {
        let msg = Msg {
            receiver_id: to.into(),
            local_id: local_id.into(),
            content: content.to_owned().into(),
            ..Msg::default()
        };
        self.send(from_client::Kind::Send(Send { msg: Some(msg) })).await;
    }

    /// The next frame; `None` when the gateway has closed.
    async fn try_next(&mut self) -> Option<Kind> {
        loop {
            if let Some(frame) = split_frame(&mut self.buf, 1 << 20).unwrap() {
                return ServerFrame::decode(frame).unwrap().kind;
            }
            if self.io.read_buf(&mut self.buf).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn next(&mut self) -> Kind {
        tokio::time::timeout(LIMIT, self.try_next()).await.expect("a frame in time").expect("not closed")
    }

    async fn receipt(&mut self) -> Receipt {
        match self.next().await {
            Kind::Receipt(receipt) => receipt,
            other => panic!("no receipt: {other:?}"),
        }
    }

    /// ACCEPTED, then STORED. A check of the heads may find the message first: then it comes in place of STORED
    /// (docs/PROTOCOL.md "Sending").
    async fn stored(&mut self) -> Receipt {
        let (mut accepted, mut stored) = (None, None);
        while accepted.is_none() || stored.is_none() {
            match self.next().await {
                Kind::Receipt(receipt) if receipt.status() == ReceiptStatus::Accepted => {
                    accepted = Some(receipt)
                }
                Kind::Receipt(receipt) => {
                    assert_eq!(receipt.status(), ReceiptStatus::Stored, "{receipt:?}");
                    assert!(accepted.is_some(), "STORED before ACCEPTED: {receipt:?}");
                    stored = Some(receipt);
                }
                Kind::Deliver(deliver) => stored = Some(in_place_of_stored(deliver)),
                other => panic!("no receipt: {other:?}"),
            }
        }
        let (accepted, stored) = accepted.zip(stored).unwrap();
        assert_eq!((&accepted.local_id, &accepted.server_id), (&stored.local_id, &stored.server_id));
        assert_eq!(accepted.send_time, stored.send_time);
        stored
    }

    /// The next entry of the inbox: its seq and its message.
    async fn delivered(&mut self) -> (i64, Msg) {
        match self.next().await {
            Kind::Deliver(deliver) => match deliver.entry {
                Some(deliver::Entry::Msg(msg)) => (deliver.seq, msg),
                other => panic!("no message: {other:?}"),
            },
            other => panic!("no Deliver: {other:?}"),
        }
    }

    /// The code of the last frame, after which the gateway closes.
    async fn closed(&mut self) -> CloseCode {
        let code = match self.next().await {
            Kind::Error(error) => error.close,
            Kind::GoAway(go_away) => go_away.reason,
            other => panic!("no last frame: {other:?}"),
        };
        assert_eq!(self.try_next().await, None, "the control stream is finished after the last frame");
        CloseCode::try_from(code).unwrap()
    }
}

/// What an own message says that is delivered.
fn in_place_of_stored(deliver: Deliver) -> Receipt {
    let Some(deliver::Entry::Msg(msg)) = deliver.entry else { panic!("no message: {deliver:?}") };
    Receipt {
        local_id: msg.local_id,
        server_id: msg.server_id,
        send_time: msg.send_time,
        status: ReceiptStatus::Stored.into(),
        seq: deliver.seq,
        conv_seq: msg.conv_seq,
        ..Receipt::default()
    }
}

/// Ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(20);
