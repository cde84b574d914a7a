//! `bench direct` and `bench spread`: senders, recipients, a load, and what it costs the server.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tidegate_client::{Client, ReadRate};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::{Direct, Load, Spread, Wire};
use super::checker::{Checker, Faults};
use super::crowd::{Crowd, Member};
use super::fill::fill;
use super::flow::{Inbound, Pace, Tally, Target, To, send};
use super::process::Cpu;
use super::report::Report;
use super::server::Server;
use super::{Outcome, pacer, process};

/// Each sender has one recipient.
pub(super) async fn direct(command: &Direct, server: &Server) -> anyhow::Result<Outcome> {
    let pairs = command.pairs as usize;
    let crowd = Crowd::new(server, command.common.transport, 2 * pairs)?.senders(pairs);
    let target = |pair: usize| vec![Target { stream: stream(pair), to: To::User(crowd.user(pairs + pair)) }];
    let plan = Plan {
        bench: "direct",
        wire: command.common.transport,
        targets: (0..pairs).map(target).collect(),
        recipients: pairs,
        slow: 0,
        rate: ReadRate::default(),
        load: command.load.clone(),
    };
    plan.run(&crowd, server).await
}

/// One sender has all recipients, in turn.
pub(super) async fn spread(command: &Spread, server: &Server) -> anyhow::Result<Outcome> {
    let (users, slow) = (command.users as usize, command.slow as usize);
    ensure!(slow < users, "--slow must be less than --users");
    let rate = ReadRate::default();
    let slow_from = (slow > 0).then(|| (1 + users - slow, rate.clone()));
    let crowd = Crowd::with_slow(server, command.common.transport, users + 1, slow_from)?;
    let plan = Plan {
        bench: "spread",
        wire: command.common.transport,
        targets: vec![
            (0..users).map(|n| Target { stream: stream(n), to: To::User(crowd.user(n + 1)) }).collect(),
        ],
        recipients: users,
        slow,
        rate,
        load: command.load.clone(),
    };
    plan.run(&crowd, server).await
}

/// Who sends what to whom. The senders are the first users, the recipients those after them, the slow ones the last.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) bench: &'static str,
    pub(super) wire: Wire,
    /// Of each sender; the streams are numbered through.
    pub(super) targets: Vec<Vec<Target>>,
    pub(super) recipients: usize,
    /// Of these.
    pub(super) slow: usize,
    /// Of the slow ones.
    rate: ReadRate,
    pub(super) load: Load,
}

/// The clients of a plan, and what has gone to them so far.
#[derive(Debug)]
struct Run<'a> {
    plan: &'a Plan,
    server: &'a Server,
    senders: Vec<Client>,
    recipients: Vec<(Member, Inbound)>,
    /// By stream.
    counts: Vec<(u32, u64)>,
}

/// What was seen of the load once.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) tally: Arc<Tally>,
    pub(super) used: Used,
    /// Of the server, at the end of the measured time.
    pub(super) rss_kib: u64,
}

/// What the server and the clients used in the measured time.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) server: Cpu,
    pub(super) client: Duration,
}

impl Plan {
    async fn run(self, crowd: &Crowd, server: &Server) -> anyhow::Result<Outcome> {
        let mut members = crowd.connect(self.targets.len() + self.recipients).await?;
        let recipients = members.split_off(self.targets.len());
        let fast = self.recipients - self.slow;
        let inbounds = (0..).map(|n| if n < fast { Inbound::default() } else { Inbound::of_slow() });
        let mut run = Run {
            plan: &self,
            server,
            // Their events are dropped: nobody writes to a sender.
            senders: members.into_iter().map(|member| member.client).collect(),
            recipients: recipients.into_iter().zip(inbounds).collect(),
            counts: Vec::new(),
        };
        if self.slow > 0 {
            run.warm().await?;
        }
        let mut phase = run.phase(0, 0).await?;
        let mut before = None;
        if self.slow > 0 {
            self.rate.limit(SLOW_BYTES_PER_SECOND);
            let backlog = run.fill(2, BACKLOG_MESSAGES).await?;
            let slow = run.phase(1, backlog).await?;
            before = Some(std::mem::replace(&mut phase, slow));
        }
        Report::new(&self, &phase, before.as_ref(), run.faults()).outcome()
    }
}

