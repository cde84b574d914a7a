//! The real servers under the cluster, as `scripts/services run` has started them, and what is done to them.

use std::env;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

/// One of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kafka,
    Redis,
    /// PostgreSQL, or MariaDB where there is no PostgreSQL.
    Sql,
}

impl Service {
    /// Does `kill`, `stop` or `start` to it, and waits for the result: started, it answers.
    pub(crate) async fn step(self, step: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
        let mut command = Command::new(script);
        command.args([step, self.name()]).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let status = timeout(STEP_LIMIT, command.status()).await.expect("a step ends in time").unwrap();
        assert!(status.success(), "scripts/services {step} {}: {status}", self.name());
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Redis => "redis",
            Self::Sql if env::var_os(POSTGRES).is_some() => "postgres",
            Self::Sql => "mariadb",
        }
    }
}

/// `host:port` of Kafka.
pub(crate) fn kafka() -> String {
    address("TIDEGATE_TEST_KAFKA")
}

/// The URL of Redis.
pub(crate) fn redis() -> String {
    address("TIDEGATE_TEST_REDIS")
}

/// Empties Redis.
pub(crate) async fn flush_redis() {
    let url = redis();
    let (user, server) = url.strip_prefix("redis://").unwrap().split_once('@').unwrap();
    let (_, password) = user.split_once(':').unwrap();
    let (address, _) = server.split_once('/').unwrap();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(format!("AUTH {password}\r\nFLUSHALL\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 10];
    timeout(STEP_LIMIT, tcp.read_exact(&mut answer)).await.expect("an answer").unwrap();
    assert_eq!(&answer, b"+OK\r\n+OK\r\n");
}

/// A database of a test's own, which goes with this.
#[derive(Debug)]
pub(crate) struct Database {
    admin: String,
    name: String,
}

impl Database {
    /// A fresh one.
    pub(crate) async fn make() -> Self {
        let admin = env::var(POSTGRES).or_else(|_| env::var(MARIADB));
        let admin = admin.unwrap_or_else(|_| panic!("neither {POSTGRES} nor {MARIADB} gives a URL"));
        let name = format!("tidegate_test_{:016x}", rand::random::<u64>());
        let database = Self { admin, name };
        administer(&database.admin, format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    /// From now on it refuses messages with this `local_id`, as it refuses numbers out of range: no further try
    /// mends that.
    pub(crate) async fn refuse_messages_called(&self, local_id: &str) {
        let postgres = [
            format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.local_id = '{local_id}' THEN RAISE EXCEPTION 'not here' USING ERRCODE = '22003'; END IF; RETURN NEW; END $$"
            ),
            "CREATE TRIGGER refuse BEFORE INSERT ON names FOR EACH ROW EXECUTE FUNCTION refuse()".to_owned(),
        ];
        let mysql = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON names FOR EACH ROW IF NEW.local_id = '{local_id}' THEN \
             SIGNAL SQLSTATE '22003' SET MESSAGE_TEXT = 'not here'; END IF"
        );
        let statements = if self.admin.starts_with("postgres") { postgres.to_vec() } else { vec![mysql] };
        for sql in statements {
            administer(&self.url(), sql).await;
        }
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

async fn administer(url: &str, sql: String) {
    let work = async {
        if url.starts_with("postgres") {
            sqlx::PgConnection::connect(url).await?.execute(AssertSqlSafe(sql)).await.map(drop)
        } else {
            sqlx::MySqlConnection::connect(url).await?.execute(AssertSqlSafe(sql)).await.map(drop)
        }
    };
    timeout(STEP_LIMIT, work).await.expect("an answer").unwrap();
}

fn address(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} says nothing: run this by `scripts/services run kafka redis postgres -- …`")
    })
}

const POSTGRES: &str = "TIDEGATE_TEST_POSTGRES";
const MARIADB: &str = "TIDEGATE_TEST_MARIADB";
/// Kafka's start takes the longest.
const STEP_LIMIT: Duration = Duration::from_secs(180);
