//! No statement looks at more rows than it needs: SQLite's own plans, held.

use sqlx::Row as _;

use super::*;
use crate::store::sqlite::script::rows_for_plan;
use crate::store::sqlite::{append, channels, cursors, floors, read, retain, written};

async fn plan(store: &Store, sql: String) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = store.read_all(sqlx::query(explain)).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(3)).collect()
}

#[tokio::test]
async fn every_statement_uses_its_index() {
    let folder = Folder::new();
    let store = folder.open_sqlite().await;
    let multi = [
        (append::FIND_NAMES, 3),
        (append::FIND_HEADS, 2),
        (written::ADD_TIMELINES, 2),
        (written::ADD_NAMES, 6),
        (written::ADD_REFUSED, 7),
        (written::ADD_MESSAGES, 5),
        (written::ADD_ENTRIES, 3),
        (written::APPEND, 14),
        (cursors::SAVE, 4),
        (read::HEADS, 2),
        (retain::EMPTY_MESSAGES, 1),
        (channels::TIMES, 3),
        (floors::REMOVE_ENTRIES, 2),
        (floors::RAISE_FLOORS, 2),
        (floors::FLOORS, 1),
        (floors::PLACEMENTS, 1),
        (floors::REMOVE_MESSAGES, 1),
        (retain::FORGET_NAMES, 1),
    ];
    let single = [
        read::PAGE_AFTER,
        read::PAGE_BEFORE,
        read::INBOX,
        read::CONV_SEQ,
        channels::CHANNELS,
        retain::EXPIRED,
        retain::NAMES,
        append::LAST_NUMBERS,
    ];
    let texts = multi.iter().map(|(around, columns)| rows_for_plan(*around, *columns));
    for sql in texts.chain(single.map(str::to_owned)) {
        let plan = plan(&store, sql.clone()).await;
        for step in &plan {
            let given = ["SCAN v", "SCAN (subquery", "SCAN CONSTANT ROW", "SCAN 2-ROW VALUES CLAUSE"];
            let scans = step.starts_with("SCAN") && !given.iter().any(|given| step.starts_with(given));
            assert!(!scans && !step.contains("AUTOMATIC"), "{sql}\n{plan:#?}");
            let sorts = step.contains("USE TEMP B-TREE FOR ORDER BY");
            assert!(!sorts, "{sql}\n{plan:#?}");
        }
    }
}
