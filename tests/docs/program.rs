//! The program in a folder of its own, called as the pages call it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::page::Block;

/// Stands for the machine: the working directory, and inside of it what the pages have in /etc, /var/lib and /tmp.
pub(crate) struct Place(TempDir);

impl Place {
    /// With a certificate and a secret where the pages' configurations have them.
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.path("etc/tidegate")).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["chat.example.com".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(place.path("etc/tidegate/fullchain.pem"), certificate.pem()).unwrap();
        fs::write(place.path("etc/tidegate/privkey.pem"), key.serialize_pem()).unwrap();
        fs::write(place.path("etc/tidegate/secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A text with its absolute paths moved here.
    pub(crate) fn local(&self, text: &str) -> String {
        let here = self.0.path().display();
        ["/tmp/", "/etc/", "/var/lib/"].iter().fold(text.to_owned(), |text, folder| {
            // Only where a path begins.
            let text = text.replace(&format!("\"{folder}"), &format!("\"{here}{folder}"));
            text.replace(&format!(" {folder}"), &format!(" {here}{folder}"))
        })
    }

    /// What a command prints that must succeed. Nobody listens, so that `check` finds free ports.
    pub(crate) async fn run(&self, block: &Block, command: &str) -> String {
        let output = self.output(&self.local(command), &FREE).await;
        assert!(output.status.success(), "{block}: {command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same beside a server, which has the addresses that the pages say.
    pub(crate) async fn run_with(&self, block: &Block, command: &str, server: &Server) -> String {
        let output = self.beside(command, server).await;
        assert!(output.status.success(), "{block}: {command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// As `run`, where no page has the command.
    pub(crate) async fn program(&self, command: &str) -> String {
        let output = self.output(command, &FREE).await;
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says that must fail.
    pub(crate) async fn fails(&self, command: &str) -> String {
        complaint(command, self.output(command, &FREE).await)
    }

    /// The lines on standard error of a command that must fail, with these variables and no others.
    pub(crate) async fn errors(&self, command: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let output = self.output(command, variables).await;
        assert!(!output.status.success(), "{command} succeeds");
        String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect()
    }

    /// The same beside a server.
    pub(crate) async fn fails_with(&self, command: &str, server: &Server) -> String {
        complaint(command, self.beside(command, server).await)
    }

    /// Starts `tidegate serve …` on free ports; an empty command is `tidegate serve`.
    pub(crate) async fn serve(&self, command: &str, settings: &[&str]) -> Server {
        let command = if command.is_empty() { "tidegate serve" } else { command };
        let set: String = settings.iter().map(|setting| format!(" --set {setting}")).collect();
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut serve = self.bash(&format!("exec {command}{set}"), &FREE);
        let mut child = serve.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.starts_with("  data ")) {
            let line = timeout(LIMIT, printed.next_line()).await.expect("it starts").unwrap();
            let log = || fs::read_to_string(self.path("log")).unwrap();
            said.push(line.unwrap_or_else(|| panic!("{command} ended: {}", log())));
        }
        let value = |name: &str| {
            let line = said.iter().find(|line| line.trim_start().starts_with(name));
            line.and_then(|line| line.split_whitespace().last()).unwrap_or_default()
        };
        let port = value("demo").rsplit(':').next().unwrap();
        Server {
            http: format!("127.0.0.1:{port}"),
            quic: value("quic").to_owned(),
            admin: value("admin").trim_start_matches("http://").to_owned(),
            child,
            _printed: printed,
        }
    }

    /// Starts `tidegate tail …` or `tidegate sub …`, until it says what it follows.
    pub(crate) async fn follow(&self, server: &Server, command: &str) -> Follower {
        let variables = server.variables();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut follower = self.bash(&format!("exec {command}"), &variables);
        let mut child = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = timeout(LIMIT, said.next_line()).await.expect("it connects").unwrap();
        assert!(line.as_ref().is_some_and(|line| line.ends_with("Ctrl-C ends")), "{command}: {line:?}");
        Follower { printed: BufReader::new(child.stdout.take().unwrap()).lines(), child }
    }

    async fn beside(&self, command: &str, server: &Server) -> Output {
        let command = command.replace("localhost:8080", &server.http);
        let port = server.http.rsplit(':').next().unwrap();
        let command = command.replace("127.0.0.1:PORT", &format!("127.0.0.1:{port}"));
        let is_check = command.starts_with("tidegate check");
        let variables = server.variables();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.output(&command, if is_check { &FREE } else { &variables }).await
    }

    async fn output(&self, command: &str, variables: &[(&str, &str)]) -> Output {
        timeout(LIMIT, self.bash(command, variables).output()).await.expect("it ends").unwrap()
    }

    fn bash(&self, command: &str, variables: &[(&str, &str)]) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDEGATE_") {
                bash.env_remove(name);
            }
        }
        bash.args(["-euo", "pipefail", "-c", command]).env("PATH", path).envs(variables.iter().copied());
        bash.current_dir(self.0.path()).stdin(Stdio::null()).kill_on_drop(true);
        bash
    }
}

/// A server; killed when it is dropped.
pub(crate) struct Server {
    pub(crate) http: String,
    quic: String,
    admin: String,
    child: Child,
    /// Kept open, so that it can print.
    _printed: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// SIGTERM, and the end.
    pub(crate) async fn stop(mut self) {
        signal(&self.child, Signal::TERM);
        let status = timeout(LIMIT, self.child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0));
    }

    pub(crate) async fn metrics(&self) -> String {
        let mut tcp = TcpStream::connect(&self.admin).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(LIMIT, tcp.read_to_string(&mut answer)).await.expect("an answer").unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// What tells the commands of the same machine where it is, in place of the usual ports.
    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("TIDEGATE_LISTEN__QUIC", self.quic.clone())]
    }
}

/// A command that runs on and prints what comes.
pub(crate) struct Follower {
    printed: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Follower {
    pub(crate) async fn next_line(&mut self) -> String {
        timeout(LIMIT, self.printed.next_line()).await.expect("a line").unwrap().expect("not the end")
    }

    /// Ctrl-C, and the end.
    pub(crate) async fn stop(mut self) {
        signal(&self.child, Signal::INT);
        let status = timeout(LIMIT, self.child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().expect("it runs")).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// All that it printed, on either side.
fn complaint(command: &str, output: Output) -> String {
    assert!(!output.status.success(), "{command} succeeds");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

pub(crate) const FREE: [(&str, &str); 4] = [
    ("TIDEGATE_LISTEN__QUIC", "127.0.0.1:0"),
    ("TIDEGATE_LISTEN__HTTP", "127.0.0.1:0"),
    ("TIDEGATE_LISTEN__ADMIN", "127.0.0.1:0"),
    ("TIDEGATE_LISTEN__GRPC", "127.0.0.1:0"),
];
/// Ends what hangs; no verdict depends on it.
const LIMIT: Duration = Duration::from_secs(60);
