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
        let mut filter =
            EnvFilter::builder().parse(&self.level).map_err(|error| Invalid::new(LEVEL, error))?;
        for quiet in QUIET {
            filter = filter.add_directive(quiet.parse().map_err(|error| Invalid::new(LEVEL, error))?);
        }
        Ok(filter)
    }
}

const LEVEL: &str = "log.level";
/// What says much where nothing is wrong: quinn's list of the addresses it knows warns of each client that comes back
/// after a restart, and PostgreSQL tells at each start that tables are there already.
const QUIET: [&str; 2] = ["quinn_proto::bloom_token_log=error", "sqlx::postgres::notice=warn"];

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_client_that_comes_back_after_a_restart_is_no_warning() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(Log::default().filter().unwrap())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "quinn_proto::bloom_token_log", "token too far in past");
            tracing::warn!(target: "quinn_proto::connection", "kept");
        });
        let shown = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert!(shown.contains("kept") && !shown.contains("token"), "{shown}");
    }
}
