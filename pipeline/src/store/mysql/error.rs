//! The errors of MySQL and MariaDB, sorted into the store's.

use sqlx::mysql::MySqlDatabaseError;

use crate::store::StoreError;
use crate::store::server::error::{self, Fault};

/// Sorts an error.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    error::classify(error, |database| {
        let number = database.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
        let code = database.code().unwrap_or_default();
        sort(number, &code)
    })
}

/// By the number where it says more than the class: much is HY000 or 42000 here.
fn sort(number: u16, state: &str) -> Fault {
    if DAMAGED.contains(&number) {
        Fault::Damaged
    } else if REFUSED.contains(&number) {
        Fault::Refused
    } else if UNFIT.contains(&number) {
        Fault::Unfit
    } else {
        error::of_class(state)
    }
}

// https://mariadb.com/kb/en/mariadb-error-code-reference/: too large a row, a text that is not in its character set, what a
// trigger signals, a check of MySQL's and of MariaDB's.
const REFUSED: [u16; 5] = [1118, 1366, 1644, 3819, 4025];
/// A read-only server (two numbers), a column that we do not know and that has no default, no partition for a value, a
/// server that takes smaller packets than it did at our start.
const UNFIT: [u16; 5] = [1290, 1836, 1364, 1526, 1153];
/// A key file that is damaged, a table that crashed, an index that is corrupted.
const DAMAGED: [u16; 3] = [1034, 1194, 1712];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_say_more_than_states() {
        for (number, state, fault) in [
            (1034, "HY000", Fault::Damaged),
            (1118, "42000", Fault::Refused),
            (1366, "HY000", Fault::Refused),
            (1644, "45000", Fault::Refused),
            (1644, "42000", Fault::Refused),
            (1406, "22001", Fault::Refused),
            (4025, "23000", Fault::Refused),
            (1062, "23000", Fault::Unfit),
            (1048, "23000", Fault::Unfit),
            (1153, "08S01", Fault::Unfit),
            (1526, "HY000", Fault::Unfit),
            (1146, "42S02", Fault::Unfit),
            (1142, "42000", Fault::Unfit),
            (1290, "HY000", Fault::Unfit),
            (1045, "28000", Fault::Unfit),
            (1205, "HY000", Fault::Passing),
            (1213, "40001", Fault::Passing),
            (1114, "HY000", Fault::Passing),
            (1317, "70100", Fault::Passing),
        ] {
            assert_eq!(sort(number, state), fault, "{number} {state}");
        }
    }
}
