//! What is seen of a database before it is used. The SQL is the engine's.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::migrate::Migrator;

use super::open::OpenError;

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

impl Look {
    /// Of what the server says; `applied` are the versions of the schema that it has.
    pub(in crate::store) fn new(
        (server, clock_ms): (String, i64),
        applied: &[i64],
        migrations: &Migrator,
        place: &str,
    ) -> Result<Self, OpenError> {
        let known: Vec<i64> = migrations.iter().map(|migration| migration.version).collect();
        if let Some(found) = applied.iter().find(|version| !known.contains(version)) {
            let known = known.into_iter().max().unwrap_or(0);
            return Err(OpenError::Newer { place: place.to_owned(), found: *found, known });
        }
        let pending = known.iter().filter(|version| !applied.contains(version)).count();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { server, pending, clock_ahead_ms: clock_ms.saturating_sub(now_ms) })
    }
}
