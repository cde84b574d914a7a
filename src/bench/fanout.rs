//! `bench fanout`: one publisher, one channel, many subscribers: what a delivery costs the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::args::{Fanout, Wire};
use super::checker::Faults;
use super::crowd::Crowd;
use super::flow::{Pace, Tally, Target, To, send};
use super::latency::Quantiles;
use super::server::Server;
use super::subscriber::{Everywhere, Subscriber};
use super::{Outcome, load, micros_per, pacer};

/// What was measured. Counts are of the whole run.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    transport: Wire,
    subscribers: u32,
    bytes: u32,
    /// Of the open loop, publishes per second.
    rate: Option<u32>,
    /// Of the closed loop, publishes that are not everywhere yet.
    outstanding: Option<u32>,
    seconds: f64,
    published: u64,
    deliveries: u64,
    deliveries_per_second: f64,
    deliveries_per_server_cpu_second: f64,
    server_cpu_us_per_delivery: f64,
    client_cpu_us_per_delivery: f64,
    /// Of the deliveries, in one WebSocket message or, with QUIC, in one STREAM frame.
    messages_per_write: f64,
    /// From when a message was due or published.
    delivered_us: Quantiles,
    stored_us: Quantiles,
    server_rss_kib: u64,
    rejected: u64,
    broken: u64,
    /// Deliveries whose seq does not follow the one before.
    misplaced: u64,
    #[serde(flatten)]
    faults: Faults,
}

/// The subscribers at the end of a run.
#[derive(Debug, Default)]
struct Seen {
    faults: Faults,
    misplaced: u64,
    broken: u64,
    pieces: u64,
}

pub(super) async fn run(command: &Fanout, server: &Server) -> anyhow::Result<Outcome> {
    let (load, subs) = (&command.load, command.subs as usize);
    let crowd = Crowd::new(server, command.common.transport, subs + 1)?;
    let publisher = crowd.connect(1).await?.pop().context("one publisher")?.client;
    let channel = crowd.channel();
    let sessions = crowd.connect_raw(1..subs + 1).await?;
    let beginning = sessions.into_iter().map(|session| Subscriber::begin(session, &channel));
    let subscribers: Vec<_> = stream::iter(beginning).buffer_unordered(SUBSCRIBES).try_collect().await?;

    let begin = Instant::now() + load::LEAD;
    let measured = begin + load.warm_up..begin + load.warm_up + load.duration;
    let tally = Arc::new(Tally::new(begin, measured.clone()));
    let everywhere = Arc::new(Everywhere::new(command.subs, load.outstanding.unwrap_or(0) as usize));
    let pieces_before: u64 = subscribers.iter().map(Subscriber::pieces).sum();
    let done = CancellationToken::new();
    let receiving = receive(subscribers, &tally, &everywhere, &done);

    let pace = match load.outstanding {
        Some(_) => Pace::Room(everywhere.room.clone(), measured.end),
        None => Pace::Open(pacer::start(1, load.rate, begin, measured.end).pop().context("one publisher")?),
    };
    let target = Target { stream: 0, to: To::Channel(channel) };
    let limit = measured.end + load.wait;
    let publishing = send(publisher, vec![target], load.bytes as usize, pace, limit, tally.clone());
    let (sent, used) = tokio::join!(publishing, load::measure(server, measured));
    let (used, rss_kib) = (used?, server.processes.rss_kib()?);
    let published: u64 = sent.iter().map(|(_, count)| count).sum();
    tally.sent.store(published * u64::from(command.subs), Ordering::Relaxed);
    load::all_received(&tally, load.wait).await;
    done.cancel();
    let mut seen = end(receiving, published).await?;
    seen.pieces -= pieces_before;
    Report::new(command, &tally, (published, &seen), &used, rss_kib).outcome()
}

fn receive(
    subscribers: Vec<Subscriber>,
    tally: &Arc<Tally>,
    everywhere: &Arc<Everywhere>,
    done: &CancellationToken,
) -> JoinSet<(Subscriber, bool)> {
    let mut receiving = JoinSet::new();
    for mut subscriber in subscribers {
        let (tally, everywhere, done) = (tally.clone(), everywhere.clone(), done.clone());
        receiving.spawn(async move {
            let received = done.run_until_cancelled(subscriber.receive(&tally, &everywhere)).await;
            (subscriber, received.is_some())
        });
    }
    receiving
}

/// What the subscribers have seen of the messages published.
async fn end(mut receiving: JoinSet<(Subscriber, bool)>, published: u64) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    while let Some(received) = receiving.join_next().await {
        let (subscriber, broken) = received.context("a subscriber panicked")?;
        seen.faults += subscriber.checker.faults(published);
        seen.misplaced += subscriber.misplaced;
        seen.broken += u64::from(broken);
        seen.pieces += subscriber.pieces();
    }
    Ok(seen)
}

impl Report {
    fn new(
        command: &Fanout,
        tally: &Tally,
        (published, seen): (u64, &Seen),
        used: &load::Used,
        server_rss_kib: u64,
    ) -> Self {
        let (load, deliveries) = (&command.load, tally.received.load(Ordering::Relaxed));
        let seconds = load.duration.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 deliveries")]
        let [in_time, all, pieces] =
            [tally.received_in_time.load(Ordering::Relaxed), deliveries, seen.pieces]
                .map(|count| count as f64);
        Self {
            bench: "fanout",
            transport: command.common.transport,
            subscribers: command.subs,
            bytes: load.bytes,
            rate: load.outstanding.is_none().then_some(load.rate),
            outstanding: load.outstanding,
            seconds,
            published,
            deliveries,
            deliveries_per_second: in_time / seconds,
            deliveries_per_server_cpu_second: in_time
                / used.server.total().as_secs_f64().max(f64::MIN_POSITIVE),
            server_cpu_us_per_delivery: micros_per(used.server.total(), in_time),
            client_cpu_us_per_delivery: micros_per(used.client, in_time),
            messages_per_write: all / pieces.max(1.0),
            delivered_us: tally.delivered.quantiles(),
            stored_us: tally.stored.quantiles(),
            server_rss_kib,
            rejected: tally.rejected.load(Ordering::Relaxed),
            broken: seen.broken,
            misplaced: seen.misplaced,
            faults: seen.faults,
        }
    }

    fn outcome(&self) -> anyhow::Result<Outcome> {
        let is_clean = self.faults.is_clean() && self.rejected + self.broken + self.misplaced == 0;
        let fault = (!is_clean).then(|| {
            let Self { faults, rejected, broken, misplaced, .. } = self;
            format!(
                "{faults:?}, {rejected} refused or without an answer, {broken} broken, {misplaced} misplaced"
            )
        });
        let summary = format!(
            "1 -> {}: {:.0} deliveries/s, {:.0} for each second of server CPU ({:.2} µs each, {:.2} of the clients), \
             {:.1} in a write; {} published; {} lost, {} doubled, {} reordered\n  \
             stored     {}\n  delivered  {}",
            self.subscribers,
            self.deliveries_per_second,
            self.deliveries_per_server_cpu_second,
            self.server_cpu_us_per_delivery,
            self.client_cpu_us_per_delivery,
            self.messages_per_write,
            self.published,
            self.faults.lost,
            self.faults.doubled,
            self.faults.reordered,
            self.stored_us,
            self.delivered_us,
        );
        Outcome::new(self, summary, fault)
    }
}

/// Subscribes under way at a time.
const SUBSCRIBES: usize = 256;
