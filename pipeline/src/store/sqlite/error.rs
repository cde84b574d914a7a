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

/// Sorts an error: passing, refused or damage. Refused is only what can be nothing but the message's own fault; what
/// every message may meet, a table that is gone or a trouble that is not foreseen here, somebody has to mend.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
            match code & PRIMARY_CODE {
                CORRUPT | NOT_A_DATABASE => StoreError::Damaged(error.to_string()),
                TOO_BIG => StoreError::Refused(error),
                _ if [BROKEN_CHECK, TRIGGER].contains(&code) => StoreError::Refused(error),
                _ => StoreError::Passing(error),
            }
        }
        sqlx::Error::Encode(_) => StoreError::Refused(error),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnIndexOutOfBounds { .. } => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Passing(error),
    }
}

/// Whether a unique key is taken already.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|database| database.code());
    code.is_some_and(|code| [TAKEN_KEY, TAKEN_ROWID, TAKEN_UNIQUE].contains(&&*code))
}

// https://www.sqlite.org/rescode.html: an extended code has the primary one in its lowest byte.
const PRIMARY_CODE: i32 = 0xff;
const CORRUPT: i32 = 11;
const TOO_BIG: i32 = 18;
const NOT_A_DATABASE: i32 = 26;
// Extended ones: a check, and what a trigger says.
const BROKEN_CHECK: i32 = 275;
const TRIGGER: i32 = 1811;
const TAKEN_KEY: &str = "1555";
const TAKEN_ROWID: &str = "2579";
const TAKEN_UNIQUE: &str = "2067";
