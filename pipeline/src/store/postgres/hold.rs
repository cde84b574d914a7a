//! The lock that keeps processes apart which would not push to each other: an advisory one of the session's.

use sqlx::Executor as _;
use sqlx::postgres::PgConnection;

use crate::store::server::guard::{Hold, Sharing};

impl Hold for PgConnection {
    async fn try_hold(&mut self, sharing: Sharing) -> Result<bool, sqlx::Error> {
        self.execute(NOTICED).await?;
        let sql = match sharing {
            Sharing::Alone => "SELECT pg_try_advisory_lock($1)",
            Sharing::Shared => "SELECT pg_try_advisory_lock_shared($1)",
        };
        sqlx::query_scalar(sql).bind(KEY).fetch_one(self).await
    }
}

/// "tidegate"; advisory locks are a database's own.
const KEY: i64 = 0x7469_6465_6761_7465;
/// A client whose machine is gone is noticed within half a minute.
const NOTICED: &str =
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
