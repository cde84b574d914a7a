//! A database of a test's own, on a server whose address the environment gives. It goes with the test.

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::Place;
use crate::store::{Store, mysql, postgres};

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

    pub(in crate::store) fn url(&self) -> String {
        let (address, parameters) = self.admin.split_once('?').unwrap_or((&self.admin, ""));
        let (server, _) = address.rsplit_once('/').expect("a URL has a path");
        format!("{server}/{}?{parameters}", self.name)
    }

    pub(in crate::store) async fn open_postgres(&self) -> postgres::Store {
        postgres::Store::open(&postgres::Config::new(self.url())).await.unwrap()
    }

    pub(in crate::store) async fn open_mysql(&self) -> mysql::Store {
        mysql::Store::open(&mysql::Config::new(self.url())).await.unwrap()
    }

    /// Runs a statement past the store.
    pub(in crate::store) async fn tamper(&self, sql: &'static str) {
        self.run(&self.url(), sql.to_owned()).await;
    }

    async fn run(&self, url: &str, sql: String) {
        let sql = AssertSqlSafe(sql);
        match self.server {
            Server::Postgres => drop(PgConnection::connect(url).await.unwrap().execute(sql).await.unwrap()),
            Server::MySql => drop(MySqlConnection::connect(url).await.unwrap().execute(sql).await.unwrap()),
        }
    }

    /// On a thread of its own: a test's runtime must not be blocked, and `drop` cannot wait.
    fn administer(&self, sql: String) {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(self.run(&self.admin, sql));
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap());
    }
}

impl Place for Database {
    async fn open(&self) -> Store {
        match self.server {
            Server::Postgres => Store::Postgres(self.open_postgres().await),
            Server::MySql => Store::MySql(self.open_mysql().await),
        }
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
