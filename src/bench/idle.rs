//! `bench idle`: what a connection costs that does nothing.

use std::time::Duration;

use serde::Serialize;

use super::args::{Idle, Wire};
use super::crowd::{Crowd, Member};
use super::server::Server;
use super::{Outcome, micros_per};

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    transport: Wire,
    connections: u32,
    seconds: f64,
    /// Of the server, before the first connection.
    rss_before_kib: u64,
    /// With all of them.
    rss_kib: u64,
    kib_per_connection: f64,
    cpu_us_per_second_per_connection: f64,
    /// Of all that was needed for a connection, up to Welcome.
    connect_cpu_us_per_connection: f64,
    /// Sessions that broke meanwhile; there should be none.
    broken: usize,
}

pub(super) async fn run(command: &Idle, server: &Server) -> anyhow::Result<Outcome> {
    let count = command.connections as usize;
    let connections = f64::from(command.connections);
    let crowd = Crowd::new(server, command.common.transport, count)?;
    let rss_before_kib = server.processes.rss_kib()?;
    let cpu_before = server.processes.cpu()?.total();
    let mut members = crowd.connect(count).await?;
    tokio::time::sleep(SETTLE).await;
    let rss_kib = server.processes.rss_kib()?;
    let cpu_start = server.processes.cpu()?.total();
    tokio::time::sleep(command.duration).await;
    let cpu_end = server.processes.cpu()?.total();

    let seconds = command.duration.as_secs_f64();
    let grown = rss_kib.saturating_sub(rss_before_kib);
    let report = Report {
        bench: "idle",
        transport: command.common.transport,
        connections: command.connections,
        seconds,
        rss_before_kib,
        rss_kib,
        #[expect(clippy::cast_precision_loss, reason = "KiB of RAM are far below 2^52")]
        kib_per_connection: grown as f64 / connections,
        cpu_us_per_second_per_connection: micros_per(
            cpu_end.saturating_sub(cpu_start),
            connections * seconds,
        ),
        connect_cpu_us_per_connection: micros_per(cpu_start.saturating_sub(cpu_before), connections),
        broken: members.iter_mut().filter_map(has_broken).count(),
    };
    let summary = format!(
        "{connections} idle connections: {:.1} KiB and {:.2} µs of CPU a second each; {:.0} µs of CPU to connect",
        report.kib_per_connection,
        report.cpu_us_per_second_per_connection,
        report.connect_cpu_us_per_connection,
    );
    let fault = (report.broken > 0).then(|| format!("{} sessions broke", report.broken));
    Outcome::new(&report, summary, fault)
}

/// Whether the client has had another session than its first.
fn has_broken(member: &mut Member) -> Option<()> {
    use tidegate_client::Event;
    std::iter::from_fn(|| member.events.try_recv())
        .any(|event| matches!(event, Event::Disconnected(_) | Event::Closed(_)))
        .then_some(())
}

/// For what the server does after Welcome, and what it does a little later.
const SETTLE: Duration = Duration::from_secs(3);
