//! A look at a database, which changes nothing.

use sqlx::mysql::MySqlConnection;

use super::Config;
use super::open::{MIGRATIONS, check, meant};
use crate::store::server::look::{self, Look, Show};
use crate::store::server::open::OpenError;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Whether the database can be used, and what of it is to be known.
pub async fn look(config: &Config) -> std::result::Result<Look, OpenError> {
    let (options, place) = meant(config)?;
    look::look::<MySqlConnection>(options, &place, &MIGRATIONS).await
}

impl Show for MySqlConnection {
    async fn check(&mut self, place: &str) -> std::result::Result<(), OpenError> {
        check(self, place).await
    }

    async fn server(&mut self) -> Result<(String, i64)> {
        sqlx::query_as(SERVER).fetch_one(self).await
    }

    async fn has_steps(&mut self) -> Result<bool> {
        sqlx::query_scalar(HAS_STEPS).fetch_one(self).await
    }

    async fn steps(&mut self) -> Result<Vec<i64>> {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations").fetch_all(self).await
    }

    /// There is no one question for it: rights come from the server, the database and roles.
    async fn may_create(&mut self) -> Result<bool> {
        Ok(true)
    }
}

const SERVER: &str = "SELECT CAST(VERSION() AS CHAR), CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
const HAS_STEPS: &str = "SELECT EXISTS (SELECT 1 FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations')";
