//! Refusals: a code of the wire with the sentence that goes with it.

use crate::v1::{CloseCode, Code};

/// Why something a client asked for is refused: the code it gets, a sentence for a person, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.as_str_name())]
pub struct Refusal {
    /// The code on the wire.
    pub code: Code,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// After how many ms a retry makes sense; 0: not said.
    pub retry_after_ms: i64,
}

impl Refusal {
    /// A refusal without a time to retry after.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: 0 }
    }

    /// INVALID_ARGUMENT.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Whether the same request may succeed later: UNAVAILABLE and RATE_LIMITED.
    pub fn is_passing(&self) -> bool {
        matches!(self.code, Code::Unavailable | Code::RateLimited)
    }
}

impl CloseCode {
    /// Its name as docs/PROTOCOL.md writes it: `DRAINING`.
    pub fn name(&self) -> &'static str {
        self.as_str_name().trim_start_matches("CLOSE_CODE_")
    }
}
