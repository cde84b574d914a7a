//! What the engines share that are servers of their own, with writers beside each other: connections, the rows of an
//! append once its claims are known, retention, epoch and cursors, the errors. The SQL is the engine's.
//!
//! A message's number is its batch's draw, which rises, and its place in the batch. It is drawn before the locks, so
//! within a timeline numbers rise with the seq only about: whoever needs the order looks at the entries.

pub(super) mod channels;
pub(super) mod config;
pub(super) mod cursors;
pub(super) mod error;
pub(super) mod floors;
pub(super) mod guard;
pub(super) mod look;
pub(super) mod open;
pub(super) mod pool;
pub(super) mod retain;
pub(super) mod served;
pub(super) mod written;

/// An epoch: a name for the life of the data.
pub(super) fn draw_epoch() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A seq or a limit as SQL has it.
pub(super) fn saturated(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
