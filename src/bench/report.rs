//! What `bench direct` and `bench spread` say: as JSON, and for people.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::args::Wire;
use super::checker::Faults;
use super::latency::Quantiles;
use super::load::{BACKLOG_CONTENT_BYTES, BACKLOG_MESSAGES, Phase, Plan, SLOW_BYTES_PER_SECOND};
use super::{Outcome, micros_per};

/// What was measured. Counts are of the whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    transport: Wire,
    senders: usize,
    recipients: usize,
    bytes: u32,
    /// Of the open loop.
    rate: Option<u32>,
    /// Of each sender, in the closed loop.
    outstanding: Option<u32>,
    seconds: f64,
    sent: u64,
    received: u64,
    #[serde(flatten)]
    measured: Measured,
    server_rss_kib: u64,
    rejected: u64,
    reconnects: u64,
    #[serde(flatten)]
    faults: Faults,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow: Option<Slow>,
}

/// Of one measured time; without the slow recipients.
#[derive(Debug, Serialize)]
struct Measured {
    received_per_second: f64,
    server_cpu_us_per_message: f64,
    /// Of its processes, if they were named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cpu_us_per_message_by_process: BTreeMap<String, f64>,
    client_cpu_us_per_message: f64,
    accepted_us: Quantiles,
    stored_us: Quantiles,
    delivered_us: Quantiles,
}

/// The slow recipients.
#[derive(Debug, Serialize)]
struct Slow {
    clients: usize,
    read_bytes_per_second: u32,
    /// What waited for each at the beginning.
    backlog_bytes: u64,
    /// The same load while they read like the others.
    before: Measured,
    server_rss_before_kib: u64,
    /// By how much the server has grown since, for each of them.
    server_kib_per_client: f64,
}

impl Report {
    /// Of the load as it was, and as it was before some of the recipients were slow.
    pub(super) fn new(plan: &Plan, phase: &Phase, before: Option<&Phase>, faults: Faults) -> Self {
        let phases = || before.into_iter().chain([phase]).map(|phase| &phase.tally);
        let seconds = plan.load.duration.as_secs_f64();
        Self {
            bench: plan.bench,
            transport: plan.wire,
            senders: plan.targets.len(),
            recipients: plan.recipients,
            bytes: plan.load.bytes,
            rate: plan.load.outstanding.is_none().then_some(plan.load.rate),
            outstanding: plan.load.outstanding,
            seconds,
            sent: phases().map(|tally| tally.sent.load(Ordering::Relaxed)).sum(),
            received: phases().map(|tally| tally.received.load(Ordering::Relaxed)).sum(),
            measured: Measured::new(phase, seconds),
            server_rss_kib: phase.rss_kib,
            rejected: phases().map(|tally| tally.rejected.load(Ordering::Relaxed)).sum(),
            reconnects: phases().map(|tally| tally.reconnects.load(Ordering::Relaxed)).sum(),
            faults,
            slow: before.map(|before| Slow::new(plan.slow, before, phase, seconds)),
        }
    }

    /// For the command line.
    pub(super) fn outcome(&self) -> anyhow::Result<Outcome> {
        let fault = (!self.faults.is_clean() || self.rejected > 0)
            .then(|| format!("{:?}, {} refused or without an answer", self.faults, self.rejected));
        Outcome::new(self, self.summary(), fault)
    }

    fn summary(&self) -> String {
        let mut summary = format!(
            "{} -> {}: {:.0} messages/s, {:.1} µs of server CPU each ({:.1} of the clients); {} lost, {} doubled, {} reordered\n  \
             accepted   {}\n  stored     {}\n  delivered  {}",
            self.senders,
            self.recipients,
            self.measured.received_per_second,
            self.measured.server_cpu_us_per_message,
            self.measured.client_cpu_us_per_message,
            self.faults.lost,
            self.faults.doubled,
            self.faults.reordered,
            self.measured.accepted_us,
            self.measured.stored_us,
            self.measured.delivered_us,
        );
        if let Some(slow) = &self.slow {
            summary += &format!(
                "\n  before {} of them were slow\n  delivered  {}\n  server memory for each slow one: {:.0} KiB",
                slow.clients, slow.before.delivered_us, slow.server_kib_per_client
            );
        }
        summary
    }
}

impl Measured {
    fn new(phase: &Phase, seconds: f64) -> Self {
        let Phase { tally, used, .. } = phase;
        #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 messages")]
        let in_time = tally.received_in_time.load(Ordering::Relaxed) as f64;
        Self {
            received_per_second: in_time / seconds,
            server_cpu_us_per_message: micros_per(used.server.total(), in_time),
            cpu_us_per_message_by_process: used
                .server
                .named()
                .map(|(name, cpu)| (name.to_owned(), micros_per(cpu, in_time)))
                .collect(),
            client_cpu_us_per_message: micros_per(used.client, in_time),
            accepted_us: tally.accepted.quantiles(),
            stored_us: tally.stored.quantiles(),
            delivered_us: tally.delivered.quantiles(),
        }
    }
}

impl Slow {
    fn new(clients: usize, before: &Phase, phase: &Phase, seconds: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "KiB of RAM are far below 2^52")]
        let grown = phase.rss_kib as f64 - before.rss_kib as f64;
        Self {
            clients,
            read_bytes_per_second: SLOW_BYTES_PER_SECOND,
            backlog_bytes: BACKLOG_MESSAGES * BACKLOG_CONTENT_BYTES as u64,
            before: Measured::new(before, seconds),
            server_rss_before_kib: before.rss_kib,
            #[expect(clippy::cast_precision_loss, reason = "there are at most 100")]
            server_kib_per_client: grown / clients as f64,
        }
    }
}
