//! PostgreSQL's errors, sorted into the store's.

use crate::store::StoreError;
use crate::store::server::error::{self, Fault};

/// Sorts an error.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    error::classify(error, |database| {
        let code = database.code().unwrap_or_default();
        if DAMAGED.contains(&&*code) { Fault::Damaged } else { error::of_class(&code) }
    })
}

/// data_corrupted, index_corrupted (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const DAMAGED: [&str; 2] = ["XX001", "XX002"];
