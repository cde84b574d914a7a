//! Several processes of the real program on real servers: gateways that push to each other's users, devices that move
//! between them, and what becomes of the users of one that stops. `scripts/test services` runs them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tidegate_certs::Fingerprint;
use tidegate_client::v1::{CloseCode, Msg};
use tidegate_client::{Client, Config, Disconnect, Event, Events, Start, Transport, Trust};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

mod channels;
#[path = "../shared/collector.rs"]
mod collector;
#[cfg(feature = "kafka-tls")]
mod kafka_tls;
mod links;
mod signals;
mod traces;

/// What all processes of a test have in common.
struct Cluster {
    folder: TempDir,
    /// What others have no part in.
    name: String,
    settings: Vec<String>,
    certificate: Fingerprint,
}

/// A process; killed when it is dropped.
struct Process {
    child: Child,
    /// Where clients come in; empty for a pipeline.
    address: String,
    admin: String,
    /// Held open, so that it can print.
    _stdout: Lines<BufReader<ChildStdout>>,
}

struct Device {
    /// Of the users of this test.
    suffix: String,
    client: Client,
    events: Events,
}

impl Cluster {
    /// On the servers of `scripts/services`, apart from what other tests have there.
    async fn new(with_kafka: bool) -> Self {
        Self::on(with_kafka.then_some("KAFKA")).await
    }

