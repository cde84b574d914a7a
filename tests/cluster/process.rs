//! One process of the cluster: started by its configuration, killed, halted, asked how it is.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// What the process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Gateway,
    Pipeline,
}

impl Role {
    /// The subcommand.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Pipeline => "pipeline",
        }
    }
}

/// A process, its folder and its addresses, which it has alone: nobody takes its ports while it is down.
#[derive(Debug)]
pub(crate) struct Process {
    /// As in presence and in the configuration.
    pub(crate) name: String,
    role: Role,
    folder: PathBuf,
    host: String,
    child: Option<Child>,
}

impl Process {
    /// Not started yet.
    pub(crate) fn new(role: Role, number: usize, folder: PathBuf, host: String) -> Self {
        fs::create_dir_all(&folder).unwrap();
        Self { name: format!("{}-{number}", role.name()), role, folder, host, child: None }
    }

    /// Where clients come in: QUIC, WebTransport, wss.
    pub(crate) fn quic(&self) -> String {
        format!("{}:4433", self.host)
    }

    /// Where ws comes in.
    pub(crate) fn ws(&self) -> SocketAddr {
        format!("{}:8080", self.host).parse().unwrap()
    }

    /// Where pushers and backends come in.
    pub(crate) fn grpc(&self) -> String {
        format!("{}:50051", self.host)
    }

    /// Health and metrics.
    pub(crate) fn admin(&self) -> SocketAddr {
        format!("{}:9464", self.host).parse().unwrap()
    }

    /// Where it keeps what is its own.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Writes the configuration that it is started with.
    pub(crate) fn configure(&self, toml: &str) {
        fs::write(self.folder.join("tidegate.toml"), toml).unwrap();
    }

    /// Starts it on its data, and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Starts it.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let of_ours = |name: &OsString| name.to_string_lossy().starts_with("TIDEGATE_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| of_ours(name)) {
            command.env_remove(name);
        }
        command.args([self.role.name(), "--config", "tidegate.toml"]).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().expect("the program starts"));
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let ready = async {
            while self.get("/ready").await.is_none_or(|(status, _)| status != 200) {
                self.assert_lives();
                sleep(ASK_EVERY).await;
            }
        };
        if timeout(START_LIMIT, ready).await.is_err() {
            panic!("{} is not ready in time: {:?}", self.name, self.get("/ready").await);
        }
    }

    /// kill -9, and its end.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        timeout(STOP_LIMIT, child.kill()).await.expect("it dies in time").unwrap();
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("it runs");
        timeout(STOP_LIMIT, child.wait()).await.expect("it ends in time").unwrap()
    }

    /// Stops its clock, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// That it has not ended by itself.
    pub(crate) fn assert_lives(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{} has ended by itself: {status}", self.name);
        }
    }

    /// Its metrics, by name with labels; none if it does not answer.
    pub(crate) async fn metrics(&self) -> Vec<(String, f64)> {
        let Some((200, text)) = self.get("/metrics").await else { return Vec::new() };
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.strip_prefix("tidegate_")?.to_owned(), value.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }

    /// Its resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// What it has logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Status and body; `None` if there is no answer.
    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let ask = async {
            let mut tcp = TcpStream::connect(self.admin()).await.ok()?;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin());
            tcp.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            tcp.read_to_string(&mut answer).await.ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
        };
        timeout(ANSWER_LIMIT, ask).await.ok().flatten()
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it runs")
    }
}

const ASK_EVERY: Duration = Duration::from_millis(50);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
