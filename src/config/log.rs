//! `[log]`: what the program says of itself.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::section::{Invalid, section};

section! {
    /// The log goes to standard error.
    Log {
        /// `text` for people, `json` for machines.
        format: Format = Format::Text,
        /// `error`, `warn`, `info`, `debug` or `trace`, also by module: `info,tidegate_gateway=debug`.
        level: String = "info".to_owned(),
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Log {
    /// `level` as a filter.
    pub(crate) fn filter(&self) -> Result<EnvFilter, Invalid> {
        EnvFilter::builder().parse(&self.level).map_err(|error| Invalid::new("log.level", error))
    }
}
