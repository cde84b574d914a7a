//! A server's errors, sorted into the store's.

use sqlx::error::DatabaseError;

use crate::store::StoreError;

/// What an engine makes of an error that its server reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Fault {
    /// What is stored is damaged.
    Damaged,
    /// The data is wrong.
    Refused,
    /// Anything else: the server is stopped, misconfigured or full, which is no reason to give a message up.
    Passing,
}

/// Sorts an error; `fault` those that the server reports.
pub(in crate::store) fn classify(
    error: sqlx::Error,
    fault: impl FnOnce(&dyn DatabaseError) -> Fault,
) -> StoreError {
    use sqlx::Error as E;

    let fault = match &error {
        E::Database(database) => fault(&**database),
        E::ColumnDecode { .. } | E::ColumnIndexOutOfBounds { .. } | E::ColumnNotFound(_) | E::Decode(_) => {
            Fault::Damaged
        }
        E::Encode(_) | E::TypeNotFound { .. } | E::InvalidArgument(_) => Fault::Refused,
        _ => Fault::Passing,
    };
    match fault {
        Fault::Damaged => StoreError::Damaged(error.to_string()),
        Fault::Refused => StoreError::Refused(error),
        Fault::Passing => StoreError::Passing(error),
    }
}
