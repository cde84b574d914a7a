//! The store on MySQL or MariaDB, with writers beside each other: claims and locked heads decide
//! (ARCHITECTURE.md "The store").
//!
//! The SQL keeps to what both understand; only MariaDB is tested. Batches travel as statements of many rows. Indexes are
//! forced: every statement here is made of look-ups by key, and a plan must not depend on how old the server's statistics
//! are; besides, which rows a statement locks, and in which order, is a matter of its plan.

mod append;
mod error;
mod hold;
mod look;
mod open;
mod read;
mod retain;
mod rows;
mod serve;
#[cfg(test)]
mod tests;

pub use super::server::config::Config;
pub use look::look;

/// The store on MySQL or MariaDB. Cheap to clone.
pub type Store = super::server::served::Store<sqlx::MySqlConnection>;
