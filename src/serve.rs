//! `tidegate serve`: puts the parts together and runs them.

use crate::config::Config;

// TO BE FILLED BY THE LEAD: the assembly. Called with a valid configuration, logging started, the data folder made and
// locked, the limit of descriptors raised.
pub(crate) fn run(_config: Config) -> anyhow::Result<()> {
    Ok(())
}
