//! A look at a database, which changes nothing.

use sqlx::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _};

use super::Config;
use super::open::{MIGRATIONS, check, meant};
use crate::store::server::look::Look;
use crate::store::server::open::OpenError;
use crate::store::server::pool::limited;

/// Whether the database can be used, and what of it is to be known.
pub async fn look(config: &Config) -> Result<Look, OpenError> {
    let (options, place) = meant(config)?;
    let failed = |source| OpenError::Database { place: place.clone(), source };
    let mut connection = limited(options.connect()).await.map_err(failed)?;
    check(&mut connection, &place).await?;
    let server = sqlx::query_as::<_, (String, i64)>(SERVER);
    let server = limited(server.fetch_one(&mut connection)).await.map_err(failed)?;
    let applied = applied(&mut connection).await.map_err(failed)?;
    let look = Look::new(server, &applied, &MIGRATIONS, &place)?;
    if look.pending > 0 {
        rights(&mut connection, &place).await?;
    }
    limited(connection.close()).await.map_err(failed)?;
    Ok(look)
}

/// The steps of the schema that the database has; of an empty one none.
async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let tables: i64 = limited(sqlx::query_scalar(TABLES).fetch_one(&mut *connection)).await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    limited(sqlx::query_scalar(APPLIED).fetch_all(connection)).await
}

/// Whoever brings the schema up to date makes tables.
async fn rights(connection: &mut PgConnection, place: &str) -> Result<(), OpenError> {
    let may = limited(sqlx::query_scalar::<_, Option<bool>>(MAY_CREATE).fetch_one(connection)).await;
    let may = may.map_err(|source| OpenError::Database { place: place.to_owned(), source })?;
    if may == Some(true) { Ok(()) } else { Err(OpenError::MayNotCreate { place: place.to_owned() }) }
}

const SERVER: &str = "SELECT 'PostgreSQL ' || current_setting('server_version'), \
     (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const TABLES: &str = "SELECT count(*) FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations'";
const APPLIED: &str = "SELECT version FROM _sqlx_migrations ORDER BY version";
const MAY_CREATE: &str = "SELECT has_schema_privilege(current_user, current_schema(), 'CREATE')";
