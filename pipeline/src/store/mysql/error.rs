//! The errors of MySQL and MariaDB, sorted into the store's.

use sqlx::mysql::MySqlDatabaseError;

use crate::store::StoreError;

/// Sorts an error. Only what is wrong with the data is refused: a server that is stopped, misconfigured or full is no
/// reason to give a message up.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    use sqlx::Error as E;

    match &error {
        E::Database(database) => {
            let number =
                database.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
            let code = database.code().unwrap_or_default();
            if DAMAGED.contains(&number) {
                StoreError::Damaged(error.to_string())
            } else if REFUSED.contains(&number) || REFUSED_CLASSES.iter().any(|class| code.starts_with(class))
            {
                StoreError::Refused(error)
            } else {
                StoreError::Passing(error)
            }
        }
        E::ColumnDecode { .. } | E::ColumnIndexOutOfBounds { .. } | E::ColumnNotFound(_) | E::Decode(_) => {
            StoreError::Damaged(error.to_string())
        }
        E::Encode(_) | E::TypeNotFound { .. } | E::InvalidArgument(_) => StoreError::Refused(error),
        _ => StoreError::Passing(error),
    }
}

/// Of SQLSTATE: data exception, integrity constraint violation.
const REFUSED_CLASSES: [&str; 2] = ["22", "23"];
// https://mariadb.com/kb/en/mariadb-error-code-reference/: too large a row, too large a packet, a text that is not in its
// character set.
const REFUSED: [u16; 3] = [1118, 1153, 1366];
/// A key file that is damaged, a table that crashed, an index that is corrupted.
const DAMAGED: [u16; 3] = [1034, 1194, 1712];
