//! The contract on MariaDB, and what is MySQL's own.

use super::{Config, Store};
use crate::store::OpenError;
use crate::store::contract::database::{Database, Server};
use crate::store::contract::{Place as _, append, contract_tests, server_tests, text};

mod plans;
mod server;

fn database() -> Database {
    Database::new(Server::MySql)
}

contract_tests!(
    database(),
    "needs MariaDB: scripts/services run mariadb -- cargo test -p tidegate-pipeline mysql -- --ignored"
);
server_tests!(
    database(),
    "needs MariaDB: scripts/services run mariadb -- cargo test -p tidegate-pipeline mysql -- --ignored"
);
