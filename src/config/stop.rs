//! `[stop]`: how the program ends.

use super::section::{Invalid, in_range, section};

section! {
    /// On SIGTERM clients are sent away, what was accepted is stored, and then the program ends.
    Stop {
        /// How long all of that may take.
        grace_ms: u32 = 10_000,
    }
}

impl Stop {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        in_range("stop.grace_ms", self.grace_ms.into(), 0..=600_000)
    }
}
