//! `bench signals`: one sender to many users in turn, past log and store: what it costs the gateway alone to bring
//! something to another connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tidegate_client::v1::Signal;
use tidegate_client::{Client, Event, Events};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::args::{Signals, Wire};
use super::crowd::Crowd;
use super::latency::{Latency, Quantiles};
use super::payload::Stamp;
use super::server::Server;
use super::{Outcome, load, micros_per, pacer};

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    transport: Wire,
    datagrams: bool,
    recipients: u32,
    bytes: u32,
    rate: u32,
    seconds: f64,
    /// All that the sender's client took, warm-up included.
    sent: u64,
    /// All that came; a signal may be dropped wherever there is no room.
    received: u64,
    received_per_second: f64,
    server_cpu_us_per_signal: f64,
    client_cpu_us_per_signal: f64,
    delivered_us: Quantiles,
}

/// What the tasks of a run have seen.
#[derive(Debug)]
struct Tally {
    begin: Instant,
    measured: std::ops::Range<Instant>,
    delivered: Latency,
    sent: AtomicU64,
    received: AtomicU64,
    /// Of these, what came within the measured time.
    received_in_time: AtomicU64,
}

pub(super) async fn run(command: &Signals, server: &Server) -> anyhow::Result<Outcome> {
    let users = command.users as usize;
    let crowd = Crowd::new(server, command.common.transport, users + 1)?.datagrams(command.datagrams);
    let mut recipients = crowd.connect(users + 1).await?;
    let sender = recipients.swap_remove(0);
    let begin = Instant::now() + load::LEAD;
    let measured = begin + command.warm_up..begin + command.warm_up + command.duration;
    let tally = Arc::new(Tally::new(begin, measured.clone()));

    let mut receiving = JoinSet::new();
    for mut member in recipients {
        let tally = tally.clone();
        receiving.spawn(async move {
            tally.receive(&mut member.events).await;
            member
        });
    }
    let due = pacer::start(1, command.rate, begin, measured.end).pop().context("one sender")?;
    let names = (1..=users).map(|number| crowd.user(number)).collect();
    let sending = send(sender.client, names, command.bytes as usize, due, &tally);
    let ((), used) = tokio::join!(sending, load::measure(server, measured));
    tokio::time::sleep(AFTERWARDS).await;
    receiving.abort_all();
    outcome(command, &tally, &used?)
}

fn outcome(command: &Signals, tally: &Tally, used: &load::Used) -> anyhow::Result<Outcome> {
    let seconds = command.duration.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 signals")]
    let in_time = tally.received_in_time.load(Ordering::Relaxed) as f64;
    let report = Report {
        bench: "signals",
        transport: command.common.transport,
        datagrams: command.datagrams,
        recipients: command.users,
        bytes: command.bytes,
        rate: command.rate,
        seconds,
        sent: tally.sent.load(Ordering::Relaxed),
        received: tally.received.load(Ordering::Relaxed),
        received_per_second: in_time / seconds,
        server_cpu_us_per_signal: micros_per(used.server.total(), in_time),
        client_cpu_us_per_signal: micros_per(used.client, in_time),
        delivered_us: tally.delivered.quantiles(),
    };
    let summary = format!(
        "1 -> {}: {:.0} signals/s, {:.2} µs of server CPU each ({:.2} of the clients); {} of {} came\n  delivered  {}",
        report.recipients,
        report.received_per_second,
        report.server_cpu_us_per_signal,
        report.client_cpu_us_per_signal,
        report.received,
        report.sent,
        report.delivered_us,
    );
    // Dropping a signal is no fault, but a run in which none came measured nothing.
    let fault = (report.received == 0).then(|| "no signal came".to_owned());
    Outcome::new(&report, summary, fault)
}

/// Sends to the users in turn, each signal when it is due.
async fn send(
    client: Client,
    users: Vec<String>,
    bytes: usize,
    mut due: mpsc::Receiver<Instant>,
    tally: &Tally,
) {
    for (number, user) in (0..).zip(users.iter().cycle()) {
        let Some(at) = due.recv().await else { return };
        let stamp = Stamp { stream: 0, number, due: at - tally.begin };
        let content = stamp.content(bytes).into();
        let signal = Signal { user: user.clone(), kind: "bench".into(), content, ..Signal::default() };
        if client.signal(signal) {
            tally.sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tally {
    fn new(begin: Instant, measured: std::ops::Range<Instant>) -> Self {
        Self {
            begin,
            measured,
            delivered: Latency::default(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            received_in_time: AtomicU64::new(0),
        }
    }

    async fn receive(&self, events: &mut Events) {
        while let Some(event) = events.recv().await {
            let Event::Signal(signal) = event else { continue };
            let Some(stamp) = Stamp::read(&signal.content) else { continue };
            let (now, due) = (Instant::now(), self.begin + stamp.due);
            self.received.fetch_add(1, Ordering::Relaxed);
            if self.measured.contains(&now) {
                self.received_in_time.fetch_add(1, Ordering::Relaxed);
            }
            if self.measured.contains(&due) {
                self.delivered.record(now - due);
            }
        }
    }
}

/// For what is still on its way.
const AFTERWARDS: Duration = Duration::from_millis(500);
