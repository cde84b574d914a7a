//! The program as an operator runs it: health, readiness, metrics, its log, and how it stops on SIGTERM.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::collections::HashSet;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_certs::Fingerprint;
use tidegate_client::{Transport, Trust};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

/// What operators read.
const PAGE: &str = include_str!("../docs/OPERATIONS.md");
/// Ends what hangs; no verdict depends on it.
const LIMIT: Duration = Duration::from_secs(60);

fn tidegate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end: its exit code, what it printed, what it complained of.
async fn output(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = timeout(LIMIT, tidegate(folder, arguments).output()).await.expect("it ends").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout).trim().to_owned(), text(output.stderr))
}

async fn token(folder: &Path, user: &str) -> String {
    let (code, token, complaint) = output(folder, &["token", "--user", user]).await;
    assert_eq!(code, Some(0), "{complaint}");
    token
}

/// A server on ports of its own, in a folder of its own.
struct Server {
    folder: TempDir,
    child: Child,
    /// Kept open, so that the server can print.
    _printed: BufReader<ChildStdout>,
    http: String,
    quic: String,
    certificate: Fingerprint,
    admin: String,
    grpc: String,
}

impl Server {
    async fn start(folder: TempDir, settings: &[&str]) -> Self {
        let ports = [
            "listen.quic=127.0.0.1:0",
            "listen.http=127.0.0.1:0",
            "listen.admin=127.0.0.1:0",
            "listen.grpc=127.0.0.1:0",
        ];
        let set = ports.iter().chain(settings).flat_map(|setting| ["--set", setting]);
        let arguments: Vec<&str> = ["serve"].into_iter().chain(set).collect();
        let mut command = tidegate(folder.path(), &arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("  data ") {
            let read = timeout(LIMIT, printed.read_line(&mut text)).await.expect("it starts").unwrap();
            assert!(read > 0, "it ended after {text:?}");
        }
        let after = |what: &str| text.split(what).nth(1).unwrap_or_else(|| panic!("no {what} in {text}"));
        let rest_of_line = |what: &str| after(what).lines().next().unwrap().trim().to_owned();
        let http = format!("127.0.0.1:{}", rest_of_line("http://localhost:"));
        let (quic, admin) = (rest_of_line("  quic "), rest_of_line("admin        http://"));
        let grpc = rest_of_line("  grpc ");
        let certificate = rest_of_line("sha256 ").parse().unwrap();
        Self { folder, child, _printed: printed, http, quic, certificate, admin, grpc }
    }

    /// Status and body of a GET on the admin listener.
    async fn admin(&self, path: &str) -> (u16, String) {
        let mut tcp = TcpStream::connect(&self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, tcp.read_to_string(&mut answer)).await.expect("an answer").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Waits until the metrics have the line.
    async fn shows(&self, line: &str) {
        let shown = async {
            while !self.admin("/metrics").await.1.lines().any(|shown| shown == line) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, shown).await.unwrap_or_else(|_| panic!("{line} is never shown"));
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }

    /// How it ended, what it logged, and its folder.
    async fn end(mut self) -> (ExitStatus, String, TempDir) {
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        timeout(LIMIT, stderr.read_to_string(&mut log)).await.expect("it ends").unwrap();
        let status = timeout(LIMIT, self.child.wait()).await.expect("it ends").unwrap();
        (status, log, self.folder)
    }
}

/// A client that speaks JSON, after its Welcome.
struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(address: &str, token: &str, device: &str, agent: &str) -> Self {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let handshake = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: tidegate.v1.json\r\n\r\n"
        );
        tcp.write_all(handshake.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LIMIT, tcp.read_u8()).await.expect("an answer").unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let mut client = Self(ClientBuilder::new().take_over(tcp));
        let hello = json!({ "token": token, "device_id": device, "attempt": 1, "agent": agent });
        client.0.send(Message::text(json!({ "id": 1, "hello": hello }).to_string())).await.unwrap();
        let welcome = client.next().await.expect("not closed");
        assert!(welcome["welcome"].is_object(), "{welcome}");
        client
    }

