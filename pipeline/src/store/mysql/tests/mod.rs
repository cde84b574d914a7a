//! The contract on MariaDB, and what is MySQL's own.

use super::{Config, Store};
use crate::store::contract::database::{Database, Server};
use crate::store::contract::{Place, append, contract_tests, inbox, text, whole, writers_tests};
use crate::store::{OpenError, StoreError};

mod plans;
mod server;

fn database() -> Database {
    Database::new(Server::MySql)
}

contract_tests!(
    database(),
    "needs MariaDB: scripts/services run mariadb -- cargo test -p tidegate-pipeline mysql -- --ignored"
);
writers_tests!(
    database(),
    "needs MariaDB: scripts/services run mariadb -- cargo test -p tidegate-pipeline mysql -- --ignored"
);
