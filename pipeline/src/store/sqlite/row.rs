//! Columns of rows, and the SQL of the two that say how far a timeline goes. SQLite has the types our statements wrote,
//! so they are not asked for again.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::error;
use crate::store::{Bounds, StoreError};

/// A timeline's head, as an expression of SQL.
macro_rules! head {
    ($id:literal) => {
        concat!(
            "coalesce((SELECT max(seq) FROM entries WHERE timeline = ",
            $id,
            "), (SELECT floor - 1 FROM floors WHERE timeline = ",
            $id,
            "), 0)"
        )
    };
}
pub(super) use head;

/// A timeline's head and floor, as two expressions of SQL; `bounds_of` reads them.
macro_rules! bounds {
    ($id:literal) => {
        concat!(
            $crate::store::sqlite::row::head!($id),
            ", coalesce((SELECT floor FROM floors WHERE timeline = ",
            $id,
            "), 1)"
        )
    };
}
pub(super) use bounds;

/// A timeline's head and floor from two columns.
pub(super) fn bounds_of(row: &SqliteRow, column: usize) -> Result<Bounds, sqlx::Error> {
    let (head, floor): (i64, i64) = (row.try_get_unchecked(column)?, row.try_get_unchecked(column + 1)?);
    Ok(Bounds::of_row(head, floor))
}

pub(super) fn integer(row: &SqliteRow, column: usize) -> Result<i64, StoreError> {
    row.try_get_unchecked(column).map_err(error::classify)
}

pub(super) fn bytes(row: &SqliteRow, column: usize) -> Result<&[u8], StoreError> {
    row.try_get_unchecked(column).map_err(error::classify)
}
