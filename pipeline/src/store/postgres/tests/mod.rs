//! The contract on PostgreSQL, and what is PostgreSQL's own.

use super::{Config, Store, look};
use crate::store::OpenError;
use crate::store::contract::database::{Database, Server};
use crate::store::contract::{contract_tests, server_tests};

mod plans;
mod server;

fn database() -> Database {
    Database::new(Server::Postgres)
}

contract_tests!(
    database(),
    "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"
);
server_tests!(
    database(),
    "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"
);
