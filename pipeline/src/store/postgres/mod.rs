//! The store on PostgreSQL, with writers beside each other: claims and locked heads decide (ARCHITECTURE.md "The store").
//!
//! Batches travel as arrays, one statement each. A session is told to use indexes and nested loops only: every statement
//! here is made of look-ups by key, and a plan must not depend on how old the server's statistics are.

mod append;
mod error;
mod hold;
mod look;
mod open;
mod read;
mod retain;
mod serve;
#[cfg(test)]
mod tests;

pub use super::server::config::Config;
pub use look::look;

/// The store on PostgreSQL. Cheap to clone.
pub type Store = super::server::served::Store<sqlx::PgConnection>;
