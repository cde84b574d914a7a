//! What a server does to us: connections that are cut, rows that others hold; and damage.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tidegate_proto::v1::Code;
use tokio::sync::Barrier;

use super::database::Database;
use super::model::{self, Send, Step, To};
use super::{Place, append, inbox, into_refusal, into_stored, local_ids, text, whole};
use crate::record::Record;
use crate::store::{OpenError, Outcome, Range, Retention, Store, StoreError};

/// Tries as the sequencer does.
async fn persist(store: &Store, record: &Record) -> Outcome {
    for _ in 0..100 {
        match store.append(&[record]).await {
            Ok(mut outcomes) => return outcomes.remove(0),
            Err(StoreError::Passing(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("it never passes");
}

pub(in crate::store) async fn connections_that_are_cut(database: &Database) {
    let store = database.open().await;
    for round in 1..=5_u64 {
        // So that there are several, and some in use.
        let pages = (whole(&store, &inbox("alice")).await, whole(&store, &inbox("bob")).await);
        assert_eq!(pages.0, pages.1);
        let record = text("alice", "bob", &round.to_string());
        let (outcome, ()) = tokio::join!(persist(&store, &record), database.cut_connections());
        assert_eq!(into_stored(outcome).conv_seq, round, "once, however often it was tried");
        database.cut_connections().await;
        assert!(into_stored(persist(&store, &record).await).repeated);
    }
    assert_eq!(whole(&store, &inbox("bob")).await, ["1", "2", "3", "4", "5"]);
}

/// A rule of the database's is against one message: that one is refused, the others go on.
pub(in crate::store) async fn a_rule_against_one_message(database: &Database) {
    let store = database.open().await;
    append(&store, &[text("alice", "bob", "1")]).await;
    database.forbid("forbidden").await;
    let forbidden = text("alice", "bob", "forbidden");
    let refused = store.append(&[&forbidden]).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    append(&store, &[text("alice", "bob", "2")]).await;
}

/// What every message meets is no message's fault: it waits until somebody has mended it.
pub(in crate::store) async fn a_database_that_is_not_fit_is_waited_for(database: &Database) {
    let store = database.open().await;
    append(&store, &[text("alice", "bob", "0")]).await;
    for (conv_seq, (harm, mend)) in (2..).zip(database.harms()) {
        database.tamper(&harm).await;
        let waits = text("alice", "bob", &conv_seq.to_string());
        let passing = store.append(&[&waits]).await;
        assert!(matches!(passing, Err(StoreError::Passing(_))), "{harm}: {passing:?}");
        database.tamper(mend).await;
        assert_eq!(into_stored(persist(&store, &waits).await).conv_seq, conv_seq, "{harm}");
    }
}

/// A counter that was set back gives a number that is taken. The next tries get beyond it.
pub(in crate::store) async fn a_number_that_is_taken(database: &Database) {
    let store = database.open().await;
    append(&store, &[text("alice", "bob", "1")]).await;
    database
        .tamper(
            "INSERT INTO messages (id, send_time, expire_at, conv_seq, places) VALUES (2 * 65536, 1, 0, 1, '')",
        )
        .await;
    let record = text("alice", "bob", "2");
    let taken = store.append(&[&record]).await;
    assert!(matches!(taken, Err(StoreError::Passing(_))), "{taken:?}");
    assert_eq!(into_stored(persist(&store, &record).await).conv_seq, 2);
}

/// Somebody holds a head for longer than the server lets us wait.
pub(in crate::store) async fn a_head_that_another_holds(database: &Database) {
    let store = database.open().await;
    append(&store, &[text("alice", "bob", "1")]).await;
    let mut holder = database.client().await;
    holder.execute("BEGIN".to_owned()).await.unwrap();
    holder.execute(lock("i:bob")).await.unwrap();

    let record = text("alice", "bob", "2");
    let refused = store.append(&[&record]).await;
    assert!(matches!(refused, Err(StoreError::Passing(_))), "{refused:?}");
    // Nobody else waits: reads, and appends elsewhere.
    assert_eq!(whole(&store, &inbox("bob")).await, ["1"]);
    append(&store, &[text("carol", "dave", "3")]).await;
    holder.execute("ROLLBACK".to_owned()).await.unwrap();
    assert_eq!(into_stored(persist(&store, &record).await).conv_seq, 2);
}

/// Another process is at a step: there is nothing to do for this one.
pub(in crate::store) async fn retention_waits_its_turn(database: &Database) {
    let store = database.open().await;
    append(&store, &[text("alice", "bob", "1")]).await;
    let mut other = database.client().await;
    other.execute("BEGIN".to_owned()).await.unwrap();
    other.execute("SELECT value FROM meta WHERE name = 'retention' FOR UPDATE".to_owned()).await.unwrap();
    let all = Retention { max_age_ms: None, max_entries: Some(0), remember_ms: 1_000, cursor_ms: 1_000 };
    assert!(store.retain(all, 1_000, 100).await.unwrap().is_nothing());
    assert_eq!(whole(&store, &inbox("bob")).await, ["1"]);
    other.execute("ROLLBACK".to_owned()).await.unwrap();
    let removed = store.retain(all, 1_000, 100).await.unwrap();
    assert_eq!((removed.entries, removed.bodies), (3, 1));
}

/// Two who each hold what the other waits for: the one who is told so is told that it passes.
pub(in crate::store) async fn a_deadlock(database: &Database) {
    let store = database.open().await;
    append(&store, &[text("a", "b", "1")]).await;
    let both_hold = Barrier::new(2);
    let client = async |first: &str, second: &str| {
        let mut client = database.client().await;
        client.execute("BEGIN".to_owned()).await.unwrap();
        client.execute(lock(first)).await.unwrap();
        both_hold.wait().await;
        let result = client.execute(lock(second)).await;
        if result.is_ok() {
            client.execute("ROLLBACK".to_owned()).await.unwrap();
        }
        result.map_err(|error| client.classify(error))
    };
    let results = tokio::join!(client("i:a", "i:b"), client("i:b", "i:a"));
    let told = [results.0, results.1].into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert!(matches!(told[..], [StoreError::Passing(_)]), "{told:?}");
}

fn lock(name: &str) -> String {
    format!("SELECT head FROM heads WHERE name = '{name}' FOR UPDATE")
}

pub(in crate::store) async fn what_is_damaged_is_served_as_gone(database: &Database) {
    let store = database.open().await;
    let batch: Vec<_> = (1..=6).map(|n| text("alice", "bob", &n.to_string())).collect();
    append(&store, &batch).await;
    // The numbers of the first batch: its draw, 1, and places from 0.
    database.tamper("UPDATE messages SET body = 'x' WHERE id = 65536 + 1").await;
    database.tamper("DELETE FROM messages WHERE id = 65536 + 3").await;
    database.tamper("DELETE FROM entries WHERE message = 65536 + 4").await;
    assert_eq!(whole(&store, &inbox("bob")).await, ["1", "-", "3", "-", "-", "6"]);
    // One that takes all the room of a page does not make gone what comes after it.
    let large = "x".repeat(50_000);
    database.tamper(format!("UPDATE messages SET body = '{large}' WHERE id = 65536 + 1")).await;
    let page = store.page(&inbox("bob"), Range::After(0), 10, 10_000, 2_000).await.unwrap();
    assert_eq!((local_ids(&page), page.more), (vec!["1".to_owned(), "-".to_owned()], true));
}

pub(in crate::store) async fn a_damaged_name_harms_no_other(database: &Database) {
    let store = database.open().await;
    for (n, damage) in [
        "UPDATE messages SET places = '\u{1}'",
        "DELETE FROM messages",
        "UPDATE names SET hash = 'x'",
        "UPDATE names SET refused = 1000000, reason = ''",
    ]
    .into_iter()
    .enumerate()
    {
        let names = [format!("{n}-1"), format!("{n}-2")];
        append(&store, &[text("alice", "bob", &names[0])]).await;
        database.tamper(damage).await;
        let outcomes = append(&store, &names.map(|name| text("alice", "bob", &name))).await;
        assert_eq!(into_refusal(outcomes[0].clone()).code, Code::Internal, "{damage}");
        assert!(matches!(outcomes[1], Outcome::Stored(_)), "{damage}");
    }
}

/// As processes that are started together do.
pub(in crate::store) async fn several_make_the_schema_at_once(database: &Database) {
    let stores = futures_util::future::join_all((0..4).map(|_| database.open())).await;
    let epochs = futures_util::future::join_all(stores.iter().map(Store::epoch)).await;
    let epochs: std::collections::HashSet<String> = epochs.into_iter().map(Result::unwrap).collect();
    assert_eq!(epochs.len(), 1, "one epoch");
}

pub(in crate::store) async fn a_newer_schema_is_refused(database: &Database) {
    database.open().await.close().await.unwrap();
    database
        .tamper(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (99, 'of the future', true, '', 0)",
        )
        .await;
    let error = database.try_open().await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, known: 1, .. }), "{error:?}");
    assert!(error.to_string().ends_with("has schema 99, this program knows 1: use a newer tidegate"));
}

pub(in crate::store) async fn random_schedules_agree_with_a_model(database: &Database) {
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() });
    let schedule = prop::collection::vec(steps(), 200..201).new_tree(&mut runner).unwrap().current();
    model::compare(database, &schedule).await;
}

fn steps() -> impl Strategy<Value = Step> {
    let to = prop_oneof![8 => any::<u8>().prop_map(To::User), 2 => any::<u8>().prop_map(To::Channel), 1 => Just(To::Group)];
    let send = (0..4_u8, to, any::<u8>(), prop_oneof![9 => Just(0_u8), 1 => Just(1_u8)])
        .prop_map(|(from, to, local_id, body)| Send { from, to, local_id, body });
    let range = prop_oneof![(0..400_u64).prop_map(Range::After), (0..400_u64).prop_map(Range::Before)];
    prop_oneof![
        12 => prop::collection::vec(send, 1..40).prop_map(Step::Append),
        6 => (any::<u8>(), range, 0..10_usize).prop_map(|(timeline, range, limit)| Step::Page(timeline, range, limit)),
        4 => (0..4_u8, 0..3_u8, 0..100_u64).prop_map(|(user, device, cursor)| Step::Cursor(user, device, cursor)),
        1 => Just(Step::Reopen),
    ]
}
