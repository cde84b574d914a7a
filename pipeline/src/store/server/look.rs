//! What is seen of a database before it is used. The SQL is the engine's.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::migrate::Migrator;
use sqlx::{
    ConnectOptions as _, Connection, Database, Executor, FromRow, IntoArguments, query_as, query_scalar,
};

use super::open::OpenError;
use super::pool::limited;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What the server says of itself.
    pub server: String,
    /// Steps of the schema that the next start makes; of an empty database all of them.
    pub pending: usize,
    /// How far the server's clock is ahead of this machine's, in ms.
    pub clock_ahead_ms: i64,
}

/// What a look needs of an engine. The texts are SQL, whose answer is one row.
pub(in crate::store) trait Show: Connection {
    /// What the server says of itself, and its time in ms since 1970.
    const SERVER: &'static str;
    /// Whether the table is there that names the steps of the schema.
    const HAS_STEPS: &'static str;
    /// Whether this user may make tables, as far as the server can be asked.
    const MAY_CREATE: &'static str;

    /// The server must be new enough, and its settings those of a durable store.
    async fn check(&mut self, place: &str) -> Result<(), OpenError>;
}

/// Whether the database can be used, and what of it is to be known.
pub(in crate::store) async fn look<C>(
    options: C::Options,
    place: &str,
    migrations: &Migrator,
) -> Result<Look, OpenError>
where
    C: Show,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    <C::Database as Database>::Arguments: IntoArguments<C::Database>,
    (String, i64): for<'r> FromRow<'r, <C::Database as Database>::Row>,
    (i64,): for<'r> FromRow<'r, <C::Database as Database>::Row>,
    (bool,): for<'r> FromRow<'r, <C::Database as Database>::Row>,
{
    let failed = |source| OpenError::Database { place: place.to_owned(), source };
    let mut connection: C = limited(options.connect()).await.map_err(failed)?;
    connection.check(place).await?;
    let server = limited(query_as(C::SERVER).fetch_one(&mut connection)).await.map_err(failed)?;
    let made = if limited(query_scalar(C::HAS_STEPS).fetch_one(&mut connection)).await.map_err(failed)? {
        limited(query_scalar(STEPS).fetch_all(&mut connection)).await.map_err(failed)?
    } else {
        Vec::new()
    };
    let look = Look::new(server, &made, migrations, place)?;
    if look.pending > 0 {
        let may: bool =
            limited(query_scalar(C::MAY_CREATE).fetch_one(&mut connection)).await.map_err(failed)?;
        if !may {
            return Err(OpenError::MayNotCreate { place: place.to_owned() });
        }
    }
    limited(connection.close()).await.map_err(failed)?;
    Ok(look)
}

impl Look {
    /// `made` are the steps of the schema that the database has.
    fn new(
        (server, clock_ms): (String, i64),
        made: &[i64],
        migrations: &Migrator,
        place: &str,
    ) -> Result<Self, OpenError> {
        let known: Vec<i64> = migrations.iter().map(|migration| migration.version).collect();
        if let Some(found) = made.iter().find(|version| !known.contains(version)) {
            let known = known.into_iter().max().unwrap_or(0);
            return Err(OpenError::Newer { place: place.to_owned(), found: *found, known });
        }
        let pending = known.iter().filter(|version| !made.contains(version)).count();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { server, pending, clock_ahead_ms: clock_ms.saturating_sub(now_ms) })
    }
}

const STEPS: &str = "SELECT version FROM _sqlx_migrations";
