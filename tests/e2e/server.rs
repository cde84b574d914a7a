//! The program under test: started, found, told to stop, killed, and started again where it was.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tidegate_certs::Fingerprint;
use tidegate_client::{Config, Transport, Trust};
use tidegate_gateway::auth::Signer;
use tidegate_proto::id::UserId;
use tidegate_proto::limits::MAX_LANES;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::behind::Behind;

/// A server with its data: everything in one process, or a gateway and what stands behind it. Dropped, it is killed and its data are removed.
pub(crate) struct Server {
    folder: TempDir,
    /// What starts the program in place of itself, with its path and arguments added.
    launcher: Vec<String>,
    settings: Vec<String>,
    host: String,
    process: Option<Process>,
    behind: Option<Behind>,
    /// QUIC, WebTransport, wss.
    pub(crate) secure: SocketAddr,
    /// ws.
    pub(crate) plain: SocketAddr,
    /// Health and metrics; only where `listen.admin` is among the settings.
    pub(crate) admin: Option<SocketAddr>,
    certificate: [u8; 32],
    /// Clients configured so far.
    clients: AtomicU32,
}

/// Its output is held open for as long as it runs.
struct Process {
    child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// A server with no data and limits that no scenario meets.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// The same with further settings, started by `launcher`: a program and its arguments, to which the server's path
    /// and arguments are added. It ends up as the server, by `exec`.
    pub(crate) async fn start_with(launcher: &[&str], settings: &[&str]) -> Self {
        let rates = ["limits.messages_per_second=1000000", "limits.messages_burst=1000000"];
        let folder = tempfile::tempdir().unwrap();
        let behind = Behind::as_told().await;
        let form = behind.as_ref().map(Behind::settings).unwrap_or_default();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self {
            folder,
            launcher: launcher.iter().copied().map(str::to_owned).collect(),
            settings: rates.iter().chain(settings).copied().map(str::to_owned).chain(form).collect(),
            host: own_host(),
            process: None,
            behind,
            secure: nowhere,
            plain: nowhere,
            admin: None,
            certificate: [0; 32],
            clients: AtomicU32::new(0),
        };
        server.start_again().await;
        server
    }

