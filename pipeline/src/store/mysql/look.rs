//! A look at a database, which changes nothing.

use sqlx::mysql::MySqlConnection;
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
    limited(connection.close()).await.map_err(failed)?;
    Ok(look)
}

/// The steps of the schema that the database has; of an empty one none.
async fn applied(connection: &mut MySqlConnection) -> Result<Vec<i64>, sqlx::Error> {
    let tables: i64 = limited(sqlx::query_scalar(TABLES).fetch_one(&mut *connection)).await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    limited(sqlx::query_scalar(APPLIED).fetch_all(connection)).await
}

const SERVER: &str = "SELECT CAST(VERSION() AS CHAR), CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
const TABLES: &str = "SELECT CAST(count(*) AS SIGNED) FROM information_schema.tables \
     WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations'";
const APPLIED: &str = "SELECT version FROM _sqlx_migrations ORDER BY version";
