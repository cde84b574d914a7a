//! PostgreSQL's errors, sorted into the store's.

use crate::store::StoreError;

/// Sorts an error. Only what is wrong with the data is refused: a server that is stopped, misconfigured or full is no
/// reason to give a message up.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    use sqlx::Error as E;

    match &error {
        E::Database(database) => {
            let code = database.code().unwrap_or_default();
            if DAMAGED.contains(&&*code) {
                StoreError::Damaged(error.to_string())
            } else if REFUSED_CLASSES.iter().any(|class| code.starts_with(class)) {
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

// https://www.postgresql.org/docs/current/errcodes-appendix.html: data exception, integrity constraint violation, program
// limit exceeded.
const REFUSED_CLASSES: [&str; 3] = ["22", "23", "54"];
/// data_corrupted, index_corrupted.
const DAMAGED: [&str; 2] = ["XX001", "XX002"];
