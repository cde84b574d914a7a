//! The edge over real sockets on loopback: requests by hand, and a WebSocket client of another making.

mod admin;
mod api;
mod demo;
mod limits;
mod upgrade;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use sha2::Digest as _;
use tidegate_proto::v1::{
    ClientFrame, Code, Error, Pong, Receipt, ReceiptStatus, ServerFrame, client_frame, server_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::admission::{self, Admission};
use crate::transport::{Event, Info, Outgoing, Transport};

/// Ends a test that hangs; no verdict hangs on it otherwise.
const HANG: Duration = Duration::from_secs(30);

/// A gateway of a few lines: what is sent to a user who is here is delivered at once.
#[derive(Clone)]
struct Gateway(Arc<Inner>);

struct Inner {
    tracker: TaskTracker,
    users: Mutex<HashMap<String, mpsc::Sender<(u64, Msg)>>>,
    /// What each session was told of its connection, and how it ended.
    ended: mpsc::Sender<(Info, Ended)>,
    submitted: Mutex<Vec<(UserId, Msg)>>,
    /// What the demo's tokens were to grant.
    granted: Mutex<Vec<Grants>>,
    refusals: Mutex<Vec<&'static str>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Gone(Option<u32>),
    Bad(Code),
}

impl Accept for Gateway {
    fn accept<T: Transport>(&self, transport: T) {
        self.0.tracker.spawn(self.clone().session(transport));
    }
}

impl Gateway {
    async fn session<T: Transport>(self, mut transport: T) {
        let info = transport.info().clone();
        let user = info.identity.as_ref().map_or("anybody", |identity| identity.user.as_str()).to_owned();
        let (sender, mut mine) = mpsc::channel(16);
        let mut seq = 0;
        let ended = loop {
            let event = tokio::select! {
                event = transport.next(true) => event,
                Some((_, msg)) = mine.recv() => {
                    seq += 1;
                    let body = prost::Message::encode_to_vec(&msg);
                    let body = tidegate_pipeline::body::Body::from_stored(&body, 1);
                    transport.send(Outgoing::Deliver { timeline: "".into(), seq, body });
                    continue;
                }
            };
            match event {
                Event::Frame(ClientFrame { kind: Some(client_frame::Kind::Hello(_)), .. }) => {
                    transport.open(tidegate_proto::limits::MAX_FRAME_BYTES, 0, false);
                    self.0.users.lock().insert(user.clone(), sender.clone());
                }
                Event::Frame(ClientFrame { kind: Some(client_frame::Kind::Send(send)), .. }) => {
                    let msg = Msg {
                        send_id: user.clone(),
                        server_id: "ab".into(),
                        send_time: 7,
                        ..send.msg.unwrap()
                    };
                    let receipt = Receipt {
                        local_id: "drawn".into(),
                        server_id: msg.server_id.clone(),
                        send_time: msg.send_time,
                        status: ReceiptStatus::Accepted as i32,
                        ..Receipt::default()
                    };
                    transport.send(Outgoing::Frame(frame(0, server_frame::Kind::Receipt(receipt))));
                    let to = self.0.users.lock().get(&msg.receiver_id).cloned();
                    to.expect("the recipient is here").send((0, msg)).await.unwrap();
                }
                Event::Frame(ClientFrame { id, .. }) => {
                    transport.send(Outgoing::Frame(frame(id, server_frame::Kind::Pong(Pong::default()))));
                }
                Event::Bad(bad) => {
                    let error = Error { code: bad.code as i32, message: bad.message, ..Error::default() };
                    let error = frame(0, server_frame::Kind::Error(error));
                    match bad.close {
                        Some(close) => {
                            transport.close(close, error).await;
                            break Ended::Bad(bad.code);
                        }
                        None => transport.send(Outgoing::Frame(error)),
                    }
                }
                Event::Written => {}
                Event::Gone(code) => break Ended::Gone(code),
                Event::Datagram(_) => panic!("a WebSocket has no datagrams"),
            }
        };
        self.0.ended.send((info, ended)).await.unwrap();
    }
}

impl Backend for Gateway {
    fn verify(&self, token: &str) -> Result<Identity, Refusal> {
        let bad = || Refusal::new(Code::Unauthenticated, "the token is not valid");
        let (user, device) = token.strip_prefix("for-").ok_or_else(bad)?.split_once('-').ok_or_else(bad)?;
        let device = (!device.is_empty()).then(|| tidegate_proto::id::DeviceId::new(device).unwrap());
        Ok(Identity {
            user: UserId::new(user).unwrap(),
            device,
            grants: Default::default(),
            expires_at: i64::MAX,
        })
    }

    async fn submit(&self, sender: UserId, msg: Msg) -> Result<Submitted, Refusal> {
        let submitted = Submitted { server_id: "ab".into(), local_id: msg.local_id.clone(), send_time: 7 };
        match &*msg.local_id {
            "conflict" => return Err(Refusal::new(Code::Conflict, "another body")),
            "limited" => {
                let refusal = Refusal::new(Code::RateLimited, "slowly");
                return Err(Refusal { retry_after_ms: 1500, ..refusal });
            }
            "down" => return Err(Refusal::new(Code::Unavailable, "later")),
            "never" => std::future::pending().await,
            _ => self.0.submitted.lock().push((sender, msg)),
        }
        Ok(submitted)
    }

    fn demo_token(&self, user: &UserId, grants: &Grants) -> Result<DemoToken, Refusal> {
        self.0.granted.lock().push(grants.clone());
        Ok(DemoToken { token: format!("for-{user}-"), user: user.to_string(), expires_at: 9 })
    }

    async fn demo_connect(&self) -> DemoConnect {
        DemoConnect {
            webtransport: "https://a/wt".into(),
            websocket: "ws://b/ws".into(),
            cert_sha256: "c".into(),
            alternatives: vec![DemoAlternative { secure: "d:1".into(), plain: "d:2".into() }],
        }
    }
}

impl Refusals for Gateway {
    fn refused(&self, reason: &'static str) {
        self.0.refusals.lock().push(reason);
    }
}

/// A running edge.
struct Running {
    address: SocketAddr,
    gateway: Gateway,
    ended: mpsc::Receiver<(Info, Ended)>,
    token: CancellationToken,
    tracker: TaskTracker,
    /// Connections that hold a place.
    live: Gauge,
}

struct Start {
    development: bool,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: admission::Limits,
}

impl Default for Start {
    fn default() -> Self {
        let limits = admission::Limits { connections: 100, per_address: 0 };
        Self { development: true, tls: None, limits }
    }
}

impl Start {
    async fn run(self) -> Running {
        self.run_edge(|gateway, settings| Edge::new(gateway.clone(), gateway, settings)).await
    }

    async fn run_admin(self, admin: impl Admin) -> Running {
        self.run_edge(|gateway, _| Edge::admin(gateway, admin)).await
    }

    async fn run_edge<A: Accept>(self, edge: impl FnOnce(Gateway, Settings) -> Edge<A, Gateway>) -> Running {
        let (ended_in, ended) = mpsc::channel(100);
        let tracker = TaskTracker::new();
        let gateway = Gateway(Arc::new(Inner {
            tracker: tracker.clone(),
            users: Mutex::default(),
            ended: ended_in,
            submitted: Mutex::default(),
            granted: Mutex::default(),
            refusals: Mutex::default(),
        }));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let mut origins = OriginPolicy::default();
        origins.allow_loopback("http", address.port());
        origins.allow("https://allowed.example").unwrap();
        let settings = Settings {
            origins,
            api_keys: ApiKeys::new(["first-key", "second-key"]),
            development: self.development,
            assets: Assets::new(asset),
        };
        let token = CancellationToken::new();
        let live = Gauge::default();
        let admission = Admission::new(self.limits, live.clone());
        let listener = Listener { tcp, tls: self.tls, admission };
        let stopping = Stopping { token: token.clone(), tracker: tracker.clone() };
        tracker.spawn(serve(listener, edge(gateway.clone(), settings), stopping));
        Running { address, gateway, ended, token, tracker, live }
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits until so many connections hold a place.
    async fn until_live(&self, count: i64) {
        let waiting = async {
            while self.live.get() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(HANG, waiting).await;
        waited.unwrap_or_else(|_| panic!("{} connections, not {count}", self.live.get()));
    }

    /// The answer to `head`, to which the lines every request has are added, and the end of the connection.
    async fn request(&self, head: &str) -> Answer {
        self.request_with(head, "").await
    }

    async fn request_with(&self, head: &str, body: &str) -> Answer {
        let mut tcp = self.connect().await;
        let host = if head.contains("Host:") { String::new() } else { format!("Host: {}\r\n", self.address) };
        let text = format!("{head}\r\n{host}Connection: close\r\n\r\n{body}");
        tcp.write_all(text.as_bytes()).await.unwrap();
        Answer::read(&mut tcp).await
    }

    /// The answer to a WebSocket handshake with `lines` instead of the good ones that have their names.
    async fn handshake(&self, request: &str, lines: &[&str]) -> (TcpStream, Answer) {
        let mut tcp = self.connect().await;
        tcp.write_all(self.handshake_text(request, lines).as_bytes()).await.unwrap();
        let answer = Answer::read_head(&mut tcp).await;
        (tcp, answer)
    }

    fn handshake_text(&self, request: &str, lines: &[&str]) -> String {
        let host = format!("Host: {}", self.address);
        let good = [
            &*host,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: tidegate.v1",
        ];
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        let kept = good.into_iter().filter(|line| !lines.iter().any(|other| name(other) == name(line)));
        // A line without a value leaves its header out.
        let given = lines.iter().copied().filter(|line| line.contains(": "));
        let all: Vec<&str> = kept.chain(given).collect();
        format!("{request}\r\n{}\r\n\r\n", all.join("\r\n"))
    }

    async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn read(tcp: &mut (impl tokio::io::AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        tcp.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        Self::new(head, body)
    }

    async fn read_head(tcp: &mut (impl tokio::io::AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(tcp.read_u8().await.unwrap());
        }
        Self::new(std::str::from_utf8(&bytes).unwrap(), "")
    }

    fn new(head: &str, body: &str) -> Self {
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(given, _)| *given == name).map(|(_, value)| value)
    }
}

fn asset(path: &str) -> Option<Asset> {
    let bytes: &'static [u8] = match path {
        "index.html" => b"<!doctype html>",
        "assets/app.js" => b"let a;",
        _ => return None,
    };
    Some(Asset { bytes: Cow::Borrowed(bytes), sha256: sha2::Sha256::digest(bytes).into() })
}

fn frame(id: u32, kind: server_frame::Kind) -> ServerFrame {
    ServerFrame { id, kind: Some(kind) }
}
