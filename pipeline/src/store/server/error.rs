//! A server's errors, sorted into the store's.

use sqlx::error::DatabaseError;
use tracing::error;

use crate::store::StoreError;

/// What an engine makes of an error that its server reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Fault {
    /// What is stored is damaged.
    Damaged,
    /// This message's own fault, known to be: no other one meets it.
    Refused,
    /// The server is stopped, overloaded or full, or wants the transaction again.
    Passing,
    /// The database is not as this program needs it (a table is missing, a right, it is read-only), or in a trouble that
    /// is not foreseen here. Every message may meet that, so none is given up for it; somebody has to mend it.
    Unfit,
}

/// By the class of an SQLSTATE. Only what can be nothing but the message's is: a message is not given up on a guess.
///
/// Keys are none of it. No message can make our statements break one, but a sequence or a counter that was set back can,
/// and then every message does.
pub(in crate::store) fn of_class(state: &str) -> Fault {
    match (state, state.get(..2)) {
        // A check; more than the server's format can hold, which has classmates about the server; a trigger's word.
        ("23514" | "54000" | "P0001" | "45000", _) => Fault::Refused,
        // The data.
        (_, Some("22")) => Fault::Refused,
        // No state at all; connection, rollback, resources, operator, system, internal, and what servers only number.
        (
            _,
            None
            | Some("08" | "40" | "53" | "55" | "57" | "58" | "70" | "72" | "F0" | "HV" | "HY" | "XA" | "XX"),
        ) => Fault::Passing,
        _ => Fault::Unfit,
    }
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
        E::Encode(_) => Fault::Refused,
        E::TypeNotFound { .. } | E::InvalidArgument(_) => Fault::Unfit,
        _ => Fault::Passing,
    };
    match fault {
        Fault::Damaged => StoreError::Damaged(error.to_string()),
        Fault::Refused => StoreError::Refused(error),
        Fault::Passing => StoreError::Passing(error),
        Fault::Unfit => {
            error!(error = &error as &dyn std::error::Error, "the database is not as it must be");
            StoreError::Passing(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_by_class() {
        for (fault, states) in [
            (Fault::Passing, "08006 40001 40P01 53100 53300 55P03 57014 57P01 57P03 58030 HY000 XX000 70100"),
            (Fault::Unfit, "42P01 42703 42501 42S02 25006 25P02 28P01 3D000 3F000 0A000 26000"),
            // Keys, and what nobody foresaw.
            (Fault::Unfit, "23000 23502 23503 23505 23P01 21000 27000 38000 44000 54001 P0003 UU123"),
            (Fault::Refused, "22001 22021 22P02 23514 45000 54000 P0001"),
        ] {
            for state in states.split(' ') {
                assert_eq!(of_class(state), fault, "{state}");
            }
        }
        assert_eq!(of_class(""), Fault::Passing);
    }
}
