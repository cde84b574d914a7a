//! What a look tells of a database before the store opens it.

use super::Place as _;
use super::database::Database;
use crate::store::{OpenError, Store};

/// Of an empty database every step of the schema is to be made, of one that was opened none.
pub(in crate::store) async fn a_look_changes_nothing(database: &Database) {
    let look = async || Store::look(&database.url()).await.unwrap();
    let empty = look().await;
    assert!(empty.pending > 0 && empty.server.contains('.'), "{empty:?}");
    assert_eq!(look().await.pending, empty.pending, "the first look made something");

    database.open().await.close().await.unwrap();
    let opened = look().await;
    assert_eq!((opened.server, opened.pending), (empty.server, 0));
}

pub(in crate::store) async fn a_look_at_a_newer_schema(database: &Database) {
    database.open().await.close().await.unwrap();
    database.tamper("UPDATE _sqlx_migrations SET version = 99").await;
    let error = Store::look(&database.url()).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
}
