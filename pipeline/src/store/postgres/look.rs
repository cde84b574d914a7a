//! A look at a database, which changes nothing.

use sqlx::PgConnection;

use super::Config;
use super::open::{MIGRATIONS, check, meant};
use crate::store::server::look::{self, Look, Show};
use crate::store::server::open::OpenError;

/// Whether the database can be used, and what of it is to be known.
pub async fn look(config: &Config) -> Result<Look, OpenError> {
    let (options, place) = meant(config)?;
    look::look::<PgConnection>(options, &place, &MIGRATIONS).await
}

impl Show for PgConnection {
    const SERVER: &'static str = "SELECT 'PostgreSQL ' || current_setting('server_version'), \
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    const HAS_STEPS: &'static str = "SELECT EXISTS (SELECT FROM information_schema.tables \
         WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations')";
    /// Where the search path leads to no schema, there is none to make tables in.
    const MAY_CREATE: &'static str =
        "SELECT coalesce(has_schema_privilege(current_user, current_schema(), 'CREATE'), false)";

    async fn check(&mut self, place: &str) -> Result<(), OpenError> {
        check(self, place).await
    }
}
