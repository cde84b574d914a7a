//! The pipeline of a process: the sequencer and retention; and, in every process, what hands over messages of volatile
//! channels.

use std::sync::Arc;
use std::time::Duration;

use tidegate_pipeline::log::Reader;
use tidegate_pipeline::metrics::Metrics;
use tidegate_pipeline::pusher::Pusher;
use tidegate_pipeline::sequencer::Sequencer;
use tidegate_pipeline::store::Store;
use tidegate_pipeline::volatile::Passer;

use super::retention;
use super::tasks::Tasks;
use crate::config::Config;

/// What the pipeline shares with the rest of the process.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) reader: Reader,
    pub(super) pusher: Arc<Pusher>,
}

/// Starts it.
pub(super) fn start(config: &Config, shared: Shared, metrics: Metrics, tasks: &mut Tasks) {
    let Shared { store, reader, pusher } = shared;
    let sequencer = Sequencer::new(store.clone(), pusher, metrics);
    tasks.sequence(sequencer.run(reader));

    let (kept, stop) = (store.clone(), tasks.services.clone());
    let (policy, rules) = (retention::policy(&config.retention), config.channels.rules());
    tasks.run("retention", async move { retention::run(&kept, policy, &rules, &stop).await });
    let stop = tasks.services.clone();
    tasks.run("the store's upkeep", async move { store.keep_up(&stop).await });
}

/// Hands over messages of volatile channels to the last; where no sequencer does it, the pusher's links end then.
pub(super) fn pass(passer: Passer, pusher: Arc<Pusher>, has_sequencer: bool, tasks: &mut Tasks) {
    let stop = tasks.services.clone();
    tasks.run("volatile channels", async move {
        passer.run(&pusher, &stop).await;
        if !has_sequencer {
            pusher.stop(LINKS_LIMIT).await;
        }
    });
}

/// How long links to other gateways may take at the end.
const LINKS_LIMIT: Duration = Duration::from_secs(2);
