//! Why a database on a server cannot be used.

use sqlx::migrate::{MigrateError, Migrator};

/// Why the store on a database server cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither of the servers we know.
    #[error("the store's URL begins with neither postgres:// nor mysql://")]
    Unknown,
    /// The URL is not one.
    #[error("the store's URL is not of the form {form}")]
    Url {
        /// How it should look.
        form: &'static str,
        /// What is wrong.
        #[source]
        source: sqlx::Error,
    },
    /// The URL names no database.
    #[error("the store's URL names no database: {form}")]
    NoDatabase {
        /// How it should look.
        form: &'static str,
    },
    /// The server cannot be reached, or does not let us in.
    #[error("cannot use the database {place}")]
    Database {
        /// Host, port and database.
        place: String,
        /// What the server says.
        #[source]
        source: sqlx::Error,
    },
    /// The server is too old.
    #[error("{place} is {found}: at least {needed} is needed")]
    TooOld {
        /// Host, port and database.
        place: String,
        /// What it says of itself.
        found: String,
        /// What we need.
        needed: &'static str,
    },
    /// A setting of the server is not what a durable store needs.
    #[error("{place} has {setting} = {found}, {why}: set {setting} = {needed}")]
    Setting {
        /// Host, port and database.
        place: String,
        /// The server's setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What goes wrong with it.
        why: &'static str,
        /// The value to set.
        needed: &'static str,
    },
    /// The schema is to be brought up to date, and this user may not.
    #[error("this user may not make tables in {place}: grant CREATE on the schema")]
    MayNotCreate {
        /// Host, port and database.
        place: String,
    },
    /// A newer program wrote it.
    #[error("{place} has schema {found}, this program knows {known}: use a newer tidegate")]
    Newer {
        /// Host, port and database.
        place: String,
        /// The schema it has.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// The schema cannot be brought up to date, or was changed by hand.
    #[error("cannot bring the schema of {place} up to date")]
    Migrate {
        /// Host, port and database.
        place: String,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
}

impl OpenError {
    /// Sorts the error of a migration.
    pub(in crate::store) fn of_migration(migrations: &Migrator, place: &str, source: MigrateError) -> Self {
        let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
        let place = place.to_owned();
        match source {
            MigrateError::VersionMissing(found) if found > known => Self::Newer { place, found, known },
            source => Self::Migrate { place, source },
        }
    }
}
