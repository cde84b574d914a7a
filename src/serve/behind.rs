//! The pipeline of a process: the sequencer with its pusher, and retention.

use std::sync::Arc;

use tidegate_pipeline::log::Reader;
use tidegate_pipeline::metrics::Metrics;
use tidegate_pipeline::presence::Presence;
use tidegate_pipeline::pusher::Pusher;
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::link::Local;
use tidegate_pipeline::sequencer::Sequencer;
use tidegate_pipeline::store::Store;

use super::retention;
use super::tasks::Tasks;
use crate::config::Config;

/// What the pipeline shares with the rest of the process.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) presence: Presence,
    pub(super) reader: Reader,
    /// Calls the gateways of other processes.
    pub(super) dialer: Dialer,
}

/// Starts it; `own` is the gateway of this process, with its link.
pub(super) fn start(
    config: &Config,
    shared: Shared,
    own: Option<(Arc<str>, Local)>,
    metrics: Metrics,
    tasks: &mut Tasks,
) {
    let Shared { store, presence, reader, dialer } = shared;
    let pusher = Pusher::new(presence, own, dialer, metrics.pusher.clone());
    let sequencer = Sequencer::new(store.clone(), pusher, metrics);
    tasks.sequence(sequencer.run(reader));

    let (kept, stop) = (store.clone(), tasks.services.clone());
    let (policy, rules) = (retention::policy(&config.retention), config.channels.rules());
    tasks.run("retention", async move { retention::run(&kept, policy, &rules, &stop).await });
    let stop = tasks.services.clone();
    tasks.run("the store's upkeep", async move { store.keep_up(&stop).await });
}
