//! What a server shows of itself: metrics, descriptors, memory.

use std::fs;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peer::within;
use crate::server::Server;

/// What a server started for watching is started with.
pub(super) const WITH_ADMIN: &str = "listen.admin=127.0.0.1:0";

/// All metrics, as text.
pub(super) async fn metrics(server: &Server) -> String {
    let mut tcp = TcpStream::connect(server.admin.expect("listen.admin is set")).await.unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// One metric with its labels, such as `sessions_ended_total{code="SLOW"}`; 0 when it is not shown.
pub(super) async fn metric(server: &Server, name: &str) -> u64 {
    value(&metrics(server).await, name)
}

/// The same, of a text.
pub(super) fn value(metrics: &str, name: &str) -> u64 {
    let of = |line: &str| line.strip_prefix("tidegate_")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(of).unwrap_or_default()
}

/// Live sessions, of all transports together.
pub(super) async fn sessions(server: &Server) -> u64 {
    let text = metrics(server).await;
    let lines = text.lines().filter(|line| line.starts_with("tidegate_sessions{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Open sockets. The store opens its files when it needs them, and keeps them.
pub(super) fn sockets(server: &Server) -> usize {
    links(server).filter(|link| link.starts_with("socket:")).count()
}

/// Everything open.
pub(super) fn descriptors(server: &Server) -> usize {
    links(server).count()
}

fn links(server: &Server) -> impl Iterator<Item = String> {
    let files = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    // One that is closed meanwhile is no file any more.
    files.filter_map(|file| Some(fs::read_link(file.ok()?.path()).ok()?.to_string_lossy().into_owned()))
}

/// Memory in use, in KiB.
pub(super) fn memory_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until something holds that nothing tells.
pub(super) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    within(async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}
