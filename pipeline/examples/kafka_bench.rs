//! How long Kafka takes to acknowledge, and how much it takes, as the gateways' end of the log has it.
//!
//! `cargo run -p tidegate-pipeline --release --example kafka_bench -- HOST:PORT [key=value …]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_pipeline::log::kafka::{self, Metrics, Settings};
use tidegate_pipeline::log::{Answer, Answers, Log, Waiter};
use tidegate_pipeline::record::Record;
use tidegate_proto::id::{LocalId, UserId};
use tidegate_proto::v1::Msg;
use tokio::sync::Notify;
use tokio::time::sleep;

/// When each append was begun, and how long its answer took.
#[derive(Debug)]
struct Times {
    began: Instant,
    took: Mutex<Vec<Duration>>,
    more: Notify,
}

impl Answers for Times {
    fn answer(&self, tag: u64, answer: Answer) {
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
        self.took.lock().push(self.began.elapsed() - Duration::from_micros(tag));
        self.more.notify_one();
    }
}

impl Times {
    fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), took: Mutex::default(), more: Notify::new() })
    }

    async fn append(self: &Arc<Self>, log: &Log, number: u64) {
        let msg = Msg {
            receiver_id: format!("user{}", number % 100),
            content: vec![7; 100].into(),
            ..Msg::default()
        };
        let local_id = LocalId::new(&format!("{number}")).expect("digits are printable");
        let sender = UserId::new("sender").expect("an id");
        let record = Record::new(msg, &sender, 1, || local_id, None).expect("a good message");
        let tag = self.began.elapsed().as_micros() as u64;
        log.append(record, Waiter::new(self.clone(), tag)).await.expect("the log is open");
    }

    async fn all(&self, count: usize) -> Vec<Duration> {
        while self.took.lock().len() < count {
            self.more.notified().await;
        }
        let mut took = std::mem::take(&mut *self.took.lock());
        took.sort_unstable();
        took
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let broker = arguments.next().expect("HOST:PORT of a broker");
    let name = format!("bench-{:08x}", rand::random::<u32>());
    let settings = Settings {
        brokers: vec![broker],
        topic: format!("{name}.messages"),
        dead_topic: format!("{name}.dead"),
        properties: arguments.collect(),
        ..Settings::default()
    };
    kafka::prepare(&settings).await.expect("Kafka is there");
    let log = kafka::open_log(&settings, &Metrics::default()).expect("good settings");
    let warm = Times::new();
    for number in 0..200 {
        warm.append(&log, number).await;
    }
    warm.all(200).await;

    let calm = Times::new();
    for number in 0..CALM {
        calm.append(&log, 1_000 + number).await;
        sleep(Duration::from_millis(5)).await;
    }
    show("calm, one every 5 ms", &calm.all(CALM as usize).await);

    let burst = Times::new();
    for number in 0..BURST {
        burst.append(&log, 100_000 + number).await;
    }
    let took = burst.all(BURST as usize).await;
    println!("burst: {:.0} records/s", BURST as f64 / burst.began.elapsed().as_secs_f64());
    show("burst", &took);
}

fn show(what: &str, took: &[Duration]) {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("{what}: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.9), at(0.99));
}

const CALM: u64 = 600;
const BURST: u64 = 100_000;
