//! SQLite's errors, sorted into the store's.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

use crate::store::StoreError;

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder of the database cannot be made.
    #[error("cannot create the folder of {}", path.display())]
    Folder {
        /// The database.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be opened, or is no SQLite database.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: sqlx::Error,
    },
    /// The file's disk cannot do what durable commits need.
    #[error("{} cannot use a write-ahead log there (its journal is {journal:?}): put it on a local disk", path.display())]
    NoWal {
        /// The database.
        path: PathBuf,
        /// The journal SQLite uses instead.
        journal: String,
    },
    /// A newer program wrote it.
    #[error("{} has schema {found}, this program knows {known}: use a newer tidegate", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// The schema cannot be brought up to date, or was changed by hand.
    #[error("cannot bring the schema of {} up to date", path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: MigrateError,
    },
}

/// Sorts an error: passing, refused or damage.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
            match code & PRIMARY_CODE {
                CORRUPT | NOT_A_DATABASE => StoreError::Damaged(error.to_string()),
                BUSY | LOCKED | NO_MEMORY | READ_ONLY | INTERRUPTED | IO | FULL | CANNOT_OPEN | PROTOCOL => {
                    StoreError::Passing(error)
                }
                _ => StoreError::Refused(error),
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => StoreError::Passing(error),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Refused(error),
    }
}

/// Whether a unique key is taken already.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|database| database.code());
    code.is_some_and(|code| [TAKEN_KEY, TAKEN_ROWID, TAKEN_UNIQUE].contains(&&*code))
}

// https://www.sqlite.org/rescode.html: an extended code has the primary one in its lowest byte.
const PRIMARY_CODE: i32 = 0xff;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NO_MEMORY: i32 = 7;
const READ_ONLY: i32 = 8;
const INTERRUPTED: i32 = 9;
const IO: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const NOT_A_DATABASE: i32 = 26;
// Extended ones.
const TAKEN_KEY: &str = "1555";
const TAKEN_ROWID: &str = "2579";
const TAKEN_UNIQUE: &str = "2067";
