//! `bench direct` and `bench fanout`: senders, recipients, a load, and what it costs the server.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::{Direct, Fanout, Load, Wire};
use super::checker::{Checker, Faults};
use super::crowd::{Crowd, Member};
use super::flow::{Inbound, Pace, Tally, Target, send};
use super::latency::Quantiles;
use super::server::Server;
use super::{Outcome, micros_per, pacer, process};

/// Each sender has one recipient.
pub(super) async fn direct(command: &Direct, server: &Server) -> anyhow::Result<Outcome> {
    let pairs = command.pairs as usize;
    let crowd = Crowd::new(server, command.common.transport, 2 * pairs)?;
    let target = |pair: usize| vec![(stream(pair), crowd.user(pairs + pair))];
    let plan = Plan {
        bench: "direct",
        wire: command.common.transport,
        targets: (0..pairs).map(target).collect(),
        recipients: pairs,
        load: command.load.clone(),
    };
    plan.run(&crowd, server).await
}

/// One sender has all recipients, in turn.
pub(super) async fn fanout(command: &Fanout, server: &Server) -> anyhow::Result<Outcome> {
    let users = command.users as usize;
    let crowd = Crowd::new(server, command.common.transport, users + 1)?;
    let plan = Plan {
        bench: "fanout",
        wire: command.common.transport,
        targets: vec![(0..users).map(|user| (stream(user), crowd.user(user + 1))).collect()],
        recipients: users,
        load: command.load.clone(),
    };
    plan.run(&crowd, server).await
}

/// Who sends what to whom. The senders are the first users, the recipients those after them.
#[derive(Debug)]
struct Plan {
    bench: &'static str,
    wire: Wire,
    /// Of each sender: streams, and the users they go to.
    targets: Vec<Vec<(u32, String)>>,
    recipients: usize,
    load: Load,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
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
    received_per_second: f64,
    server_cpu_us_per_message: f64,
    client_cpu_us_per_message: f64,
    server_rss_kib: u64,
    accepted_us: Quantiles,
    stored_us: Quantiles,
    delivered_us: Quantiles,
    rejected: u64,
    reconnects: u64,
    #[serde(flatten)]
    faults: Faults,
}

/// What the two processes used in the measured time.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) server: Duration,
    pub(super) client: Duration,
}

impl Plan {
    async fn run(self, crowd: &Crowd, server: &Server) -> anyhow::Result<Outcome> {
        let mut senders = crowd.connect(self.targets.len() + self.recipients).await?;
        let recipients = senders.split_off(self.targets.len());
        let begin = Instant::now() + LEAD;
        let measured = begin + self.load.warm_up..begin + self.load.warm_up + self.load.duration;
        let tally = Arc::new(Tally::new(begin, measured.clone()));

        let done = CancellationToken::new();
        let mut receiving = receive(recipients, &tally, &done);
        let mut sending = self.start(senders, begin, measured.end, &tally);
        let used = measure(server, measured).await?;
        let mut counts = Vec::new();
        while let Some(sent) = sending.join_next().await {
            counts.extend(sent.context("a sender panicked")?);
        }
        all_received(&tally).await;
        done.cancel();
        let mut checkers = HashMap::new();
        while let Some(inbound) = receiving.join_next().await {
            checkers.extend(inbound.context("a recipient panicked")?.into_checkers());
        }
        let faults = faults(&checkers, &counts);
        self.outcome(&tally, &used, faults, process::rss_kib(server.pid)?)
    }

    /// Begins sending.
    fn start(
        &self,
        senders: Vec<Member>,
        begin: Instant,
        until: Instant,
        tally: &Arc<Tally>,
    ) -> JoinSet<Vec<(u32, u64)>> {
        let paces: Vec<Pace> = match self.load.outstanding {
            Some(most) => senders.iter().map(|_| Pace::Closed(most as usize, until)).collect(),
            None => {
                let due = pacer::start(senders.len(), self.load.rate, begin, until);
                due.into_iter().map(Pace::Open).collect()
            }
        };
        let mut sending = JoinSet::new();
        for ((member, targets), pace) in senders.into_iter().zip(&self.targets).zip(paces) {
            let target = |(stream, user): &(u32, String)| Target { stream: *stream, user: user.clone() };
            let targets = targets.iter().map(target).collect();
            // Its events are dropped: nobody writes to a sender.
            sending.spawn(send(member.client, targets, self.load.bytes as usize, pace, tally.clone()));
        }
        sending
    }

