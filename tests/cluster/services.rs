//! The real servers under the cluster, as `scripts/services run` has started them, and what is done to them.

use std::env;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

pub(crate) use crate::database::Database;
use crate::database::{POSTGRES, administer};

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

impl Database {
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
        let statements = if self.url().starts_with("postgres") { postgres.to_vec() } else { vec![mysql] };
        for sql in statements {
            administer(&self.url(), sql).await;
        }
    }
}

fn address(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} says nothing: run this by `scripts/services run kafka redis postgres -- …`")
    })
}

/// Kafka's start takes the longest.
const STEP_LIMIT: Duration = Duration::from_secs(180);
