//! A sequencer in a process of its own, to be killed.

use super::*;
use crate::log::kafka as log_on_kafka;
use tokio_util::sync::CancellationToken;

pub(super) const FOLDER: &str = "TIDEGATE_TEST_SEQUENCER_IN";
pub(super) const NAME: &str = "TIDEGATE_TEST_SEQUENCER_OF";

/// The child: works off the log of that name into that folder, and says how many messages are stored.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a test of the log's other end, as a process that it kills"]
async fn works_until_killed() {
    let folder = PathBuf::from(std::env::var(FOLDER).expect("the test that runs it sets it"));
    let settings =
        log_on_kafka::tests::named(&std::env::var(NAME).expect("the test that runs it sets it"), 4);
    let store = open_store(folder.join("store.sqlite")).await;
    let metrics = Metrics::default();
    let reader = log_on_kafka::open_reader(&settings, &metrics.kafka, CancellationToken::new()).unwrap();
    let (sequencer, _receiver) = sequencer(store, &metrics);
    let working = start(sequencer, reader);
    while !working.is_finished() {
        println!("stored {}", metrics.stored.get());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
