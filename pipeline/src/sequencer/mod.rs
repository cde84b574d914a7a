//! The sequencer: takes batches off the log, has the store put them in order, answers who waits, and hands what is
//! stored to the pusher. It owns the retries of the store (ARCHITECTURE.md "A message's way").
//!
//! The embedded log gives one batch at a time; of Kafka's partitions several are in work beside each other, of each
//! one at a time. The difference is what follows a failure: `Source` says it.

mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::error;

use crate::log::{Answer, Appended, Reader, kafka};
use crate::metrics::Metrics;
use crate::pusher::Pusher;
use crate::pusher::plan::{Placed, Rejected};
use crate::store::{Outcome, Store, StoreError};
use crate::trace::{steps, trace_id};
use source::Source;

/// Works off a log.
#[derive(Debug)]
pub struct Sequencer {
    store: Store,
    pusher: Arc<Pusher>,
    metrics: Metrics,
}

impl Sequencer {
    /// A sequencer that stores in `store` and hands over to `pusher`.
    pub fn new(store: Store, pusher: impl Into<Arc<Pusher>>, metrics: Metrics) -> Self {
        Self { store, pusher: pusher.into(), metrics }
    }

    /// Runs until the log ends: the embedded one when everything it held is stored and handed over, Kafka when the
    /// reader was stopped and its partitions are let go. Then the pusher's links are closed.
    pub async fn run(self, reader: Reader) {
        match reader {
            Reader::Embedded(mut reader) => loop {
                let batch = reader.batch().await;
                if batch.is_empty() {
                    break self.pusher.stop(LINKS_LIMIT).await;
                }
                self.process(batch, Source::Embedded).await;
            },
            Reader::Kafka(reader) => self.run_partitions(reader).await,
        }
    }

    async fn run_partitions(self, reader: kafka::Reader) {
        let sequencer = Arc::new(self);
        let mut workers = JoinSet::new();
        for _ in 0..BATCHES_AT_ONCE {
            workers.spawn(sequencer.clone().work(reader.clone()));
        }
        while let Some(ended) = workers.join_next().await {
            if let Err(panicked) = ended {
                // Its batch is not done and comes again, to another worker.
                error!(error = &panicked as &dyn std::error::Error, "a batch panicked; it is tried again");
                let (sequencer, reader) = (sequencer.clone(), reader.clone());
                workers.spawn(async move {
                    sleep(AFTER_PANIC).await;
                    sequencer.work(reader).await;
                });
            }
        }
        reader.ended().await;
        sequencer.pusher.stop(LINKS_LIMIT).await;
    }

    /// Takes batches until the reader ends. One whose partition is lost is dropped where it stands, which rolls it back.
    async fn work(self: Arc<Self>, reader: kafka::Reader) {
        while let Some(kafka::Batch { records, dead, hand }) = reader.batch().await {
            let work = Box::pin(async {
                if !self.process(records, Source::Kafka(&hand)).await {
                    return false;
                }
                for letter in &dead {
                    if !hand.bury(letter).await {
                        return false;
                    }
                }
                true
            });
            if hand.lost().run_until_cancelled(work).await == Some(true) {
                hand.done();
            }
        }
    }

    /// Stores a batch; whether it is done. One that the store refuses is split until the record at fault stands alone,
    /// and the others go on, in their order.
    async fn process(&self, batch: Vec<Appended>, source: Source<'_>) -> bool {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.append(&part, source).await {
                Ok(outcomes) => self.finish(part, &outcomes, source).await,
                Err(cause @ StoreError::Refused(_)) => {
                    if part.len() > 1 {
                        let second = part.split_off(part.len() / 2);
                        parts.extend([second, part]);
                    } else if !self.refuse(part, &cause, source).await {
                        return false;
                    }
                }
                // Dropped waiters say UNAVAILABLE: the outcome is unknown. Of Kafka, the records come again.
                Err(cause) => {
                    self.metrics.append_given_up.inc();
                    error!(records = part.len(), error = &cause as &dyn std::error::Error, "not stored");
                    if matches!(source, Source::Kafka(_)) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Appends, trying again while it may work later, for as long as the source has patience.
    async fn append(&self, part: &[Appended], source: Source<'_>) -> Result<Vec<Outcome>, StoreError> {
        let records: Vec<_> = part.iter().map(|appended| &appended.record).collect();
        let _steps = steps(records.iter().copied(), "store");
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let result = self.store.append(&records).await;
            if let Err(cause) = &result
                && source.may_pass(cause)
                && let Some(wait) = source.wait(tries)
            {
                self.metrics.append_retried.inc();
                source.says_it_waits(tries, cause, wait);
                tries += 1;
                if source.sleep(wait).await {
                    continue;
                }
                return result;
            }
            source.goes_on(tries);
            self.metrics.append_seconds.observe(began.elapsed().as_secs_f64());
            self.metrics.batch_records.observe(records.len() as f64);
            return result;
        }
    }

    /// Answers first, so that ACCEPTED is in a session's mailbox before STORED.
    async fn finish(&self, part: Vec<Appended>, outcomes: &[Outcome], source: Source<'_>) {
        let mut records = Vec::with_capacity(part.len());
        for (appended, outcome) in part.into_iter().zip(outcomes) {
            let answer = match outcome {
                Outcome::Stored(stored) => {
                    let counter = if stored.repeated { &self.metrics.repeated } else { &self.metrics.stored };
                    counter.inc();
                    Answer::Accepted { send_time: stored.send_time }
                }
                Outcome::Refused(refusal) => Answer::Rejected(refusal.clone()),
            };
            appended.waiter.answer(answer);
            records.push(appended.record);
        }
        let (mut placed, mut rejected) = (Vec::with_capacity(records.len()), Vec::new());
        for (record, outcome) in records.iter().zip(outcomes) {
            match outcome {
                Outcome::Stored(stored) => placed.push(Placed { record, stored }),
                Outcome::Refused(refusal) if source.answers_by_push() => {
                    rejected.push(Rejected { record, refusal });
                }
                Outcome::Refused(_) => {}
            }
        }
        let _steps = steps(&records, "push");
        self.pusher.push(&placed, &rejected).await;
    }

    /// The one record that the store does not take: its sender is told INTERNAL; of Kafka it becomes a dead letter
    /// first. `false` if that could not be.
    async fn refuse(&self, part: Vec<Appended>, cause: &StoreError, source: Source<'_>) -> bool {
        for Appended { record, waiter, offset } in part {
            let server_id = &*record.server_id;
            let trace_id = trace_id(&record);
            error!(
                server_id,
                trace_id,
                error = cause as &dyn std::error::Error,
                "the store refuses a message"
            );
            if !source.bury(&record, offset, cause).await {
                return false;
            }
            let refusal = Refusal::new(Code::Internal, "the store cannot keep this message");
            if source.answers_by_push() {
                let rejected = Rejected { record: &record, refusal: &refusal };
                self.pusher.push(&[], &[rejected]).await;
            }
            waiter.answer(Answer::Rejected(refusal));
        }
        true
    }
}

/// How long links to other gateways may take at the end; what is not handed over is found by checks of the heads.
const LINKS_LIMIT: Duration = Duration::from_secs(2);
/// Batches of different partitions that are stored beside each other: half of the connections that a store has by
/// default, and each batch waits for the server most of its time.
const BATCHES_AT_ONCE: usize = 8;
/// So that a batch that panics each time is no busy loop.
const AFTER_PANIC: Duration = Duration::from_secs(1);
