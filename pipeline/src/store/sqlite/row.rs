//! Columns of rows. SQLite has the types our statements wrote, so they are not asked for again.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::error;
use crate::store::StoreError;

pub(super) fn integer(row: &SqliteRow, column: usize) -> Result<i64, StoreError> {
    row.try_get_unchecked(column).map_err(error::classify)
}

pub(super) fn bytes(row: &SqliteRow, column: usize) -> Result<&[u8], StoreError> {
    row.try_get_unchecked(column).map_err(error::classify)
}
