//! Killed with SIGKILL in the middle of appends: what was answered is there, and the file is whole.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use sqlx::{ConnectOptions as _, Row as _};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::record::Record;
use crate::store::contract::into_stored;

const USERS: [&str; 3] = ["a", "b", "c"];
const FOLDER: &str = "TIDEGATE_TEST_KILLED_IN";
const ROUNDS: usize = 8;

/// The batch of that number, of growing and shrinking size.
fn batch(number: usize) -> Vec<Record> {
    let to = |n: usize| (USERS[(number + n) % 3], USERS[(number + n * n) % 3]);
    let record = |n| text(to(n).0, to(n).1, &format!("{number}-{n}"));
    (0..1 + number * 37 % 150).map(record).collect()
}

/// The child: appends batches for ever, and says the number of each when its append has returned.
#[tokio::test]
#[ignore = "run by killed_in_the_middle, as a process that it kills"]
async fn appends_until_killed() {
    let folder = std::env::var(FOLDER).expect("killed_in_the_middle sets it");
    // So that some are killed while the log is written back.
    let config = Config { wal_bytes: 40 * 4_096, ..Config::new(folder) };
    let store = AnyStore::Sqlite(Store::open(&config).await.unwrap());
    let appends = async {
        for number in first_missing(&store).await.. {
            append(&store, &batch(number)).await;
            println!("stored {number}");
        }
    };
    let never = CancellationToken::new();
    tokio::join!(appends, store.keep_up(&never));
}

/// The first batch that is not there.
async fn first_missing(store: &AnyStore) -> usize {
    let mut present = 0;
    while is_present(store, present).await {
        present += 1;
    }
    present
}

async fn is_present(store: &AnyStore, number: usize) -> bool {
    let record = &batch(number)[0];
    let conversation = whole(store, &record.conversation).await;
    conversation.contains(&format!("{number}-0"))
}

#[tokio::test]
async fn killed_in_the_middle() {
    let folder = Folder::new();
    folder.open().await.close().await.unwrap();
    for round in 0..ROUNDS {
        let stored = run_and_kill(&folder, 1 + round * 3);
        let store = folder.open().await;
        check_file(&folder).await;
        check_batches(&store, stored).await;
        store.close().await.unwrap();
    }
}

/// Runs the child and kills it after it said that so many more batches are stored; the last number it said.
fn run_and_kill(folder: &Folder, batches: usize) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::sqlite::tests::kill::appends_until_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number = |line: std::io::Result<String>| line.ok()?.split_once("stored ")?.1.parse::<usize>().ok();
    let mut last = lines.by_ref().filter_map(number).nth(batches - 1).expect("the child appends");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died counts too.
    last = lines.filter_map(number).last().unwrap_or(last);
    last
}

async fn check_file(folder: &Folder) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path());
    let mut connection = options.connect().await.unwrap();
    let row = sqlx::query("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "ok");
}

/// Every batch up to `stored` is there, at most one beyond it, and nothing else.
async fn check_batches(store: &AnyStore, stored: usize) {
    let count = first_missing(store).await;
    assert!((stored + 1..=stored + 2).contains(&count), "{count} batches, {stored} was answered last");
    let records: Vec<Record> = (0..count).flat_map(batch).collect();
    let mut conversations = std::collections::BTreeMap::<_, Vec<String>>::new();
    for record in &records {
        conversations.entry(record.conversation.clone()).or_default().push(record.local_id.to_string());
    }
    for (conversation, local_ids) in conversations {
        assert_eq!(whole(store, &conversation).await, local_ids, "{conversation}");
    }
    for owner in USERS {
        let expected = records.iter().filter(|r| r.recipients().iter().any(|user| user.as_str() == owner));
        let expected: Vec<_> = expected.map(|record| record.local_id.to_string()).collect();
        assert_eq!(whole(store, &inbox(owner)).await, expected);
    }
    for chunk in records.chunks(500) {
        let outcomes = store.append(&chunk.iter().collect::<Vec<_>>()).await.unwrap();
        assert!(outcomes.into_iter().all(|outcome| into_stored(outcome).repeated));
    }
}
