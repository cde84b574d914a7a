//! What is seen of a database before it is used. The SQL is the engine's.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::migrate::Migrator;
use sqlx::{ConnectOptions as _, Connection};

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

/// What a look asks of an engine's connection.
pub(in crate::store) trait Show: Connection {
    /// The server must be new enough, and its settings those of a durable store.
    async fn check(&mut self, place: &str) -> Result<(), OpenError>;

    /// What the server says of itself, and its time in ms since 1970.
    async fn server(&mut self) -> Result<(String, i64), sqlx::Error>;

    /// Whether the table is there that names the steps of the schema.
    async fn has_steps(&mut self) -> Result<bool, sqlx::Error>;

    /// The steps of the schema that were made.
    async fn steps(&mut self) -> Result<Vec<i64>, sqlx::Error>;

    /// Whether this user may make tables, as far as the server can be asked.
    async fn may_create(&mut self) -> Result<bool, sqlx::Error>;
}

/// Whether the database can be used, and what of it is to be known.
pub(in crate::store) async fn look<C: Show>(
    options: C::Options,
    place: &str,
    migrations: &Migrator,
) -> Result<Look, OpenError> {
    let failed = |source| OpenError::Database { place: place.to_owned(), source };
    let mut connection: C = limited(options.connect()).await.map_err(failed)?;
    connection.check(place).await?;
    let server = limited(connection.server()).await.map_err(failed)?;
    let has_steps = limited(connection.has_steps()).await.map_err(failed)?;
    let made = if has_steps { limited(connection.steps()).await.map_err(failed)? } else { Vec::new() };
    let look = Look::new(server, &made, migrations, place)?;
    if look.pending > 0 && !limited(connection.may_create()).await.map_err(failed)? {
        return Err(OpenError::MayNotCreate { place: place.to_owned() });
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
