//! Measures the store: appends per second by size of batch, pages, heads, retention.
//!
//! `cargo run --release -p tidegate-pipeline --example store_bench -- [--users N] [--contacts N] [--messages N]
//! [--batches 1,10,50,500,2000] [--writers N] [--rate N] [--content-bytes N] [--seconds N] [--wal-mib N]
//! [--stored N] [--store PATH|postgres://…|mysql://…]`
//!
//! The store is a SQLite file, which is made anew, or an empty database on a server. With `--writers` so many append
//! beside each other, each in batches of its own.
//! With `--contacts` each user writes to so many others, else to anybody. After `--messages` messages in batches of
//! 2,000 it appends for about `--seconds` of each size of batch, then single messages at `--rate` a second. CPU is the
//! whole process's, less the making of messages. With `--stored` the store may hold so many of earlier runs, and they and
//! what is added stay; otherwise all is removed at the end, to measure retention.

use std::fmt;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tidegate_pipeline::record::Record;
use tidegate_pipeline::store::sqlite::{self, Config};
use tidegate_pipeline::store::{Outcome, Range, Retention, Store};
use tidegate_proto::id::{LocalId, UserId};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Msg;
use tokio_util::sync::CancellationToken;

struct Options {
    users: u64,
    contacts: Option<u64>,
    messages: usize,
    batches: Vec<usize>,
    content_bytes: usize,
    seconds: u64,
    rate: Option<u64>,
    wal_mib: Option<u64>,
    writers: usize,
    stored: Option<u64>,
    store: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = options();
    let store = open(&options).await;
    let mut source =
        Source { options: &options, random: 0x9e37_79b9_7f4a_7c15, sent: options.stored.unwrap_or(0) };

    let stop = CancellationToken::new();
    let work = async {
        measure(&store, &mut source).await;
        stop.cancel();
    };
    tokio::join!(store.keep_up(&stop), work);
    store.close().await.expect("it closes");
    println!("{} messages sent so far", source.sent);
    if !options.store.contains("://") {
        let bytes = std::fs::metadata(&options.store).map_or(0, |file| file.len());
        println!("{} messages, {:.0} bytes of file each", source.sent, bytes as f64 / source.sent as f64);
    }
}

async fn open(options: &Options) -> Store {
    let store = &options.store;
    if store.contains("://") {
        let store = Store::connect(store, 16).await.expect("the database opens");
        let nobody = Timeline::inbox(&Source::user(0));
        let bounds = store.heads(&[nobody]).await.expect("it reads");
        assert!(
            bounds[0].head == 0 || options.stored.is_some(),
            "the database has messages of an earlier run: give an empty one, or --stored"
        );
        return store;
    }
    for end in ["", "-wal", "-shm"].into_iter().filter(|_| options.stored.is_none_or(|stored| stored == 0)) {
        let _ = std::fs::remove_file(format!("{store}{end}"));
    }
    let mut config = Config::new(store);
    config.wal_bytes = options.wal_mib.map_or(config.wal_bytes, |mib| mib << 20);
    Store::Sqlite(sqlite::Store::open(&config).await.expect("the database opens"))
}

async fn measure(store: &Store, source: &mut Source<'_>) {
    let options = source.options;
    fill(store, source, options.messages).await;
    for &size in &options.batches {
        measure_appends(store, source, size).await;
    }
    if let Some(rate) = options.rate {
        measure_calm(store, source, rate).await;
    }
    measure_reads(store, source).await;
    if options.stored.is_none() {
        measure_retention(store).await;
    }
}

/// Where the messages come from.
struct Source<'a> {
    options: &'a Options,
    random: u64,
    sent: u64,
}

impl Source<'_> {
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    fn user(number: u64) -> UserId {
        UserId::new(&format!("user-{number}")).expect("it is in form")
    }

    fn batch(&mut self, size: usize) -> Vec<Record> {
        (0..size).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Record {
        let users = self.options.users;
        let from = self.below(users);
        let to = match self.options.contacts {
            // The same few for each user, from all over.
            Some(contacts) => (from + 1 + self.below(contacts) * 4_999) % users,
            None => self.below(users),
        };
        self.sent += 1;
        // The form of a UUIDv7: time first, then chance.
        let (time, chance) = (0x0197_0000_0000 + self.sent / 20, self.below(u64::MAX));
        let local_id = format!(
            "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
            time >> 16,
            time & 0xffff,
            chance & 0xfff,
            (chance >> 12) & 0xfff,
            chance >> 16
        );
        let msg = Msg {
            receiver_id: Self::user(to).to_string(),
            local_id,
            content: vec![b'x'; self.options.content_bytes].into(),
            ..Msg::default()
        };
        let drawn = || LocalId::new("drawn").expect("it is in form");
        Record::new(msg, &Self::user(from), 1_700_000_000_000, drawn, None).expect("it is in form")
    }
}

async fn append(store: &Store, records: &[Record]) {
    let records: Vec<&Record> = records.iter().collect();
    let outcomes = store.append(&records).await.expect("it appends");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored(stored) if !stored.repeated)));
}

async fn fill(store: &Store, source: &mut Source<'_>, messages: usize) {
    let mut spent = Duration::ZERO;
    let mut done = 0;
    while done < messages {
        let batch = source.batch(2_000);
        let start = Instant::now();
        append(store, &batch).await;
        spent += start.elapsed();
        done += batch.len();
        if done % 100_000 == 0 {
            println!("{done} stored, on average {:.0} msg/s", done as f64 / spent.as_secs_f64());
        }
    }
}

