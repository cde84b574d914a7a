//! Whether a Redis can be used, tried with everything that presence does there.

use std::time::Duration;

use fred::prelude::{ClientLike as _, Error};
use fred::types::InfoKind;
use tokio::time::timeout;

use super::{Settings, SettingsError};
use crate::presence::lease::{Lease, Role, State};
use crate::presence::{Presence, Unreachable};

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nothing can be tried.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It is not reached, or does not let us in.
    #[error("Redis is not reached, or does not let this user in")]
    Unreachable(#[source] Error),
    /// It does not answer.
    #[error("Redis does not answer within {} s", LIMIT.as_secs())]
    Silent,
    /// It is too old.
    #[error("Redis is {found}: at least {OLDEST}.0 is needed")]
    TooOld {
        /// What it says of itself.
        found: String,
    },
    /// A command is refused.
    #[error(
        "a command is refused: the user needs the keys and channels of presence.prefix, and scripts, hashes, sorted \
         sets, PUBLISH and SUBSCRIBE"
    )]
    Refused(#[source] Unreachable),
}

/// Tries a Redis; its version. What it writes is gone after it.
pub async fn check(settings: &Settings) -> Result<String, CheckError> {
    timeout(LIMIT, tried(settings)).await.unwrap_or(Err(CheckError::Silent))
}

async fn tried(settings: &Settings) -> Result<String, CheckError> {
    let client = settings.clients()?.once().map_err(SettingsError::Url)?;
    client.init().await.map_err(CheckError::Unreachable)?;
    let info: String = client.info(Some(InfoKind::Server)).await.map_err(CheckError::Unreachable)?;
    // It may not be allowed to end the connection in order; that ends with the process.
    let _ = client.quit().await;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let version = version.unwrap_or("unknown").trim().to_owned();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST) {
        return Err(CheckError::TooOld { found: version });
    }
    work(settings).await?;
    Ok(version)
}

/// What a gateway does: it listens, takes a lease, and lets it go.
async fn work(settings: &Settings) -> Result<(), CheckError> {
    let redis = super::Presence::connect(settings.clone())?;
    let presence = Presence::Redis(redis);
    let id = format!("check-{:08x}", rand::random::<u32>());
    // So that it is nobody's alternative.
    let lease = Lease { state: State::Draining, ..Lease::new(Role::Gateway, id.into(), "".into()) };
    let _words = presence.listen(&lease.id).await.map_err(CheckError::Refused)?;
    presence.begin_lease(&lease).await.map_err(CheckError::Refused)?;
    presence.extend_lease(&lease).await.map_err(CheckError::Refused)?;
    presence.end_lease(&lease).await.map_err(CheckError::Refused)
}

const LIMIT: Duration = Duration::from_secs(10);
/// The first with everything that is used here, among others `SET … PX` in scripts that replicate their effects.
const OLDEST: u32 = 5;
