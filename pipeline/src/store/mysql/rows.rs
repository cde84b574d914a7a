//! Statements of many rows. They come in few sizes, so that few texts exist and the cache of prepared statements stays
//! warm.

use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection, MySqlQueryResult, MySqlRow};
use sqlx::{Arguments as _, AssertSqlSafe, Encode, Type};

/// A statement around a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Many {
    pub(super) before: &'static str,
    /// What stands in the list for each row.
    pub(super) row: &'static str,
    /// What stands between two rows.
    pub(super) between: &'static str,
    pub(super) after: &'static str,
}

/// The arguments of a statement in the making.
#[derive(Default)]
pub(super) struct Bound(MySqlArguments);

impl Bound {
    /// Adds the next argument.
    pub(super) fn bind<'t, T: Encode<'t, MySql> + Type<MySql>>(&mut self, value: T) -> &mut Self {
        self.0.add(value).expect("integers, texts and bytes are always encoded");
        self
    }
}

impl Many {
    /// The statement with so many rows.
    pub(super) fn text(&self, rows: usize) -> String {
        let list = (self.row.len() + self.between.len()) * rows;
        let mut sql = String::with_capacity(self.before.len() + list + self.after.len());
        sql.push_str(self.before);
        for row in 0..rows {
            if row > 0 {
                sql.push_str(self.between);
            }
            sql.push_str(self.row);
        }
        sql.push_str(self.after);
        sql
    }

    /// Runs it for all rows, in order, as often as needed; how many rows the server counted. `bind` adds the arguments
    /// of a row.
    pub(super) async fn execute<T>(
        &self,
        connection: &mut MySqlConnection,
        rows: &[T],
        mut bind: impl FnMut(&mut Bound, &T),
    ) -> Result<u64, sqlx::Error> {
        let mut count = 0;
        for chunk in chunks(rows) {
            let mut bound = Bound::default();
            chunk.iter().for_each(|row| bind(&mut bound, row));
            let query = sqlx::query_with(AssertSqlSafe(self.text(chunk.len())), bound.0);
            let result: MySqlQueryResult = query.execute(&mut *connection).await?;
            count += result.rows_affected();
        }
        Ok(count)
    }

    /// The same for a SELECT; its rows.
    pub(super) async fn fetch<T>(
        &self,
        connection: &mut MySqlConnection,
        rows: &[T],
        mut bind: impl FnMut(&mut Bound, &T),
    ) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let mut found = Vec::new();
        for chunk in chunks(rows) {
            let mut bound = Bound::default();
            chunk.iter().for_each(|row| bind(&mut bound, row));
            let query = sqlx::query_with(AssertSqlSafe(self.text(chunk.len())), bound.0);
            found.extend(query.fetch_all(&mut *connection).await?);
        }
        Ok(found)
    }
}

/// Parts of sizes that come again: powers of two, and at the end anything small.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = match rows.len() {
            0 => return None,
            few @ 1..=EXACT => few,
            many => (1 << many.ilog2()).min(MAX_ROWS),
        };
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// Up to here every size has a statement of its own.
const EXACT: usize = 16;
/// 9 columns × 512 is far below 65,535 arguments; and MariaDB makes a temporary table of an IN list of 1,000.
const MAX_ROWS: usize = 512;
/// Sizes of each statement: 1 to 16, 32 to 512.
pub(super) const SIZES: usize = EXACT + 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sizes_and_every_row_once() {
        let mut sizes = std::collections::BTreeSet::new();
        for count in 0..3_000 {
            let rows: Vec<usize> = (0..count).collect();
            let parts: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(parts.concat(), rows);
            assert!(parts.len() <= count / MAX_ROWS + 6, "{count}");
            sizes.extend(parts.iter().map(|part| part.len()));
        }
        assert_eq!(sizes.len(), SIZES);
    }
}