    fn outcome(
        &self,
        tally: &Tally,
        used: &Used,
        faults: Faults,
        server_rss_kib: u64,
    ) -> anyhow::Result<Outcome> {
        let seconds = self.load.duration.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 messages")]
        let in_time = tally.received_in_time.load(Ordering::Relaxed) as f64;
        let report = Report {
            bench: self.bench,
            transport: self.wire,
            senders: self.targets.len(),
            recipients: self.recipients,
            bytes: self.load.bytes,
            rate: self.load.outstanding.is_none().then_some(self.load.rate),
            outstanding: self.load.outstanding,
            seconds,
            sent: tally.sent.load(Ordering::Relaxed),
            received: tally.received.load(Ordering::Relaxed),
            received_per_second: in_time / seconds,
            server_cpu_us_per_message: micros_per(used.server, in_time),
            client_cpu_us_per_message: micros_per(used.client, in_time),
            server_rss_kib,
            accepted_us: tally.accepted.quantiles(),
            stored_us: tally.stored.quantiles(),
            delivered_us: tally.delivered.quantiles(),
            rejected: tally.rejected.load(Ordering::Relaxed),
            reconnects: tally.reconnects.load(Ordering::Relaxed),
            faults,
        };
        let fault = (!faults.is_clean() || report.rejected > 0)
            .then(|| format!("{faults:?}, {} refused or without an answer", report.rejected));
        Outcome::new(&report, report.summary(), fault)
    }
}

impl Report {
    fn summary(&self) -> String {
        format!(
            "{} -> {}: {:.0} messages/s, {:.1} µs of server CPU each ({:.1} of the clients); {} lost, {} doubled, {} reordered\n  \
             accepted   {}\n  stored     {}\n  delivered  {}",
            self.senders,
            self.recipients,
            self.received_per_second,
            self.server_cpu_us_per_message,
            self.client_cpu_us_per_message,
            self.faults.lost,
            self.faults.doubled,
            self.faults.reordered,
            self.accepted_us,
            self.stored_us,
            self.delivered_us,
        )
    }
}

fn receive(recipients: Vec<Member>, tally: &Arc<Tally>, done: &CancellationToken) -> JoinSet<Inbound> {
    let mut receiving = JoinSet::new();
    for mut member in recipients {
        let (tally, done) = (tally.clone(), done.clone());
        receiving.spawn(async move {
            let mut inbound = Inbound::default();
            tokio::select! {
                () = inbound.receive(&mut member.events, &tally) => {}
                () = done.cancelled() => {}
            }
            inbound
        });
    }
    receiving
}

/// What is used from one time to the other.
pub(super) async fn measure(server: &Server, measured: std::ops::Range<Instant>) -> anyhow::Result<Used> {
    let own = std::process::id();
    tokio::time::sleep_until(measured.start.into()).await;
    let (server_before, client_before) = (process::cpu(server.pid)?, process::cpu(own)?);
    tokio::time::sleep_until(measured.end.into()).await;
    Ok(Used {
        server: process::cpu(server.pid)?.saturating_sub(server_before),
        client: process::cpu(own)?.saturating_sub(client_before),
    })
}

/// Waits until everything sent has come, and a little for what comes twice; what has not come in time is lost.
async fn all_received(tally: &Tally) {
    let until = Instant::now() + ARRIVAL_LIMIT;
    while tally.received.load(Ordering::Relaxed) < tally.sent.load(Ordering::Relaxed)
        && Instant::now() < until
    {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(AFTERWARDS).await;
}

/// A stream of which nothing has come has no checker.
fn faults(checkers: &HashMap<u32, Checker>, counts: &[(u32, u64)]) -> Faults {
    let nothing = Checker::default();
    let mut total = Faults::default();
    for (stream, sent) in counts {
        total += checkers.get(stream).unwrap_or(&nothing).faults(*sent);
    }
    total
}

fn stream(number: usize) -> u32 {
    u32::try_from(number).expect("at most 100,000 by the command line")
}

/// From the last connection to the first message.
pub(super) const LEAD: Duration = Duration::from_millis(500);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const AFTERWARDS: Duration = Duration::from_millis(500);
