//! Statements sent together. Each command to sqlx's connection thread costs two wake-ups of a thread, tens of
//! microseconds, so a transaction is few commands of several statements each.
//!
//! A multi-row statement is padded with NULL rows to a power of two, so that few texts exist and the cache of prepared
//! statements stays warm.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Either, Encode, Executor as _, Sqlite, Type};

/// Statements with their arguments, in the order they run.
#[derive(Default)]
pub(super) struct Script {
    sql: String,
    arguments: SqliteArguments,
    /// Rows in the text so far.
    rows: usize,
    ready: Vec<(String, SqliteArguments)>,
}

/// The rows of each statement.
pub(super) type Answers = Vec<Vec<SqliteRow>>;

impl Script {
    /// Adds a statement; its arguments follow by `bind`.
    pub(super) fn statement(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self.sql.push(';');
        self
    }

    /// Adds the next argument.
    pub(super) fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        self.arguments.add(value).expect("integers, texts and bytes are always encoded");
        self
    }

    /// Adds a statement around a list of rows, `before (?,?),(?,?) after`; several when they are many. `bind` adds the
    /// `columns` arguments of a row. The rows that pad the list are NULL in every column: the statement must pass over
    /// them.
    pub(super) fn rows<T>(
        &mut self,
        (before, after): (&str, &str),
        columns: usize,
        rows: &[T],
        mut bind: impl FnMut(&mut Self, &T),
    ) {
        for chunk in rows.chunks(MAX_ROWS) {
            let padded = chunk.len().next_power_of_two();
            if self.rows + padded > MAX_ROWS {
                self.cut();
            }
            self.rows += padded;
            self.sql.push_str(before);
            push_rows(&mut self.sql, columns, padded);
            self.sql.push_str(after);
            self.sql.push(';');
            for row in chunk {
                bind(self, row);
            }
            for _ in 0..(padded - chunk.len()) * columns {
                self.bind(None::<i64>);
            }
        }
    }

    /// Adds the statements of another script.
    pub(super) fn append(&mut self, mut other: Self) -> &mut Self {
        self.cut();
        other.cut();
        self.ready.append(&mut other.ready);
        self
    }

    /// Runs everything; the rows of each statement, in order.
    pub(super) async fn run(mut self, connection: &mut SqliteConnection) -> Result<Answers, sqlx::Error> {
        self.cut();
        let mut answers = Answers::new();
        for (sql, arguments) in self.ready {
            // The text is made of this module's constants; what comes from outside is bound.
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
            let mut stream = connection.fetch_many(query);
            let mut rows = Vec::new();
            while let Some(step) = stream.try_next().await? {
                match step {
                    Either::Right(row) => rows.push(row),
                    Either::Left(_) => answers.push(std::mem::take(&mut rows)),
                }
            }
        }
        Ok(answers)
    }

    /// Ends the command in the making.
    fn cut(&mut self) {
        if !self.sql.is_empty() {
            self.ready.push((std::mem::take(&mut self.sql), std::mem::take(&mut self.arguments)));
        }
        self.rows = 0;
    }
}

/// `VALUES (?,?),(?,?)`.
fn push_rows(sql: &mut String, columns: usize, rows: usize) {
    let row = format!("({})", vec!["?"; columns].join(","));
    sql.push_str("VALUES ");
    for n in 0..rows {
        if n > 0 {
            sql.push(',');
        }
        sql.push_str(&row);
    }
}

/// Rows of one statement, and of one command: 6 columns × 512 is far below SQLite's 32,766 arguments, and larger ones
/// were no faster.
const MAX_ROWS: usize = 512;

/// A statement that `Script::rows` makes, of two rows.
#[cfg(test)]
pub(super) fn rows_for_plan((before, after): (&str, &str), columns: usize) -> String {
    let mut sql = before.to_owned();
    push_rows(&mut sql, columns, 2);
    sql + after
}
