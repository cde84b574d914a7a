//! The log of the program: to standard error, as text or JSON.

use std::io::{self, IsTerminal as _};

use anyhow::anyhow;
use tracing_subscriber::fmt;

use crate::config::log::{Format, Log};

/// Starts logging, once for the process.
pub(crate) fn start(config: &Log) -> anyhow::Result<()> {
    // Valid, since the configuration was validated by parsing it.
    let filter = config.filter().map_err(|invalid| invalid.problem)?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match config.format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("logging is started already: {error}"))
}
