//! The store that is configured, and `tidegate store`.

use anyhow::{Context as _, ensure};
use tidegate_pipeline::presence::{Presence, redis};
use tidegate_pipeline::store::{Store, sqlite};

use crate::cli;
use crate::config::Config;
use crate::data::Lock;

/// Opens the store: on its server, or in the data folder, which is made if it is missing.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Store> {
    if let Some(url) = &config.store.url {
        return Store::connect(url.reveal(), config.store.connections).await.context("store.url");
    }
    let path = config.data.join(FILE);
    let store = sqlite::Store::open(&sqlite::Config::new(&path)).await;
    Ok(Store::Sqlite(store.with_context(|| format!("the store {}", path.display()))?))
}

/// Draws a new epoch and prints it.
pub(crate) fn run(command: &cli::Store) -> anyhow::Result<()> {
    let cli::Store::NewEpoch { settings } = command;
    let config = Config::load(&settings.sources())?;
    if config.store.url.is_none() {
        let path = config.data.join(FILE);
        ensure!(path.is_file(), "there is no store {}; give the data folder by --data", path.display());
    }
    let _lock = config.store.url.is_none().then(|| Lock::take(&config.data)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let epoch = runtime.context("starting the runtime")?.block_on(async {
        nobody_serves(&config).await?;
        new_epoch(&config).await
    })?;
    println!("{epoch}");
    Ok(())
}

/// Those that serve have read the epoch when they started, and would go on with it.
async fn nobody_serves(config: &Config) -> anyhow::Result<()> {
    let Some(settings) = config.presence.settings() else { return Ok(()) };
    let presence = Presence::Redis(redis::Presence::connect(settings).context("presence")?);
    let leases = presence.instances().await.context("presence.url")?;
    let live: Vec<_> = leases.iter().map(|lease| &*lease.id).collect();
    ensure!(live.is_empty(), "{} still serve; stop them and all pipelines first", live.join(", "));
    Ok(())
}

async fn new_epoch(config: &Config) -> anyhow::Result<String> {
    let store = open(config).await?;
    let epoch = store.new_epoch().await.context("no new epoch was drawn")?;
    store.close().await.context("closing the store")?;
    Ok(epoch)
}

/// The store's file in the data folder.
const FILE: &str = "store.sqlite";
