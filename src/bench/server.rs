//! The server under test: one of its own in a child process, or one that runs already.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use tempfile::TempDir;
use tidegate_certs::{Fingerprint, Identity, development};

use super::args::{Common, Wire};
use super::process::Processes;

/// Where it is, and what is needed to use and to measure it. A server of the bench's own ends with this.
#[derive(Debug)]
pub(super) struct Server {
    /// `host:port` for the transport of the run; several are gateways of one cluster.
    pub(super) addresses: Vec<String>,
    pub(super) hash: Fingerprint,
    /// Where its secret is.
    pub(super) data: PathBuf,
    pub(super) processes: Processes,
    child: Option<Child>,
    _folder: Option<TempDir>,
}

impl Server {
    /// The server that the arguments name, or a new one.
    pub(super) fn find_or_start(common: &Common, connections: u32) -> anyhow::Result<Self> {
        match &common.data {
            Some(data) if !common.server.is_empty() => Self::find(data, common),
            _ => Self::start(common, connections),
        }
    }

    fn find(data: &Path, common: &Common) -> anyhow::Result<Self> {
        let processes = if common.process.is_empty() {
            Processes::one(pid_of(data)?)
        } else {
            Processes::named(common.process.clone())
        };
        Ok(Self {
            addresses: common.server.clone(),
            hash: certificate_hash(common, data)?,
            data: data.to_owned(),
            processes,
            child: None,
            _folder: None,
        })
    }

    fn start(common: &Common, connections: u32) -> anyhow::Result<Self> {
        let folder =
            common.data.is_none().then(tempfile::tempdir).transpose().context("a temporary folder")?;
        let data = match (&common.data, &folder) {
            (Some(data), _) => data.clone(),
            (None, Some(folder)) => folder.path().join("data"),
            (None, None) => bail!("there is no data folder"),
        };
        let mut child = command(common, &data, connections)?.spawn().context("cannot start a server")?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut server = Self {
            addresses: Vec::new(),
            hash: Fingerprint::of(&[]),
            processes: Processes::one(child.id()),
            data,
            child: Some(child),
            _folder: folder,
        };
        let addresses = read_addresses(lines(output))?;
        server.addresses.push(match common.transport {
            Wire::Ws => addresses.plain,
            Wire::Wss | Wire::Quic | Wire::Wt => addresses.secure,
        });
        server.hash = certificate_hash(common, &server.data)?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(common: &Common, data: &Path, connections: u32) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("where this program is")?;
    let mut command = match &common.server_cpus {
        None => Command::new(program),
        Some(cpus) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cpus).arg(program);
            command
        }
    };
    command.arg("serve").arg("--data").arg(data).stdin(Stdio::null()).stdout(Stdio::piped());
    let raised = [
        "listen.quic=127.0.0.1:0".to_owned(),
        "listen.http=127.0.0.1:0".to_owned(),
        "listen.admin=127.0.0.1:0".to_owned(),
        "listen.grpc=127.0.0.1:0".to_owned(),
        "limits.messages_per_second=1000000".to_owned(),
        "limits.messages_burst=1000000".to_owned(),
        "limits.signals_per_second=1000000".to_owned(),
        "limits.signals_burst=1000000".to_owned(),
        // Those that come back may meet their old connections.
        format!("limits.max_connections={}", connections.saturating_mul(2).max(10_000)),
        "limits.max_connections_per_address=0".to_owned(),
        "log.level=warn".to_owned(),
    ];
    for setting in raised.iter().chain(&common.set) {
        command.arg("--set").arg(setting);
    }
    Ok(command)
}

fn certificate_hash(common: &Common, data: &Path) -> anyhow::Result<Fingerprint> {
    if let Some(hash) = common.cert_hash {
        return Ok(hash);
    }
    let (chain, key) = (development::chain_path(data), development::key_path(data));
    Ok(Identity::read(&chain, &key).context("no certificate in the data folder: give --cert-hash")?.sha256())
}

/// Who runs from a data folder.
fn pid_of(data: &Path) -> anyhow::Result<u32> {
    let lock = data.join("tidegate.lock");
    let text = std::fs::read_to_string(&lock)
        .with_context(|| format!("cannot read {}: does a server run from there?", lock.display()))?;
    text.trim().parse().with_context(|| format!("{} names no process", lock.display()))
}

/// What the server said on standard output.
#[derive(Debug, Default, PartialEq, Eq)]
struct Addresses {
    plain: String,
    secure: String,
}

impl Addresses {
    /// Takes a line in; whether it was the last one needed.
    fn line(&mut self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("demo"), Some(url)) => {
                let port = url.rsplit(':').next().unwrap_or_default();
                self.plain = format!("127.0.0.1:{port}");
            }
            (Some("quic"), Some(address)) => self.secure = address.to_owned(),
            _ => {}
        }
        !self.plain.is_empty() && !self.secure.is_empty()
    }
}

fn read_addresses(lines: Receiver<String>) -> anyhow::Result<Addresses> {
    let until = Instant::now() + START_LIMIT;
    let mut addresses = Addresses::default();
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) if addresses.line(&line) => return Ok(addresses),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(anyhow!("the server said no address within {START_LIMIT:?}"));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(anyhow!("the server ended before it said its address"));
            }
        }
    }
}

/// The lines of `output`, read by a thread until its end, so that the server never waits for a reader.
fn lines(output: std::process::ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens any more once the addresses are known.
            let _ = sender.try_send(line);
        }
    });
    receiver
}

const START_LIMIT: Duration = Duration::from_secs(30);
/// More than a server says at its start.
const LINES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_what_a_server_says() {
        let mut addresses = Addresses::default();
        assert!(!addresses.line("tidegate 0.1.0"));
        assert!(!addresses.line("  demo         http://localhost:41001"));
        assert!(addresses.line("  quic         127.0.0.1:41002"));
        let expected = Addresses { plain: "127.0.0.1:41001".into(), secure: "127.0.0.1:41002".into() };
        assert_eq!(addresses, expected);
    }
}
