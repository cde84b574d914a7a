//! A look at a database, which changes nothing.

use sqlx::PgConnection;

use super::Config;
use super::open::{MIGRATIONS, check, meant};
use crate::store::server::look::{self, Look, Show};
use crate::store::server::open::OpenError;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Whether the database can be used, and what of it is to be known.
pub async fn look(config: &Config) -> std::result::Result<Look, OpenError> {
    let (options, place) = meant(config)?;
    look::look::<PgConnection>(options, &place, &MIGRATIONS).await
}

impl Show for PgConnection {
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

    async fn may_create(&mut self) -> Result<bool> {
        sqlx::query_scalar(MAY_CREATE).fetch_one(self).await
    }
}

const SERVER: &str = "SELECT 'PostgreSQL ' || current_setting('server_version'), \
     (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const HAS_STEPS: &str = "SELECT EXISTS (SELECT FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations')";
/// Where the search path leads to no schema, there is none to make tables in.
const MAY_CREATE: &str =
    "SELECT coalesce(has_schema_privilege(current_user, current_schema(), 'CREATE'), false)";