    /// The next frame; `None` when the server has closed.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let message = timeout(LIMIT, self.0.next()).await.expect("a frame or the end")?.ok()?;
            if let Some(text) = message.as_text() {
                return Some(serde_json::from_str(text).unwrap());
            }
            if message.is_close() {
                return None;
            }
        }
    }
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let server = Server::start(tempfile::tempdir().unwrap(), &[]).await;
    assert_eq!(server.admin("/health").await, (200, "ok\n".to_owned()));
    assert_eq!(server.admin("/ready").await, (200, "ready\n".to_owned()));
    let alice = token(server.folder.path(), "alice").await;
    let mut client = Client::connect(&server.http, &alice, "phone", "").await;
    let msg = json!({ "receiver_id": "bob", "local_id": "1", "content": "hello" });
    client.0.send(Message::text(json!({ "send": { "msg": msg } }).to_string())).await.unwrap();
    for status in ["accepted", "stored"] {
        let frame = client.next().await.expect("not closed");
        assert!(frame["receipt"]["status"].to_string().to_lowercase().contains(status), "{frame}");
    }
    let (status, text) = server.admin("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "tidegate_sessions{transport=\"websocket_json\"} 1",
        "tidegate_messages_total{stage=\"stored\"} 1",
        "tidegate_store_append_seconds_count 1",
        "tidegate_queue_depth{queue=\"log\"} 0",
        "tidegate_quic_refused_total{reason=\"full\"} 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in {text}");
    }
    client.0.close().await.unwrap();
    server.shows("tidegate_sessions{transport=\"websocket_json\"} 0").await;
    for line in text.lines() {
        let Some(name) = line.strip_prefix("# TYPE tidegate_").and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        assert!(PAGE.contains(&format!("`{name}")), "{name} is not in docs/OPERATIONS.md");
    }
    server.terminate();
    assert_eq!(server.end().await.0.code(), Some(0));
}

#[tokio::test]
async fn the_path_of_a_quic_session_is_measured() {
    let server = Server::start(tempfile::tempdir().unwrap(), &[]).await;
    let config = tidegate_client::Config::new(&server.quic)
        .transports([Transport::Quic])
        .trust(Trust::CertHash(*server.certificate.as_bytes()))
        .token(token(server.folder.path(), "alice").await)
        .device("phone");
    let (client, _events) = tidegate_client::Client::connect(config).await.unwrap();
    server.shows("tidegate_sessions{transport=\"quic\"} 1").await;
    server.shows("tidegate_quic_rtt_seconds_count 0").await;
    client.close().await;
    server.shows("tidegate_sessions_ended_total{code=\"NORMAL\"} 1").await;
    server.shows("tidegate_quic_rtt_seconds_count 1").await;
    let (_, text) = server.admin("/metrics").await;
    let packets = text.lines().find_map(|line| line.strip_prefix("tidegate_quic_packets_sent_total "));
    assert!(packets.unwrap().parse::<u64>().unwrap() > 0, "{text}");
    server.terminate();
    assert_eq!(server.end().await.0.code(), Some(0));
}

#[tokio::test]
async fn on_sigterm_every_client_is_told_when_to_come_back_and_the_program_ends_with_0() {
    let server = Server::start(tempfile::tempdir().unwrap(), &[]).await;
    let mut clients = Vec::new();
    for user in ["alice", "bob", "carol"] {
        let token = token(server.folder.path(), user).await;
        for device in 0..8 {
            clients.push(Client::connect(&server.http, &token, &device.to_string(), "").await);
        }
    }
    server.terminate();
    let mut told = JoinSet::new();
    for mut client in clients {
        told.spawn(async move {
            let frame = client.next().await.expect("GoAway before the end");
            assert!(client.next().await.is_none(), "nothing after GoAway");
            frame["go_away"]["retry_after_ms"].as_i64().unwrap_or_else(|| panic!("no GoAway: {frame}"))
        });
    }
    let waits = told.join_all().await;
    assert!(waits.iter().all(|wait| (0..=5_000).contains(wait)), "{waits:?}");
    let distinct: HashSet<_> = waits.iter().collect();
    assert!(distinct.len() > waits.len() / 2, "spread: {waits:?}");
    let (status, log, _) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopped") && !log.contains("grace period"), "{log}");
}

