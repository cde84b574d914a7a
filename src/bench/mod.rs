//! `tidegate bench`: how fast, how large, how right. Drives a server over loopback by the client crate and reads what
//! the server's process has used; one JSON line a run on standard output, the same for people on standard error.

pub(crate) mod args;
mod checker;
mod crowd;
mod fanout;
mod fill;
mod flow;
mod idle;
mod latency;
mod load;
mod pacer;
mod payload;
mod process;
mod report;
mod resume;
mod server;
mod signals;
mod subscriber;

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;

use args::{Bench, Common};
use server::Server;

/// Runs one measurement. An error also if a message was lost, doubled or out of order, or a session broke: after the
/// figures are printed.
pub(crate) fn run(command: &Bench) -> anyhow::Result<()> {
    let (common, connections) = needs(command);
    #[cfg(unix)]
    crate::descriptors::raise_limit(connections);
    let server = Server::find_or_start(common, connections)?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let outcome = runtime.block_on(async {
        match command {
            Bench::Idle(idle) => idle::run(idle, &server).await,
            Bench::Direct(direct) => load::direct(direct, &server).await,
            Bench::Spread(spread) => load::spread(spread, &server).await,
            Bench::Fanout(fanout) => fanout::run(fanout, &server).await,
            Bench::Signals(signals) => signals::run(signals, &server).await,
            Bench::Resume(resume) => resume::run(resume, &server).await,
        }
    })?;
    eprintln!("{:?}: {}", common.transport, outcome.summary);
    println!("{}", outcome.json);
    // The clients are not waited for: their connections end with the process.
    runtime.shutdown_background();
    match outcome.fault {
        None => Ok(()),
        Some(fault) => bail!("{fault}"),
    }
}

/// What a run found.
#[derive(Debug)]
struct Outcome {
    json: String,
    summary: String,
    /// What must not be.
    fault: Option<String>,
}

impl Outcome {
    fn new(report: &impl Serialize, summary: String, fault: Option<String>) -> anyhow::Result<Self> {
        Ok(Self { json: serde_json::to_string(report).context("the report as JSON")?, summary, fault })
    }
}

/// The arguments that all have, and how many connections there will be.
fn needs(command: &Bench) -> (&Common, u32) {
    match command {
        Bench::Idle(idle) => (&idle.common, idle.connections),
        Bench::Direct(direct) => (&direct.common, direct.pairs.saturating_mul(2)),
        Bench::Spread(spread) => (&spread.common, spread.users.saturating_add(1)),
        Bench::Fanout(fanout) => (&fanout.common, fanout.subs.saturating_add(1)),
        Bench::Signals(signals) => (&signals.common, signals.users.saturating_add(1)),
        Bench::Resume(resume) => (&resume.common, resume.clients.saturating_add(1)),
    }
}

/// `time` for each of `count`, in µs.
fn micros_per(time: Duration, count: f64) -> f64 {
    if count > 0.0 { time.as_secs_f64() * 1e6 / count } else { 0.0 }
}
