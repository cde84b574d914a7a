//! Opens what the configuration names: the store, presence, the log.

use anyhow::Context as _;
use tidegate_pipeline::log::{self, Log, Reader, kafka};
use tidegate_pipeline::metrics::Metrics;
use tidegate_pipeline::presence::{Presence, memory, redis};
use tidegate_pipeline::store::{Guard, Sharing, Store};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{Config, Role};
use crate::store;

/// What stands behind the edge and the sequencer.
pub(super) struct Backends {
    pub(super) store: Store,
    /// To be kept for as long as messages may be pushed.
    pub(super) guard: Guard,
    pub(super) presence: Presence,
    pub(super) log: Log,
    /// With a pipeline.
    pub(super) reader: Option<Reader>,
}

impl Backends {
    /// Opens them for the role; a reader of Kafka ends after `stop`.
    pub(super) async fn open(
        config: &Config,
        role: Role,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let store = store::open(config).await?;
        let sharing = if config.presence.url.is_some() { Sharing::Shared } else { Sharing::Alone };
        let guard = store.guard(sharing).await.context("store.url")?;
        let presence = presence(config)?;
        let (log, reader) = if config.kafka.is_used() {
            on_kafka(config, role, metrics, stop).await?
        } else {
            let (log, reader) = log::embedded::open();
            (Log::Embedded(log), Some(Reader::Embedded(reader)))
        };
        Ok(Self { store, guard, presence, log, reader })
    }
}

/// Redis need not answer yet: sessions are registered when it does.
fn presence(config: &Config) -> anyhow::Result<Presence> {
    let Some(settings) = config.presence.settings() else {
        return Ok(Presence::Memory(memory::Presence::default()));
    };
    redis::Presence::connect(settings).map(Presence::Redis).context("presence")
}

/// A pipeline has the gateways' end too: backends send there.
async fn on_kafka(
    config: &Config,
    role: Role,
    metrics: &Metrics,
    stop: CancellationToken,
) -> anyhow::Result<(Log, Option<Reader>)> {
    let settings = &config.kafka.settings();
    let report = kafka::prepare(settings).await.context("kafka")?;
    if role.has_pipeline()
        && let Some(warning) = report.retention_ms.and_then(|kept| config.retention.forgets_before_log(kept))
    {
        warn!(warning, "Kafka should be set otherwise");
    }
    let log = kafka::open_log(settings, &metrics.kafka).context("kafka")?;
    let reader = role.has_pipeline().then(|| kafka::open_reader(settings, &metrics.kafka, stop));
    Ok((log, reader.transpose().context("kafka")?))
}