/// Whoever takes no notice of GoAway costs the grace period, and nothing that was accepted: that is no failure.
#[tokio::test]
async fn a_stop_that_runs_over_its_grace_period_ends_with_0_and_a_warning() {
    let server = Server::start(tempfile::tempdir().unwrap(), &["stop.grace_ms=300"]).await;
    let alice = token(server.folder.path(), "alice").await;
    let mut deaf = Client::connect(&server.http, &alice, "phone", "").await;
    let msg = json!({ "receiver_id": "bob", "local_id": "1", "content": "hello" });
    deaf.0.send(Message::text(json!({ "send": { "msg": msg } }).to_string())).await.unwrap();
    let frame = deaf.next().await.expect("not closed");
    assert!(frame["receipt"]["status"].to_string().contains("ACCEPTED"), "{frame}");
    server.terminate();
    // It neither reads nor closes, for which the server would wait 2 s.
    let (status, log, folder) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let warning = log.lines().find(|line| line.contains("within the grace period")).expect("a warning");
    assert!(warning.contains("WARN") && warning.contains("waits_for=\"sessions\""), "{warning}");
    drop(deaf);

    let server = Server::start(folder, &[]).await;
    let bob = token(server.folder.path(), "bob").await;
    let mut bob = Client::connect(&server.http, &bob, "laptop", "").await;
    let frame = bob.next().await.expect("not closed");
    assert_eq!(frame["deliver"]["msg"]["content"], "hello", "{frame}");
}

#[tokio::test]
async fn the_json_log_is_an_object_a_line_whatever_clients_say() {
    let settings = ["log.format=json", "log.level=debug"];
    let server = Server::start(tempfile::tempdir().unwrap(), &settings).await;
    let alice = token(server.folder.path(), "alice").await;
    let agent = "a\n{\"level\":\"ERROR\"}\u{1b}[31m\u{202e}\"";
    let _client = Client::connect(&server.http, &alice, "phone", agent).await;
    server.terminate();
    let (status, log, _) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
    let find = |message: &str| {
        lines.iter().find(|line| line["message"] == message).unwrap_or_else(|| panic!("no {message}: {log}"))
    };
    assert!(find("serving")["took_ms"].is_u64());
    assert_eq!(find("stopping")["reason"], "SIGTERM");
    assert!(find("stopping")["served_ms"].is_u64() && find("stopped")["took_ms"].is_u64());
    assert!(lines.iter().any(|line| line["message"] == "listening" && line["what"] == "admin"));
    assert_eq!(find("session began")["agent"], agent.escape_debug().to_string());
    assert!(!log.contains(&alice), "a token is in the log");
}

#[tokio::test]
async fn a_new_epoch_is_drawn_while_nobody_serves() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, complaint) = output(folder.path(), &["store", "new-epoch"]).await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("there is no store tidegate-data/store.sqlite"), "{complaint}");
    assert!(!folder.path().join("tidegate-data").exists(), "a look leaves nothing behind");

    let server = Server::start(folder, &[]).await;
    let path = server.folder.path();
    let (code, _, complaint) = output(path, &["store", "new-epoch"]).await;
    assert_eq!(code, Some(1));
    assert!(complaint.contains("is in use by process"), "{complaint}");
    let alice = token(path, "alice").await;
    drop(Client::connect(&server.http, &alice, "phone", "").await);
    server.terminate();
    let folder = server.end().await.2;

    let mut drawn = HashSet::new();
    for _ in 0..2 {
        let (code, epoch, complaint) = output(folder.path(), &["store", "new-epoch"]).await;
        assert_eq!(code, Some(0), "{complaint}");
        assert!(epoch.len() == 16 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit()), "{epoch}");
        assert!(drawn.insert(epoch), "drawn anew");
    }
}

/// A certificate for loopback in the files of `rpc`, and how a caller believes it.
fn new_rpc_certificate(folder: &Path) -> TlsConnector {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("rpc.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("rpc.key"), made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn a_renewed_certificate_of_grpc_is_taken_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = new_rpc_certificate(folder.path());
    let server = Server::start(folder, &["rpc.cert_file=rpc.pem", "rpc.key_file=rpc.key"]).await;
    let greets = async |tls: &TlsConnector| {
        let tcp = TcpStream::connect(&server.grpc).await.unwrap();
        tls.connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await
    };
    greets(&first).await.unwrap();
    let second = new_rpc_certificate(server.folder.path());
    let renewed = async {
        while greets(&second).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, renewed).await.expect("the new one is served");
    greets(&first).await.unwrap_err();
    server.terminate();
    let (status, log, _) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("gRPC goes by the new certificate"), "{log}");
}
