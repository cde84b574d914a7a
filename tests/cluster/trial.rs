//! The course of a scenario: a cluster under load, faults, after each the recovery, and in the end the verdict.

use std::time::{Duration, Instant};

use tidegate_proto::id::UserId;
use tokio::time::{sleep, timeout};

use crate::audit;
use crate::checker;
use crate::cluster::Cluster;
use crate::crew::Crew;
use crate::ledger::Ledger;
use crate::scale::Scale;

/// A scenario on its way.
pub(crate) struct Trial {
    pub(crate) scale: Scale,
    pub(crate) cluster: Cluster,
    pub(crate) crew: Crew,
    begin: Instant,
    /// Of all processes together, before the first fault, in bytes.
    memory: u64,
    recoveries: Vec<Recovery>,
}

/// How long after a fault it took.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    /// Until every device had everything.
    messages: Duration,
    /// Until presence was right.
    presence: Duration,
}

impl Trial {
    /// Everybody is connected and sends, and all is well.
    pub(crate) async fn begin(cluster: Cluster, scale: Scale) -> Self {
        let mut crew = Crew::connect(&cluster, scale).await;
        crew.start(scale);
        let mut trial =
            Self { scale, cluster, crew, begin: Instant::now(), memory: 0, recoveries: Vec::new() };
        trial.calm().await;
        trial.memory = trial.memory_now();
        trial
    }

    /// The load runs for a while.
    pub(crate) async fn calm(&self) {
        self.crew.progress(u64::from(self.scale.rate) * self.scale.calm.as_secs()).await;
    }

    /// The load runs until a random moment.
    pub(crate) async fn some_time(&self) {
        self.crew.progress(rand::random_range(1..=u64::from(self.scale.rate))).await;
        // Receipts come in batches: not always right after one.
        sleep(Duration::from_micros(rand::random_range(0..20_000))).await;
    }

    /// A fault ended at `end`: every device has everything within `limit`, and presence is right within 12 s; both are
    /// held at three times their figure.
    pub(crate) async fn recovered(&mut self, end: Instant, limit: Duration) {
        let held = (limit * 3).saturating_sub(end.elapsed());
        if !self.crew.complete(Some(end), held).await {
            let ledger = self.crew.ledger();
            let (missing, some) = (ledger.incomplete(Some(end)), ledger.some_incomplete());
            panic!("{:?} after the fault {missing} messages are not everywhere: {some}", end.elapsed());
        }
        let messages = self.crew.ledger().recovery(end, end);
        let held = (PRESENCE_LIMIT * 3).saturating_sub(end.elapsed());
        let right = async {
            while self.wrong_presence().await.is_some() {
                sleep(LOOK_EVERY).await;
            }
        };
        let is_right = timeout(held, right).await.is_ok();
        let wrong = if is_right { None } else { self.wrong_presence().await };
        assert!(is_right, "{:?} after the fault presence is wrong: {wrong:?}", end.elapsed());
        self.recoveries.push(Recovery { messages, presence: end.elapsed().max(messages) });
        self.assert_all_live();
    }

    /// The load ends, and everything is looked at.
    pub(crate) async fn end(mut self, what: &str) {
        self.calm().await;
        let seconds = self.begin.elapsed().as_secs_f64();
        self.crew.stop().await;
        if !self.crew.complete(None, REST_LIMIT).await {
            let ledger = self.crew.ledger();
            panic!("{} messages are not everywhere: {}", ledger.incomplete(None), ledger.some_incomplete());
        }
        let defects = checker::defects(&self.crew.ledger());
        assert!(defects.is_empty(), "{} defects: {:#?}", defects.len(), &defects[..defects.len().min(20)]);
        self.assert_all_live();
        self.at_rest().await;
        let expected = audit::Expected::by(&self.crew.ledger());
        audit::check_stored(&self.cluster, expected).await;
        self.report(what, seconds);
    }

    /// Queues are empty, feeds are live, and memory is not far from where it was.
    async fn at_rest(&self) {
        let rest = async {
            while self.busy().await.is_some() {
                sleep(LOOK_EVERY).await;
            }
        };
        if timeout(REST_LIMIT, rest).await.is_err() {
            panic!("not at rest: {:?}", self.busy().await);
        }
        let (before, now) = (self.memory, self.memory_now());
        assert!(now < 2 * before + MEMORY_SLACK, "memory grew from {before} to {now} bytes");
    }

    /// A figure that should be 0 and is not.
    async fn busy(&self) -> Option<String> {
        for process in self.cluster.processes() {
            let metrics = process.metrics().await;
            assert!(!metrics.is_empty(), "{} has metrics", process.name);
            let is_busy = |(name, value): &&(String, f64)| {
                BUSY.iter().any(|busy| name.starts_with(busy)) && *value != 0.0
            };
            if let Some((name, value)) = metrics.iter().find(is_busy) {
                return Some(format!("{}: {name} is {value}", process.name));
            }
        }
        None
    }

    /// A user whose devices are not where presence says.
    async fn wrong_presence(&self) -> Option<String> {
        let users: Vec<UserId> =
            (0..self.scale.users).map(|user| UserId::new(&Ledger::user(user)).unwrap()).collect();
        let Ok(found) = self.cluster.presence.lookup(&users).await else {
            return Some("it does not answer".to_owned());
        };
        for (user, routes) in (0..).zip(found) {
            let mut said: Vec<(String, Option<String>)> = routes
                .iter()
                .map(|(device, route)| (device.as_str().to_owned(), Some(route.gateway.to_string())))
                .collect();
            said.sort_unstable();
            let own = self.crew.devices().iter().filter(|connection| connection.user == user);
            let is: Vec<_> =
                own.map(|connection| (connection.device.clone(), connection.gateway())).collect();
            if said != is {
                return Some(format!("user {user} is at {is:?}, and presence says {said:?}"));
            }
        }
        None
    }

    fn assert_all_live(&mut self) {
        for process in self.cluster.processes_mut() {
            process.assert_lives();
        }
    }

    fn memory_now(&self) -> u64 {
        self.cluster.processes().map(|process| process.memory()).sum()
    }

    fn report(&self, what: &str, seconds: f64) {
        let ledger = self.crew.ledger();
        let longest = |figure: fn(&Recovery) -> Duration| {
            self.recoveries.iter().map(figure).max().unwrap_or_default().as_secs_f64()
        };
        println!(
            "{what}: {} messages ({} of channels) in {seconds:.1} s, {:.0}/s; {} faults; every device had everything at the latest \
             {:.1} s after one, presence was right {:.1} s after one; memory {} MiB before, {} MiB after",
            ledger.offered(),
            ledger.channels.published(),
            ledger.offered() as f64 / seconds,
            self.recoveries.len(),
            longest(|recovery| recovery.messages),
            longest(|recovery| recovery.presence),
            self.memory >> 20,
            self.memory_now() >> 20,
        );
    }
}

/// What is 0 at rest.
const BUSY: [&str; 4] =
    ["queue_depth{", "feeds_catching_up", "kafka_lag_records", "kafka_partitions_waiting"];
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PRESENCE_LIMIT: Duration = Duration::from_secs(12);
/// What never comes to rest is a defect; what takes long is one by the limits above.
const REST_LIMIT: Duration = Duration::from_secs(60);
/// Of all processes together, beyond twice what they had.
const MEMORY_SLACK: u64 = 128 << 20;
