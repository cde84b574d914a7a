//! No statement looks at more rows than it needs: PostgreSQL's own plans, held.

use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::*;
use crate::store::postgres::{append, read, retain, serve};

/// The plan for arguments that are not known, as it is cached.
async fn plan(store: &Store, sql: &str) -> String {
    let mut lent = store.pool.lend().await.unwrap();
    let arguments = (1..20).take_while(|n| sql.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; arguments].join(",");
    let list = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let prepare = format!("SET plan_cache_mode = force_generic_plan; DEALLOCATE ALL; PREPARE x AS {sql}");
    lent.execute(AssertSqlSafe(prepare)).await.unwrap();
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE x{list}")));
    let rows = explain.fetch_all(&mut *lent).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"]
async fn every_statement_uses_its_index() {
    let database = database();
    let store = database.open_postgres().await;
    for (sql, indexes) in [
        (append::CLAIM, &[][..]),
        (append::READ_BACK, &["names_pkey", "messages_pkey"]),
        (append::RAISE, &[]),
        (append::WRITE, &[]),
        (serve::SAVE, &[]),
        (read::PAGE_AFTER, &["heads_pkey", "entries_pkey", "messages_pkey"]),
        (read::PAGE_BEFORE, &["heads_pkey", "entries_pkey", "messages_pkey"]),
        (read::INBOX, &["cursors_pkey", "heads_pkey"]),
        (read::CONV_SEQ, &["names_pkey", "messages_pkey"]),
        (read::HEADS, &["heads_pkey"]),
        (retain::LIVE, &["messages_pkey"]),
        (retain::NAMES, &["names_by_id", "messages_pkey"]),
        (retain::EXPIRED, &["expiring_pkey"]),
        (retain::UNUSED_CURSORS, &["cursors_by_day"]),
        (retain::CHANNELS, &["heads_pkey", "entries_pkey", "messages_pkey"]),
        (retain::BOUNDS, &["heads_by_id"]),
        (retain::LOCK, &["meta_pkey"]),
        (retain::LOCK_HEADS, &["heads_by_id"]),
        (retain::ENTRIES, &["entries_pkey", "messages_pkey"]),
        (retain::REMOVE, &["entries_pkey", "heads_by_id"]),
        (retain::MESSAGES, &["messages_pkey"]),
        (retain::BURY, &["messages_pkey", "names_by_id"]),
        (retain::FORGET, &["names_by_id"]),
        (retain::EMPTY, &["messages_pkey"]),
        (retain::EMPTIED, &["expiring_pkey"]),
        (retain::DROP_CURSORS, &["cursors_pkey"]),
    ] {
        let plan = plan(&store, sql).await;
        for index in indexes {
            assert!(plan.contains(index), "no {index}:\n{sql}\n{plan}");
        }
        for slow in ["Seq Scan", "Hash Join", "Merge Join"] {
            assert!(!plan.contains(slow), "{slow}:\n{sql}\n{plan}");
        }
    }
}

/// A page is the end of an index, not a sorted timeline.
#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"]
async fn a_page_is_cut_before_it_is_sorted() {
    let database = database();
    let store = database.open_postgres().await;
    for sql in [read::PAGE_AFTER, read::PAGE_BEFORE] {
        let plan = plan(&store, sql).await;
        let limit = plan.find("Limit").unwrap_or_else(|| panic!("{plan}"));
        assert!(!plan[limit..].contains("Sort"), "{plan}");
    }
}
