//! A database of a test's own on the PostgreSQL or MariaDB that `scripts/services run` has started.

use std::env;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::time::timeout;

/// The database, which goes with this.
#[derive(Debug)]
pub(crate) struct Database {
    admin: String,
    name: String,
}

impl Database {
    /// A fresh one: on PostgreSQL, or on MariaDB where there is no PostgreSQL.
    pub(crate) async fn make() -> Self {
        let admin = env::var(POSTGRES).or_else(|_| env::var(MARIADB));
        let admin = admin.unwrap_or_else(|_| panic!("neither {POSTGRES} nor {MARIADB} gives a URL"));
        let name = format!("tidegate_test_{:016x}", rand::random::<u64>());
        let database = Self { admin, name };
        administer(&database.admin, format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        let (server, _) = self.admin.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let force = if self.admin.starts_with("postgres") { " WITH (FORCE)" } else { "" };
        let sql = format!("DROP DATABASE {}{force}", self.name);
        // On a thread of its own: `drop` cannot wait.
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(administer(&self.admin, sql));
        };
        let dropped = std::thread::scope(|scope| scope.spawn(work).join());
        // A test that has failed may have left the server stopped.
        assert!(dropped.is_ok() || std::thread::panicking(), "the database is dropped");
    }
}

/// Does one statement on the database of that URL.
pub(crate) async fn administer(url: &str, sql: String) {
    let work = async {
        if url.starts_with("postgres") {
            sqlx::PgConnection::connect(url).await?.execute(AssertSqlSafe(sql)).await.map(drop)
        } else {
            sqlx::MySqlConnection::connect(url).await?.execute(AssertSqlSafe(sql)).await.map(drop)
        }
    };
    timeout(ANSWER_LIMIT, work).await.expect("an answer").unwrap();
}

/// The variable with PostgreSQL's URL.
pub(crate) const POSTGRES: &str = "TIDEGATE_TEST_POSTGRES";
const MARIADB: &str = "TIDEGATE_TEST_MARIADB";
const ANSWER_LIMIT: Duration = Duration::from_secs(180);
