//! Opens what the configuration names: the store, presence, the log.

use anyhow::Context as _;
use tidegate_pipeline::log::{self, Log, Reader};
use tidegate_pipeline::presence::{Presence, memory, redis};
use tidegate_pipeline::store::Store;

use crate::config::Config;
use crate::store;

/// What stands behind the edge and the sequencer.
pub(super) struct Backends {
    pub(super) store: Store,
    pub(super) presence: Presence,
    pub(super) log: Log,
    pub(super) reader: Reader,
}

impl Backends {
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let (log, reader) = log::embedded::open();
        Ok(Self {
            store: store::open(config).await?,
            presence: presence(config)?,
            log: Log::Embedded(log),
            reader: Reader::Embedded(reader),
        })
    }
}

/// Redis need not answer yet: sessions are registered when it does.
fn presence(config: &Config) -> anyhow::Result<Presence> {
    let Some(url) = &config.presence.url else { return Ok(Presence::Memory(memory::Presence::default())) };
    let settings = redis::Settings { url: url.reveal().to_owned(), prefix: config.presence.prefix.clone() };
    redis::Presence::connect(settings).map(Presence::Redis).context("presence.url")
}
