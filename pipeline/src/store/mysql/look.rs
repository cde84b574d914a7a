//! A look at a database, which changes nothing.

use sqlx::mysql::MySqlConnection;

use super::Config;
use super::open::{MIGRATIONS, check, meant};
use crate::store::server::look::{self, Look, Show};
use crate::store::server::open::OpenError;

/// Whether the database can be used, and what of it is to be known.
pub async fn look(config: &Config) -> Result<Look, OpenError> {
    let (options, place) = meant(config)?;
    look::look::<MySqlConnection>(options, &place, &MIGRATIONS).await
}

impl Show for MySqlConnection {
    const SERVER: &'static str =
        "SELECT CAST(VERSION() AS CHAR), CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
    const HAS_STEPS: &'static str = "SELECT EXISTS (SELECT 1 FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations')";
    /// No one question answers it: rights come from the server, the database and roles.
    const MAY_CREATE: &'static str = "SELECT true";

    async fn check(&mut self, place: &str) -> Result<(), OpenError> {
        check(self, place).await
    }
}
