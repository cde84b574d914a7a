//! A database of a test's own, on a server whose address the environment gives. It goes with the test.

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::Place;
use crate::store::server::pool::Engine as _;
use crate::store::{OpenError, Store, StoreError, mysql, postgres};

/// Which server.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Server {
    Postgres,
    MySql,
}

/// A database that is dropped with this.
pub(in crate::store) struct Database {
    server: Server,
    /// Of a user who may create databases.
    admin: String,
    name: String,
}

impl Database {
    /// A fresh one.
    pub(in crate::store) fn new(server: Server) -> Self {
        let variable = match server {
            Server::Postgres => "TIDEGATE_TEST_POSTGRES",
            Server::MySql => "TIDEGATE_TEST_MARIADB",
        };
        let admin = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} gives no URL"));
        let name = format!("tidegate_test_{:016x}", rand::random::<u64>());
        let database = Self { server, admin, name };
        database.administer(format!("CREATE DATABASE {}", database.name));
        database
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::store) fn url(&self) -> String {
        let (address, parameters) = self.admin.split_once('?').unwrap_or((&self.admin, ""));
        let (server, _) = address.rsplit_once('/').expect("a URL has a path");
        let parameters = if parameters.is_empty() { String::new() } else { format!("?{parameters}") };
        format!("{server}/{}{parameters}", self.name)
    }

    pub(in crate::store) async fn open_postgres(&self) -> postgres::Store {
        postgres::Store::open(&postgres::Config::new(self.url())).await.unwrap()
    }

    pub(in crate::store) async fn open_mysql(&self) -> mysql::Store {
        mysql::Store::open(&mysql::Config::new(self.url())).await.unwrap()
    }

    pub(in crate::store) async fn try_open(&self) -> Result<Store, OpenError> {
        match self.server {
            Server::Postgres => {
                postgres::Store::open(&postgres::Config::new(self.url())).await.map(Store::Postgres)
            }
            Server::MySql => mysql::Store::open(&mysql::Config::new(self.url())).await.map(Store::MySql),
        }
    }

    /// A connection past the store.
    pub(in crate::store) async fn client(&self) -> Client {
        Client::connect(self.server, &self.url()).await
    }

    /// Runs a statement past the store.
    pub(in crate::store) async fn tamper(&self, sql: impl Into<String>) {
        self.client().await.execute(sql.into()).await.unwrap();
    }

    /// From now on a trigger is against the message of that local id.
    pub(in crate::store) async fn forbid(&self, local_id: &str) {
        match self.server {
            Server::Postgres => {
                self.tamper(format!(
                    "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     IF NEW.local_id = '{local_id}' THEN RAISE 'no'; END IF; RETURN NEW; END $$; \
                     CREATE TRIGGER forbid BEFORE INSERT ON names FOR EACH ROW EXECUTE FUNCTION forbid()"
                ))
                .await;
            }
            Server::MySql => {
                self.tamper(format!(
                    "CREATE TRIGGER forbid BEFORE INSERT ON names FOR EACH ROW \
                     IF NEW.local_id = '{local_id}' THEN SIGNAL SQLSTATE '45000'; END IF"
                ))
                .await;
            }
        }
    }

    /// Statements after which no message can be stored, each with what mends it.
    pub(in crate::store) fn harms(&self) -> Vec<(String, String)> {
        let gone = ("ALTER TABLE messages RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO messages");
        let harms = match self.server {
            Server::Postgres => [
                gone,
                ("REVOKE INSERT ON messages FROM CURRENT_USER", "GRANT INSERT ON messages TO CURRENT_USER"),
                // A read-only server, for a statement that writes.
                (
                    "CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     SET LOCAL transaction_read_only = on; RETURN NEW; END $$; \
                     CREATE TRIGGER halt BEFORE INSERT ON names FOR EACH STATEMENT EXECUTE FUNCTION halt()",
                    "DROP TRIGGER halt ON names",
                ),
                // What no list foresees.
                (
                    "CREATE FUNCTION strange() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     RAISE 'strange' USING ERRCODE = 'ZZ123'; END $$; \
                     CREATE TRIGGER strange BEFORE INSERT ON names FOR EACH STATEMENT EXECUTE FUNCTION strange()",
                    "DROP TRIGGER strange ON names",
                ),
            ]
            .to_vec(),
            Server::MySql => [
                gone,
                ("ALTER TABLE messages ADD COLUMN more INT NOT NULL", "ALTER TABLE messages DROP COLUMN more"),
                (
                    "ALTER TABLE entries PARTITION BY RANGE (seq) (PARTITION p VALUES LESS THAN (4))",
                    "ALTER TABLE entries REMOVE PARTITIONING",
                ),
            ]
            .to_vec(),
        };
        harms.into_iter().map(|(harm, mend)| (harm.to_owned(), mend.to_owned())).collect()
    }

    /// Ends every connection to the database.
    pub(in crate::store) async fn cut_connections(&self) {
        match self.server {
            Server::Postgres => {
                self.tamper(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                .await;
            }
            Server::MySql => {
                let Client::MySql(mut client) = self.client().await else { unreachable!("it is MySQL's") };
                let others = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist \
                              WHERE db = database() AND id <> connection_id()";
                let ids: Vec<i64> = sqlx::query_scalar(others).fetch_all(&mut client).await.unwrap();
                for id in ids {
                    // One that has ended by itself is no error.
                    let _ = client.execute(AssertSqlSafe(format!("KILL {id}"))).await;
                }
            }
        }
    }

    /// On a thread of its own: a test's runtime must not be blocked, and `drop` cannot wait.
    fn administer(&self, sql: String) {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                Client::connect(self.server, &self.admin).await.execute(sql).await.unwrap();
            });
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap());
    }
}

/// A connection to a server.
pub(in crate::store) enum Client {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

impl Client {
    async fn connect(server: Server, url: &str) -> Self {
        match server {
            Server::Postgres => Self::Postgres(PgConnection::connect(url).await.unwrap()),
            Server::MySql => Self::MySql(MySqlConnection::connect(url).await.unwrap()),
        }
    }

    pub(in crate::store) async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Postgres(client) => client.execute(sql).await.map(drop),
            Self::MySql(client) => client.execute(sql).await.map(drop),
        }
    }

    /// The store's sorting of an error of this connection's.
    pub(in crate::store) fn classify(&self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Postgres(_) => PgConnection::classify(error),
            Self::MySql(_) => MySqlConnection::classify(error),
        }
    }
}

impl Place for Database {
    async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.administer(match self.server {
            Server::Postgres => format!("DROP DATABASE {} WITH (FORCE)", self.name),
            Server::MySql => format!("DROP DATABASE {}", self.name),
        });
    }
}
