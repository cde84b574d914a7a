//! `tidegate token`: a development token on standard output.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use tidegate_gateway::auth::{Grants, Patterns, Signer};

use crate::cli::Token;
use crate::config::Config;
use crate::data;

/// Signs a token with the data folder's secret and prints it.
pub(crate) fn run(command: &Token) -> anyhow::Result<()> {
    let config = Config::load(&command.settings.sources())?;
    ensure!(
        config.is_development(),
        "[auth] is configured, so the gateway takes tokens of that issuer only and none from here"
    );
    data::make(&config.data)?;
    let signer = Signer::open_or_make(&config.data)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")?;
    let now_ms = i64::try_from(now.as_millis()).context("this machine's clock is far off")?;
    let grants = Grants {
        subscribe: Patterns::try_from(command.subscribe.clone()).context("--subscribe")?,
        publish: Patterns::try_from(command.publish.clone()).context("--publish")?,
    };
    let token = signer.sign_granting(&grants, &command.user, command.device.as_ref(), command.ttl, now_ms)?;
    println!("{token}");
    Ok(())
}
