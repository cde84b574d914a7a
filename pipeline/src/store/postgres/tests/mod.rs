//! The contract on PostgreSQL, and what is PostgreSQL's own.

use super::{Config, Store};
use crate::store::contract::database::{Database, Server};
use crate::store::contract::{Place, append, contract_tests, inbox, text, whole, writers_tests};
use crate::store::{OpenError, StoreError};

mod plans;
mod server;

fn database() -> Database {
    Database::new(Server::Postgres)
}

contract_tests!(
    database(),
    "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"
);
writers_tests!(
    database(),
    "needs PostgreSQL: scripts/services run postgres -- cargo test -p tidegate-pipeline postgres -- --ignored"
);