    /// Starts it on the same data, and on the same ports where it had some.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let grpc = if self.behind.is_some() { "127.0.0.1:0" } else { "[]" };
        let mut listen = vec!["listen.admin=[]".to_owned(), format!("listen.grpc={grpc}")];
        let mut pipeline = self.program();
        self.set(pipeline.arg("pipeline").stdout(Stdio::null()), &listen);
        let mut command = self.launch();
        if let Some(behind) = &mut self.behind {
            behind.start(pipeline);
            command.arg("gateway");
        }
        listen.push(format!("listen.quic={}:{}", self.host, self.secure.port()));
        listen.push(format!("listen.http={}:{}", self.host, self.plain.port()));
        self.set(&mut command, &listen);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = timeout(START_LIMIT, read_announcement(&mut lines)).await.expect("it starts in time");
        self.process = Some(Process { child, _stdout: lines });
        self.take_addresses(&said);
    }

    /// The SHA-256 of its certificate, as people write it.
    pub(crate) fn certificate(&self) -> String {
        self.certificate.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The program in the server's folder, with nothing of this process's environment that it would look at.
    pub(crate) fn program(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_tidegate"))
    }

    /// Its listeners and settings, and its log.
    fn set(&self, command: &mut Command, listen: &[String]) {
        for setting in listen.iter().chain(&self.settings) {
            command.args(["--set", setting]);
        }
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        command.stdin(Stdio::null()).stderr(log);
    }

    fn launch(&self) -> Command {
        let Some((launcher, arguments)) = self.launcher.split_first() else { return self.program() };
        let mut command = self.command(launcher);
        command.args(arguments).arg(env!("CARGO_BIN_EXE_tidegate"));
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let of_ours = |name: &OsString| name.to_string_lossy().starts_with("TIDEGATE_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| of_ours(name)) {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command
    }

    /// kill -9, and its end; in the split form that of both processes.
    pub(crate) async fn kill(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.kill().await;
        }
        let mut process = self.process.take().expect("it runs");
        timeout(STOP_LIMIT, process.child.kill()).await.expect("it dies in time").unwrap();
    }

    /// SIGTERM; the end is for [`ended`](Self::ended) to wait for.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().and_then(|process| process.child.id()).expect("it runs")
    }

    /// The data folder; a launcher may have put something over it that only the server sees.
    pub(crate) fn data(&self) -> PathBuf {
        let data = self.folder.path().join("tidegate-data");
        if self.launcher.is_empty() {
            return data;
        }
        PathBuf::from(format!("/proc/{}/root", self.pid())).join(data.strip_prefix("/").unwrap())
    }

    /// What it has logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        timeout(STOP_LIMIT, process.child.wait()).await.expect("it ends in time").unwrap()
    }

    /// A client of `user`'s device over `transport`, with an hour's token.
    pub(crate) fn config(&self, transport: Transport, user: &str, device: &str) -> Config {
        self.config_by(self.token(user, Duration::from_secs(3600)), transport, device)
    }

    /// A client with this token.
    pub(crate) fn config_by(&self, token: String, transport: Transport, device: &str) -> Config {
        self.config_at(self.secure, token, transport, device)
    }

    /// A client that finds the server at `address`. Every second one has lanes, so that scenarios run with and without.
    pub(crate) fn config_at(
        &self,
        address: SocketAddr,
        token: String,
        transport: Transport,
        device: &str,
    ) -> Config {
        let has_lanes = self.clients.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        Config::new(address.to_string())
            .transports([transport])
            .lanes(if has_lanes { MAX_LANES } else { 0 })
            .trust(Trust::CertHash(self.certificate))
            .token(token)
            .device(device)
            .backoff(Duration::from_millis(50), Duration::from_millis(500))
            // Not the server's address: while it is down, no socket of a client may take its port.
            .bind([127, 0, 0, 1].into())
    }

    /// A token signed with the secret in the data folder, good for `ttl`.
    pub(crate) fn token(&self, user: &str, ttl: Duration) -> String {
        self.signed(user, ttl, SystemTime::now())
    }

    /// One that has ended.
    pub(crate) fn token_of_the_past(&self, user: &str) -> String {
        let hour = Duration::from_secs(3600);
        self.signed(user, hour, SystemTime::now() - 2 * hour)
    }

    fn signed(&self, user: &str, ttl: Duration, at: SystemTime) -> String {
        let signer = Signer::open_or_make(&self.data()).unwrap();
        let at_ms = i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        signer.sign(&UserId::new(user).unwrap(), None, ttl, at_ms).unwrap()
    }

    fn take_addresses(&mut self, said: &[String]) {
        let value = |name: &str| {
            let line = said.iter().find(|line| line.trim_start().starts_with(name));
            line.and_then(|line| line.split_whitespace().last())
                .unwrap_or_else(|| panic!("no {name} in {said:?}"))
        };
        self.secure = value("quic").parse().unwrap();
        let port = value("demo").rsplit(':').next().unwrap().parse().unwrap();
        self.plain = SocketAddr::new(self.secure.ip(), port);
        let admin = said.iter().find_map(|line| line.trim_start().strip_prefix("admin "));
        self.admin = admin.map(|url| url.trim().trim_start_matches("http://").parse().unwrap());
        self.certificate = *value("certificate").parse::<Fingerprint>().unwrap().as_bytes();
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", fs::read_to_string(self.log_path()).unwrap_or_default());
        }
    }
}

/// The lines it prints once every listener is bound.
async fn read_announcement(lines: &mut Lines<BufReader<ChildStdout>>) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let is_last = line.trim_start().starts_with("a token");
        said.push(line);
        if is_last {
            return said;
        }
    }
    panic!("it ended after {said:?}; its log is below");
}

/// A loopback address of this server alone, where there are many: so that nobody takes its ports while it is down.
fn own_host() -> String {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    if !cfg!(target_os = "linux") {
        return "127.0.0.1".to_owned();
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("127.84.{}.{count}", std::process::id() % 255)
}

const START_LIMIT: Duration = Duration::from_secs(60);
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(60);
