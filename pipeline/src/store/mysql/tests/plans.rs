//! No statement looks at more rows than it needs: MariaDB's own plans, held.

use sqlx::{AssertSqlSafe, Column as _, Row as _};

use tidegate_proto::v1::Msg;

use super::*;
use crate::record::Record;
use crate::store::CursorUpdate;
use crate::store::contract::{device, msg, record, user};
use crate::store::mysql::rows::Many;
use crate::store::mysql::{append, read, retain};

/// The plan's steps: table, kind of access, index, what else.
async fn plan(store: &Store, sql: &str) -> Vec<[String; 4]> {
    let mut lent = store.pool.lend().await.unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN {sql}"))).fetch_all(&mut *lent).await.unwrap();
    lent.give_back();
    let step = |row: &sqlx::mysql::MySqlRow| {
        ["table", "type", "key", "Extra"].map(|name| {
            let column = row.columns().iter().position(|column| column.name() == name).unwrap();
            row.get::<Option<String>, _>(column).unwrap_or_default()
        })
    };
    rows.iter().map(step).collect()
}

/// The text with `?` replaced by these, again and again.
fn filled(sql: &str, arguments: &[&str]) -> String {
    let mut arguments = arguments.iter().cycle();
    let parts = sql.split('?').collect::<Vec<_>>();
    let mut filled = parts[0].to_owned();
    for part in &parts[1..] {
        filled += arguments.next().unwrap();
        filled += part;
    }
    filled
}

/// So that no table is empty.
fn expiring(from: &str, local_id: &str, expire_at: i64) -> Record {
    record(from, Msg { expire_at, ..msg("bob", local_id) }, 1)
}

#[tokio::test]
#[ignore = "needs MariaDB: scripts/services run mariadb -- cargo test -p tidegate-pipeline mysql -- --ignored"]
async fn every_statement_uses_its_index() {
    let database = database();
    let store = database.open_mysql().await;
    let any = crate::store::Store::MySql(store.clone());
    let records: Vec<_> = (0..500).map(|n| expiring(&format!("u{}", n % 7), &n.to_string(), n)).collect();
    append(&any, &records).await;
    let cursor = |n: u64| CursorUpdate { user: user(&format!("u{n}")), device: device("x"), cursor: n };
    any.save_cursors(&(0..500).map(cursor).collect::<Vec<_>>(), 5).await.unwrap();
    let many = |many: &Many, arguments: &[&str]| filled(&many.text(3), arguments);
    let statements = [
        many(&append::READ_BACK, &["'7'", "'u0'", "'8'", "'u1'", "'9'", "'u2'"]),
        many(&append::RAISED, &["'i:bob'"]),
        many(&read::HEADS, &["'i:bob'"]),
        filled(read::PAGE_AFTER, &["'i:bob'", "1", "1", "9", "'i:bob'", "50", "65536"]),
        filled(read::PAGE_BEFORE, &["'i:bob'", "1", "1", "400", "'i:bob'", "50", "65536"]),
        filled(read::INBOX, &["'bob'", "'x'", "'i:bob'"]),
        filled(read::CONV_SEQ, &["'7'", "'u0'"]),
        filled(retain::LIVE, &["70000", "50"]),
        filled(retain::NAMES, &["70000", "50"]),
        filled(retain::EXPIRED, &["5", "50"]),
        filled(retain::UNUSED_CURSORS, &["5", "5", "50"]),
        filled(retain::CHANNELS, &["'c:'", "50"]),
        retain::LOCK.to_owned(),
        filled(retain::RAISE_FLOOR, &[]) + "1 WHERE id = 2",
        many(&retain::BOUNDS, &["1", "2", "3"]),
        many(&retain::HEAD_NAMES, &["1", "2", "3"]),
        many(&retain::LOCK_HEADS, &["'i:bob'", "'i:u1'"]),
        many(&retain::ENTRIES, &["1", "2", "4", "2", "1", "4", "5", "6", "7"]),
        many(&retain::REMOVE, &["1", "2", "4", "2", "1", "4", "5", "6", "7"]),
        many(&retain::MESSAGES, &["65536", "65537", "65538"]),
        many(&retain::REMEMBER, &["65536", "65537", "65538"]),
        many(&retain::BURY, &["65536", "65537", "65538"]),
        many(&retain::FORGET, &["65536", "65537", "65538"]),
        many(&retain::EMPTY, &["65536", "65537", "65538"]),
        many(&retain::EMPTIED, &["5", "65536", "6", "65537", "7", "65538"]),
        many(&retain::DROP_CURSORS, &["'u1'", "'x'", "5", "'u2'", "'x'", "5", "'u3'", "'x'", "5"]),
    ];
    for sql in &statements {
        let plan = plan(&store, sql).await;
        for [table, kind, key, extra] in &plan {
            // What a page has cut off already.
            let cut = table.starts_with("<derived");
            let nothing = table.is_empty() || kind == "system" || extra.contains("Impossible") || cut;
            let indexed = ["const", "eq_ref", "ref", "range"].contains(&&**kind) && !key.is_empty();
            assert!(nothing || indexed, "{sql}\n{plan:#?}");
            let sorts = extra.contains("filesort") || extra.contains("temporary");
            assert!(cut || !sorts, "{sql}\n{plan:#?}");
        }
        assert!(plan.iter().any(|[_, _, key, _]| !key.is_empty()), "{sql}\n{plan:#?}");
    }
}
