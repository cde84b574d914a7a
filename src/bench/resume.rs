//! `bench resume`: many clients come back at the same moment, to messages that came while they were away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tidegate_client::{Event, Events};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::args::{Resume, Wire};
use super::checker::{Checker, Faults};
use super::crowd::{Crowd, Member, connect};
use super::fill::fill;
use super::flow::{Target, To};
use super::latency::{Latency, Quantiles};
use super::payload::Stamp;
use super::server::Server;
use super::{Outcome, micros_per, process};

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    transport: Wire,
    clients: u32,
    /// That waited for each.
    messages: u32,
    /// Until the last one had its session.
    sessions_seconds: f64,
    sessions_per_second: f64,
    /// Until the last one had its last message.
    complete_seconds: f64,
    server_cpu_us_per_session: f64,
    client_cpu_us_per_session: f64,
    server_rss_kib: u64,
    session_us: Quantiles,
    complete_us: Quantiles,
    /// Attempts that found no session and were repeated.
    failed_attempts: u32,
    #[serde(flatten)]
    faults: Faults,
}

/// What all that come back see.
#[derive(Debug)]
struct Seen {
    session: Latency,
    complete: Latency,
    start: Barrier,
}

/// What one that came back saw.
#[derive(Debug)]
struct Return {
    session: Instant,
    complete: Instant,
    failures: u32,
    faults: Faults,
}

pub(super) async fn run(command: &Resume, server: &Server) -> anyhow::Result<Outcome> {
    let count = command.clients as usize;
    let crowd = Crowd::new(server, command.common.transport, count + 1)?;
    let mut members = crowd.connect(count + 1).await?;
    let sender = members.pop().context("there is no sender")?;
    leave(members).await?;
    let targets: Vec<Target> =
        (0..count).map(|user| Target { stream: 0, to: To::User(crowd.user(user)) }).collect();
    fill(&sender.client, &targets, command.messages.into(), CONTENT_BYTES).await?;

    let seen = Arc::new(Seen {
        session: Latency::default(),
        complete: Latency::default(),
        start: Barrier::new(count + 1),
    });
    let mut returning = JoinSet::new();
    for number in 0..count {
        let (crowd, seen, messages) = (crowd.clone(), seen.clone(), command.messages.into());
        returning.spawn(async move { come_back(&crowd, number, messages, &seen).await });
    }
    let own = std::process::id();
    let before = (server.processes.cpu()?.total(), process::cpu(own)?);
    seen.start.wait().await;
    let begin = Instant::now();
    let mut returns = Vec::with_capacity(count);
    // They stay until all are back.
    let mut back = Vec::with_capacity(count);
    while let Some(returned) = returning.join_next().await {
        let (one, member) = returned.context("a client panicked")??;
        returns.push(one);
        back.push(member);
    }
    let after = (server.processes.cpu()?.total(), process::cpu(own)?);
    let used = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    report(command, &seen, &returns, begin, used, server.processes.rss_kib()?)
}

/// All go, and have acknowledged what they have.
async fn leave(members: Vec<Member>) -> anyhow::Result<()> {
    let mut leaving = JoinSet::new();
    for member in members {
        leaving.spawn(async move { member.client.close().await });
    }
    while let Some(left) = leaving.join_next().await {
        left.context("a client panicked")?;
    }
    Ok(())
}

async fn come_back(
    crowd: &Crowd,
    number: usize,
    messages: u64,
    seen: &Seen,
) -> anyhow::Result<(Return, Member)> {
    let config = crowd.config(number)?;
    seen.start.wait().await;
    let begin = Instant::now();
    let (mut member, failures) = connect(&config, COMPLETE_LIMIT).await?;
    let session = Instant::now();
    seen.session.record(session - begin);
    let mut checker = Checker::default();
    // What has not come by then is counted as lost.
    let all = timeout(COMPLETE_LIMIT, receive(&mut member.events, messages, &mut checker)).await;
    if let Ok(ended) = all {
        ended?;
    }
    let complete = Instant::now();
    seen.complete.record(complete - begin);
    Ok((Return { session, complete, failures, faults: checker.faults(messages) }, member))
}

async fn receive(events: &mut Events, messages: u64, checker: &mut Checker) -> anyhow::Result<()> {
    let mut missing = messages;
    while missing > 0 {
        match events.recv().await {
            Some(Event::Message(message)) => {
                let first = Stamp::read(&message.msg.content).is_some_and(|stamp| checker.note(stamp.number));
                missing -= u64::from(first);
            }
            Some(Event::Closed(reason)) => bail!("a client ended: {reason}"),
            Some(_) => {}
            None => bail!("a client ended"),
        }
    }
    Ok(())
}

fn report(
    command: &Resume,
    seen: &Seen,
    returns: &[Return],
    begin: Instant,
    used: (Duration, Duration),
    server_rss_kib: u64,
) -> anyhow::Result<Outcome> {
    let last = |when: fn(&Return) -> Instant| {
        returns.iter().map(when).max().map_or(0.0, |last| last.saturating_duration_since(begin).as_secs_f64())
    };
    let mut faults = Faults::default();
    returns.iter().for_each(|one| faults += one.faults);
    let clients = f64::from(command.clients);
    let sessions_seconds = last(|one| one.session);
    let report = Report {
        bench: "resume",
        transport: command.common.transport,
        clients: command.clients,
        messages: command.messages,
        sessions_seconds,
        sessions_per_second: clients / sessions_seconds.max(f64::MIN_POSITIVE),
        complete_seconds: last(|one| one.complete),
        server_cpu_us_per_session: micros_per(used.0, clients),
        client_cpu_us_per_session: micros_per(used.1, clients),
        server_rss_kib,
        session_us: seen.session.quantiles(),
        complete_us: seen.complete.quantiles(),
        failed_attempts: returns.iter().map(|one| one.failures).sum(),
        faults,
    };
    let summary = format!(
        "{} came back: {:.0} sessions/s, all with all {} messages after {:.2} s; {:.0} µs of server CPU each; {} failed attempts\n  \
         session    {}\n  complete   {}",
        report.clients,
        report.sessions_per_second,
        report.messages,
        report.complete_seconds,
        report.server_cpu_us_per_session,
        report.failed_attempts,
        report.session_us,
        report.complete_us,
    );
    let fault = (!faults.is_clean()).then(|| format!("{faults:?}"));
    Outcome::new(&report, summary, fault)
}

const CONTENT_BYTES: usize = 128;
const COMPLETE_LIMIT: Duration = Duration::from_secs(60);