async fn measure_appends(store: &Store, source: &mut Source<'_>, size: usize) {
    let mut times = Vec::new();
    let cpu = cpu_time();
    let start = Instant::now();
    let (mut made, mut spent) = (Duration::ZERO, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(source.options.seconds) || times.len() < 10 {
        let making = Instant::now();
        let batches: Vec<_> = (0..source.options.writers).map(|_| source.batch(size)).collect();
        made += making.elapsed();
        let start = Instant::now();
        let timed = async |batch: &Vec<Record>| {
            let start = Instant::now();
            append(store, batch).await;
            start.elapsed()
        };
        times.extend(join_all(batches.iter().map(timed)).await);
        spent += start.elapsed();
    }
    let cpu = cpu_time().saturating_sub(cpu).saturating_sub(made);
    let rate = (times.len() * size) as f64 / spent.as_secs_f64();
    println!("batch {size:>5}: {rate:>7.0} msg/s  {}", Spread::new(times, size, cpu));
}

/// Single messages, each at its time: what a quiet server does. Latencies run from when a message was due.
async fn measure_calm(store: &Store, source: &mut Source<'_>, rate: u64) {
    let every = Duration::from_secs(1) / u32::try_from(rate).expect("a small number");
    let records = source.batch((rate * source.options.seconds) as usize);
    let mut times = Vec::with_capacity(records.len());
    let (cpu, waits) = (cpu_time(), waits());
    let mut due = Instant::now();
    for record in records {
        due += every;
        // tokio's timers are of a millisecond.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        append(store, &[record]).await;
        times.push(due.elapsed());
    }
    let cpu = cpu_time().saturating_sub(cpu);
    let waits = self::waits().saturating_sub(waits) as f64 / times.len() as f64;
    println!("calm  {rate:>4}/s: {}, {waits:.1} waits of a thread", Spread::new(times, 1, cpu));
}

/// How long appends took.
struct Spread {
    /// Rising.
    times: Vec<Duration>,
    /// Of CPU, for a message.
    each: Duration,
}

impl Spread {
    fn new(mut times: Vec<Duration>, size: usize, cpu: Duration) -> Self {
        times.sort_unstable();
        let each = cpu.div_f64((times.len() * size) as f64);
        Self { times, each }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            let time = self.times[((self.times.len() - 1) as f64 * share) as usize];
            write!(f, "{name} {:.2} ms  ", time.as_secs_f64() * 1e3)?;
        }
        write!(f, "{:.1} µs of CPU a message", self.each.as_secs_f64() * 1e6)
    }
}

async fn measure_reads(store: &Store, source: &mut Source<'_>) {
    const READS: u32 = 2_000;
    let users = source.options.users;
    for limit in [1, 50] {
        let start = Instant::now();
        for _ in 0..READS {
            let inbox = Timeline::inbox(&Source::user(source.below(users)));
            store.page(&inbox, Range::Before(u64::MAX), limit, 1 << 20, 0).await.expect("it reads");
        }
        println!("page of {limit}: {:.0} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(READS));
    }
    let inboxes: Vec<_> = (0..users.min(10_000)).map(|user| Timeline::inbox(&Source::user(user))).collect();
    let start = Instant::now();
    store.heads(&inboxes).await.expect("it reads");
    println!("{} heads: {:.1} ms", inboxes.len(), start.elapsed().as_secs_f64() * 1e3);
}

/// Removes everything that was stored.
async fn measure_retention(store: &Store) {
    let retention = Retention { max_age_ms: Some(0), max_entries: None, remember_ms: 0, cursor_ms: 0 };
    let start = Instant::now();
    let (mut steps, mut entries, mut longest) = (0, 0, Duration::ZERO);
    loop {
        let step = Instant::now();
        let removed = store.retain(retention, i64::MAX, 2_000).await.expect("it removes");
        longest = longest.max(step.elapsed());
        if removed.is_nothing() {
            break;
        }
        steps += 1;
        entries += removed.entries;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (rate, longest) = (entries as f64 / seconds, longest.as_secs_f64() * 1e3);
    println!(
        "retention: {entries} entries in {steps} steps, {rate:.0} entries/s, longest step {longest:.0} ms"
    );
}

/// How often a thread of this process has waited: for another, for the disk, for a timer.
fn waits() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?
            .trim()
            .parse::<u64>()
            .ok()
    };
    tasks.filter_map(of).sum::<u64>()
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn options() -> Options {
    let mut options = Options {
        users: 200,
        contacts: None,
        messages: 0,
        batches: vec![1, 10, 50, 500, 2_000],
        content_bytes: 128,
        seconds: 3,
        rate: None,
        wal_mib: None,
        writers: 1,
        stored: None,
        store: std::env::temp_dir().join("store_bench.db").display().to_string(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
        let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{name} needs a number"));
        match name.as_str() {
            "--users" => options.users = number(),
            "--contacts" => options.contacts = Some(number()),
            "--messages" => options.messages = number() as usize,
            "--content-bytes" => options.content_bytes = number() as usize,
            "--rate" => options.rate = Some(number()),
            "--wal-mib" => options.wal_mib = Some(number()),
            "--seconds" => options.seconds = number(),
            "--writers" => options.writers = number() as usize,
            "--stored" => options.stored = Some(number()),
            "--store" => options.store = value,
            "--batches" => {
                let sizes = value.split(',').map(|size| size.parse().expect("--batches needs numbers"));
                options.batches = sizes.collect();
            }
            _ => panic!("unknown option {name}"),
        }
    }
    options
}