    /// With that one of the Kafkas.
    async fn on(kafka: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        let server = |name: &str| {
            std::env::var(format!("TIDEGATE_TEST_{name}")).expect("run by scripts/test services")
        };
        let mut settings = vec![
            format!("store.url={}", server("POSTGRES")),
            format!("presence.url={}", server("REDIS")),
            format!("presence.prefix={name}:"),
            "listen.admin=127.0.0.1:0".to_owned(),
            "listen.grpc=127.0.0.1:0".to_owned(),
            "rpc.token=0123456789abcdef".to_owned(),
        ];
        if let Some(kafka) = kafka {
            settings.push(format!("kafka.brokers={}", server(kafka)));
            let names = ["topic", "dead_topic", "group"].map(|key| format!("kafka.{key}={name}.{key}"));
            settings.extend(names);
            settings.push("kafka.partitions=4".to_owned());
        }
        let mut cluster = Self { folder, name, settings, certificate: Fingerprint::of(&[]) };
        let shown = cluster.output(&["cert", "new", "--data", "shared"]).await;
        let hash = shown.lines().find_map(|line| line.strip_prefix("sha256")).unwrap();
        cluster.certificate = hash.trim().replace(':', "").parse().unwrap();
        cluster.output(&["token", "--user", "anybody", "--data", "shared"]).await;
        cluster
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDEGATE_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn output(&self, arguments: &[&str]) -> String {
        let output = timeout(LIMIT, self.program(arguments).output()).await.expect("it ends").unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// `check` for a role: what it says of the backends.
    async fn check(&self, role: &str) -> String {
        let set = self.settings.iter().map(String::as_str);
        let free = ["listen.quic=127.0.0.1:0", "listen.http=127.0.0.1:0"];
        let set = set.chain(free).flat_map(|setting| ["--set", setting]);
        let printed =
            self.output(&["check", "--role", role].into_iter().chain(set).collect::<Vec<_>>()).await;
        let lines: Vec<_> = printed.lines().filter(|line| line.starts_with("# ")).collect();
        lines.join("\n")
    }

    /// A process with clients: `serve` or `gateway`.
    async fn gateway(&self, role: &str, name: &str) -> Process {
        self.gateway_with(role, name, &[]).await
    }

    /// With settings besides those of all.
    async fn gateway_with(&self, role: &str, name: &str, settings: &[String]) -> Process {
        // Of its own, so that its ports are known before and nobody has them.
        let host = own_host();
        let data = self.folder.path().join(name);
        fs::create_dir(&data).unwrap();
        for file in ["dev-secret", "dev-cert.pem", "dev-key.pem"] {
            fs::copy(self.folder.path().join("shared").join(file), data.join(file)).unwrap();
        }
        let mut own = vec![
            format!("data={name}"),
            format!("gateway.id={name}"),
            format!("listen.quic={host}:4433"),
            format!("listen.http={host}:8080"),
            format!("listen.public_urls=https://{host}:4433"),
        ];
        own.extend_from_slice(settings);
        self.start(role, name, &own, format!("{host}:4433")).await
    }

    async fn pipeline(&self, name: &str) -> Process {
        self.pipeline_with(name, &[]).await
    }

    async fn pipeline_with(&self, name: &str, settings: &[String]) -> Process {
        self.start("pipeline", name, settings, String::new()).await
    }

    async fn start(&self, role: &str, name: &str, own: &[String], address: String) -> Process {
        let mut command = self.program(&[role]);
        for setting in self.settings.iter().chain(own) {
            command.args(["--set", setting]);
        }
        let log = File::create(self.log(name)).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut admin = None;
        loop {
            let line = timeout(LIMIT, stdout.next_line()).await.expect("it starts").unwrap();
            let line =
                line.unwrap_or_else(|| panic!("{name}: {}", fs::read_to_string(self.log(name)).unwrap()));
            if let Some(url) = line.trim().strip_prefix("admin ") {
                admin = Some(url.trim().trim_start_matches("http://").to_owned());
            }
            // The last of the addresses.
            if line.trim().starts_with("grpc ") {
                break;
            }
        }
        Process { child, address, admin: admin.unwrap(), _stdout: stdout }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// A user nobody else has; the database is everybody's.
    fn user(&self, user: &str) -> String {
        format!("{user}-{}", self.name)
    }

    async fn connect(&self, gateway: &Process, user: &str, device: &str) -> Device {
        let token = self.output(&["token", "--user", &self.user(user), "--data", "shared"]).await;
        let config = Config::new(&gateway.address)
            .transports([Transport::Quic])
            .trust(Trust::CertHash(*self.certificate.as_bytes()))
            .token(token)
            // What the device had elsewhere within the last second may come again otherwise.
            .start(Start::Head)
            .device(device);
        let (client, events) = timeout(LIMIT, Client::connect(config)).await.expect("a session").unwrap();
        Device { suffix: self.user(""), client, events }
    }
}

impl Process {
    async fn metrics(&self) -> String {
        let mut tcp = TcpStream::connect(&self.admin).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, tcp.read_to_string(&mut answer)).await.expect("an answer").unwrap();
        answer
    }

    /// Waits until the metrics have the line.
    async fn shows(&self, line: &str) {
        let name = line.split(' ').next().unwrap_or_default();
        let mut last = String::new();
        let shown = async {
            while last != line {
                let metrics = self.metrics().await;
                last = metrics.lines().find(|shown| shown.starts_with(name)).unwrap_or_default().to_owned();
            }
        };
        let shown = timeout(LIMIT, shown).await;
        shown.unwrap_or_else(|_| panic!("{line} is never shown, but: {last}"));
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }

    async fn ended(mut self) -> Option<i32> {
        timeout(LIMIT, self.child.wait()).await.expect("it ends").unwrap().code()
    }
}

impl Device {
    /// Sends and waits until it is stored.
    async fn send(&self, to: &str, text: &str) {
        let content = text.to_owned().into();
        let msg = Msg { receiver_id: format!("{to}{}", self.suffix), content, ..Msg::default() };
        let mut sent = self.client.send(msg).await.unwrap();
        timeout(LIMIT, sent.stored()).await.expect("an answer").unwrap();
    }

    async fn event(&mut self) -> Event {
        timeout(LIMIT, self.events.recv()).await.expect("an event").expect("not the end")
    }

    /// The next message, whatever comes before it.
    async fn text(&mut self) -> String {
        loop {
            if let Event::Message(message) = self.event().await {
                return String::from_utf8(message.msg.content.to_vec()).unwrap();
            }
        }
    }

    /// Follows a gateway that stops: what it names, and where the client is then.
    async fn moved(&mut self) -> (Vec<String>, String) {
        let mut named = Vec::new();
        loop {
            match self.event().await {
                Event::GoAway { reason, alternatives, .. } => {
                    assert_eq!(reason, CloseCode::Draining);
                    named = alternatives;
                }
                Event::Connected(connected) => return (named, connected.server),
                Event::Disconnected(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> CloseCode {
        loop {
            if let Event::Closed(Disconnect::Closed { code, .. }) = self.event().await {
                return code;
            }
        }
    }
}

/// Stops processes in order, one after the other.
async fn stop(processes: impl IntoIterator<Item = Process>) {
    for process in processes {
        process.terminate();
        assert_eq!(process.ended().await, Some(0));
    }
}

/// A message from each to the other, who are `alice` and `bob`.
async fn exchange(alice: &mut Device, bob: &mut Device) {
    alice.send("bob", "question").await;
    assert_eq!(bob.text().await, "question");
    bob.send("alice", "answer").await;
    assert_eq!(alice.text().await, "answer");
}

#[tokio::test]
#[ignore = "needs Redis and PostgreSQL: scripts/test services"]
async fn two_processes_share_their_users_and_one_stops() {
    let cluster = Cluster::new(false).await;
    let (one, two) = (cluster.gateway("serve", "one").await, cluster.gateway("serve", "two").await);
    let mut alice = cluster.connect(&one, "alice", "phone").await;
    let mut bob = cluster.connect(&two, "bob", "phone").await;
    exchange(&mut alice, &mut bob).await;
    // They were pushed, and not found by a check of the heads.
    one.shows("tidegate_link_messages_total{gateway=\"two\"} 1").await;
    two.shows("tidegate_link_messages_total{gateway=\"one\"} 1").await;
    for process in [&one, &two] {
        process.shows("tidegate_links_open 1").await;
    }

    let mut elsewhere = cluster.connect(&one, "bob", "phone").await;
    assert_eq!(bob.closed().await, CloseCode::Replaced);
    alice.send("bob", "moved").await;
    assert_eq!(elsewhere.text().await, "moved");

    one.terminate();
    for device in [&mut alice, &mut elsewhere] {
        assert_eq!(device.moved().await, (vec![two.address.clone()], two.address.clone()));
    }
    assert_eq!(one.ended().await, Some(0));
    alice.send("bob", "after the move").await;
    assert_eq!(elsewhere.text().await, "after the move");
    two.terminate();
    assert_eq!(two.ended().await, Some(0));
}

#[tokio::test]
#[ignore = "needs Kafka, Redis and PostgreSQL: scripts/test services"]
async fn gateways_and_pipelines_come_and_go() {
    let cluster = Cluster::new(true).await;
    let said = cluster.check("gateway").await;
    assert!(said.contains("is made at the next start") && said.contains("# presence.url: Redis "), "{said}");
    let first = cluster.pipeline("first").await;
    let (one, two) = (cluster.gateway("gateway", "one").await, cluster.gateway("gateway", "two").await);
    first.shows("tidegate_kafka_partitions_held 4").await;
    let said = cluster.check("pipeline").await;
    assert!(said.contains("4 partitions of") && said.contains("the schema is up to date"), "{said}");
    let forgetful = [&*cluster.settings, &["retention.remember_days=6".to_owned()]].concat();
    let set = forgetful.iter().flat_map(|setting| ["--set", setting]);
    let arguments = ["check", "--role", "pipeline"].into_iter().chain(set).collect::<Vec<_>>();
    let refused = timeout(LIMIT, cluster.program(&arguments).output()).await.expect("it ends").unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("for 7 days") && said.contains("retention.remember_days is 6"), "{said}");

    let mut alice = cluster.connect(&one, "alice", "phone").await;
    let mut bob = cluster.connect(&two, "bob", "phone").await;
    alice.send("bob", "1").await;
    bob.send("alice", "2").await;
    assert_eq!((bob.text().await, alice.text().await), ("1".to_owned(), "2".to_owned()));
    first.shows("tidegate_link_messages_total{gateway=\"two\"} 2").await;
    first.shows("tidegate_links_open 2").await;

    let second = cluster.pipeline("second").await;
    second.shows("tidegate_kafka_partitions_held 2").await;
    first.terminate();
    assert_eq!(first.ended().await, Some(0));
    second.shows("tidegate_kafka_partitions_held 4").await;
    alice.send("bob", "3").await;
    assert_eq!(bob.text().await, "3");

    two.terminate();
    assert_eq!(bob.moved().await, (vec![one.address.clone()], one.address.clone()));
    assert_eq!(two.ended().await, Some(0));
    alice.send("bob", "4").await;
    assert_eq!(bob.text().await, "4");
    stop([one, second]).await;
}

/// Neither would push to the other's users.
#[tokio::test]
#[ignore = "needs Redis and PostgreSQL: scripts/test services"]
async fn a_process_that_shares_no_presence_is_refused_the_database() {
    let cluster = Cluster::new(false).await;
    let one = cluster.gateway("serve", "one").await;
    let store = &cluster.settings[0];
    let ports = ["quic", "http", "admin", "grpc"].map(|listener| format!("listen.{listener}=127.0.0.1:0"));
    let set = ports.iter().chain([store]).flat_map(|setting| ["--set", setting]);
    let arguments = ["serve", "--data", "apart"].into_iter().chain(set).collect::<Vec<_>>();
    let refused = timeout(LIMIT, cluster.program(&arguments).output()).await.expect("it ends").unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("another process uses this database already") && said.contains("presence.url"),
        "{said}"
    );
    one.terminate();
    assert_eq!(one.ended().await, Some(0));
}

/// A loopback address of this process alone.
fn own_host() -> String {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    format!("127.86.{}.{}", std::process::id() % 255, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Ends what hangs; no verdict depends on it.
const LIMIT: Duration = Duration::from_secs(60);