impl Run<'_> {
    /// Runs the load once, the `turn`th time; `waiting` messages are on their way already. Slow recipients are until
    /// the measured time is over.
    async fn phase(&mut self, turn: usize, waiting: u64) -> anyhow::Result<Phase> {
        let load = &self.plan.load;
        let begin = Instant::now() + LEAD;
        let measured = begin + load.warm_up..begin + load.warm_up + load.duration;
        let tally = Arc::new(Tally::new(begin, measured.clone()));
        tally.sent.fetch_add(waiting, Ordering::Relaxed);

        let done = CancellationToken::new();
        let receiving = receive(std::mem::take(&mut self.recipients), &tally, &done);
        let mut sending = self.start(turn, begin, measured.end, &tally);
        let used = measure(self.server, measured).await?;
        let rss_kib = self.server.processes.rss_kib()?;
        self.plan.rate.unlimit();
        while let Some(sent) = sending.join_next().await {
            self.counts.extend(sent.context("a sender panicked")?);
        }
        self.settle(receiving, &tally, &done).await?;
        Ok(Phase { tally, used, rss_kib })
    }

    /// Lets the slow recipients fall behind and catch up once: what the server's caches grow by for that, they have
    /// grown by before anything is measured.
    async fn warm(&mut self) -> anyhow::Result<()> {
        self.plan.rate.limit(SLOW_BYTES_PER_SECOND);
        let each = (WARM_BYTES / self.plan.slow).min(WARM_BYTES_EACH) / BACKLOG_CONTENT_BYTES;
        let waiting = self.fill(3, BACKLOG_MESSAGES.max(each as u64)).await?;
        self.plan.rate.unlimit();
        let now = Instant::now();
        let tally = Arc::new(Tally::new(now, now..now));
        tally.sent.fetch_add(waiting, Ordering::Relaxed);
        let done = CancellationToken::new();
        let receiving = receive(std::mem::take(&mut self.recipients), &tally, &done);
        self.settle(receiving, &tally, &done).await
    }

    /// Waits for everything sent, and takes the recipients back.
    async fn settle(
        &mut self,
        mut receiving: JoinSet<(Member, Inbound)>,
        tally: &Tally,
        done: &CancellationToken,
    ) -> anyhow::Result<()> {
        all_received(tally, self.plan.load.wait).await;
        done.cancel();
        while let Some(received) = receiving.join_next().await {
            self.recipients.push(received.context("a recipient panicked")?);
        }
        Ok(())
    }

    /// Begins sending, on streams of this turn's own.
    fn start(
        &self,
        turn: usize,
        begin: Instant,
        until: Instant,
        tally: &Arc<Tally>,
    ) -> JoinSet<Vec<(u32, u64)>> {
        let Plan { load, targets, recipients, .. } = self.plan;
        let paces: Vec<Pace> = match load.outstanding {
            Some(most) => self.senders.iter().map(|_| Pace::Closed(most as usize, until)).collect(),
            None => {
                let due = pacer::start(self.senders.len(), load.rate, begin, until);
                due.into_iter().map(Pace::Open).collect()
            }
        };
        let limit = until + load.wait;
        let mut sending = JoinSet::new();
        for ((client, targets), pace) in self.senders.iter().zip(targets).zip(paces) {
            let of_turn = |target: &Target| Target {
                stream: target.stream + stream(turn * recipients),
                to: target.to.clone(),
            };
            let targets = targets.iter().map(of_turn).collect();
            sending.spawn(send(client.clone(), targets, load.bytes as usize, pace, limit, tally.clone()));
        }
        sending
    }

    /// Sends large messages to each slow recipient, on streams of this turn's own; how many those were together.
    async fn fill(&mut self, turn: usize, messages: u64) -> anyhow::Result<u64> {
        let Plan { targets, recipients, slow, .. } = self.plan;
        let all = targets.iter().flatten();
        let of_slow = |target: &Target| Target {
            stream: target.stream + stream(turn * recipients),
            to: target.to.clone(),
        };
        let targets: Vec<Target> = all.skip(recipients - slow).map(of_slow).collect();
        fill(&self.senders[0], &targets, messages, BACKLOG_CONTENT_BYTES).await?;
        self.counts.extend(targets.iter().map(|target| (target.stream, messages)));
        Ok(messages * *slow as u64)
    }

    /// What went wrong so far. A stream of which nothing has come has no checker.
    fn faults(&self) -> Faults {
        let checkers: HashMap<u32, &Checker> =
            self.recipients.iter().flat_map(|(_, inbound)| inbound.checkers()).collect();
        let nothing = Checker::default();
        let mut total = Faults::default();
        for (stream, sent) in &self.counts {
            total += checkers.get(stream).copied().unwrap_or(&nothing).faults(*sent);
        }
        total
    }
}

fn receive(
    recipients: Vec<(Member, Inbound)>,
    tally: &Arc<Tally>,
    done: &CancellationToken,
) -> JoinSet<(Member, Inbound)> {
    let mut receiving = JoinSet::new();
    for (mut member, mut inbound) in recipients {
        let (tally, done) = (tally.clone(), done.clone());
        receiving.spawn(async move {
            tokio::select! {
                () = inbound.receive(&mut member.events, &tally) => {}
                () = done.cancelled() => {}
            }
            (member, inbound)
        });
    }
    receiving
}

/// What is used from one time to the other.
pub(super) async fn measure(server: &Server, measured: Range<Instant>) -> anyhow::Result<Used> {
    let own = std::process::id();
    tokio::time::sleep_until(measured.start.into()).await;
    let (server_before, client_before) = (server.processes.cpu()?, process::cpu(own)?);
    tokio::time::sleep_until(measured.end.into()).await;
    Ok(Used {
        server: server.processes.cpu()?.since(&server_before),
        client: process::cpu(own)?.saturating_sub(client_before),
    })
}

/// Waits until everything sent has come, and a little for what comes twice; what has not come in time is lost.
pub(super) async fn all_received(tally: &Tally, limit: Duration) {
    let until = Instant::now() + limit;
    while tally.received.load(Ordering::Relaxed) < tally.sent.load(Ordering::Relaxed)
        && Instant::now() < until
    {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tokio::time::sleep(AFTERWARDS).await;
}

fn stream(number: usize) -> u32 {
    u32::try_from(number).expect("at most four times 100,000 by the command line")
}

/// From the last connection to the first message.
pub(super) const LEAD: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const AFTERWARDS: Duration = Duration::from_millis(500);
/// What a slow recipient reads.
pub(super) const SLOW_BYTES_PER_SECOND: u32 = 1_024;
/// What waits for it: 4 MiB. Its outbox is 256 KiB, QUIC's stream window as much, TCP's buffers a little.
pub(super) const BACKLOG_MESSAGES: u64 = 64;
pub(super) const BACKLOG_CONTENT_BYTES: usize = 64 * 1024;
/// More than the store's caches hold. A few slow recipients are not kept waiting that long: then what the caches grow by
/// later is counted to them.
const WARM_BYTES: usize = 96 * 1024 * 1024;
const WARM_BYTES_EACH: usize = 10 * 1024 * 1024;
