//! The errors of MySQL and MariaDB, sorted into the store's.

use sqlx::mysql::MySqlDatabaseError;

use crate::store::StoreError;
use crate::store::server::error::{self, Fault};

/// Sorts an error.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    error::classify(error, |database| {
        let number = database.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
        let code = database.code().unwrap_or_default();
        if DAMAGED.contains(&number) {
            Fault::Damaged
        } else if REFUSED.contains(&number) || REFUSED_CLASSES.iter().any(|class| code.starts_with(class)) {
            Fault::Refused
        } else {
            Fault::Passing
        }
    })
}

/// Of SQLSTATE: data exception, integrity constraint violation.
const REFUSED_CLASSES: [&str; 2] = ["22", "23"];
// https://mariadb.com/kb/en/mariadb-error-code-reference/: too large a row, too large a packet, a text that is not in its
// character set.
const REFUSED: [u16; 3] = [1118, 1153, 1366];
/// A key file that is damaged, a table that crashed, an index that is corrupted.
const DAMAGED: [u16; 3] = [1034, 1194, 1712];
