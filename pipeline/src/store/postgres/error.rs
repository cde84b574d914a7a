//! PostgreSQL's errors, sorted into the store's.

use crate::store::StoreError;
use crate::store::server::error::{self, Fault};

/// Sorts an error.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    error::classify(error, |database| {
        let code = database.code().unwrap_or_default();
        if DAMAGED.contains(&&*code) {
            Fault::Damaged
        } else if REFUSED_CLASSES.iter().any(|class| code.starts_with(class)) {
            Fault::Refused
        } else {
            Fault::Passing
        }
    })
}

// https://www.postgresql.org/docs/current/errcodes-appendix.html: data exception, integrity constraint violation, program
// limit exceeded.
const REFUSED_CLASSES: [&str; 3] = ["22", "23", "54"];
/// data_corrupted, index_corrupted.
const DAMAGED: [&str; 2] = ["XX001", "XX002"];
