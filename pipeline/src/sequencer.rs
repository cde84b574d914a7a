//! The sequencer: takes batches off the log, has the store put them in order, answers who waits, and hands what is
//! stored to the pusher. It owns the retries of the store (ARCHITECTURE.md "A message's way").

use std::time::Duration;

use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use crate::log::{Answer, Appended, Reader};
use crate::metrics::Metrics;
use crate::pusher::Pusher;
use crate::pusher::plan::Placed;
use crate::store::{Outcome, Store, StoreError};

/// Works off a log.
#[derive(Debug)]
pub struct Sequencer {
    store: Store,
    pusher: Pusher,
    metrics: Metrics,
}

impl Sequencer {
    /// A sequencer that stores in `store` and hands over to `pusher`.
    pub fn new(store: Store, pusher: Pusher, metrics: Metrics) -> Self {
        Self { store, pusher, metrics }
    }

    /// Runs until the log ends and everything it held is stored and handed over.
    pub async fn run(self, mut reader: Reader) {
        loop {
            let batch = reader.batch().await;
            if batch.is_empty() {
                return;
            }
            self.process(batch).await;
        }
    }

    /// Stores a batch. One that the store refuses is split until the record at fault stands alone; that one is
    /// answered INTERNAL and the others go on, in their order.
    async fn process(&self, batch: Vec<Appended>) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.append(&part).await {
                Ok(outcomes) => self.finish(part, &outcomes).await,
                Err(StoreError::Refused(_)) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(StoreError::Refused(cause)) => refuse(part, &cause),
                // The waiters are dropped unanswered, which says UNAVAILABLE: the outcome is unknown.
                Err(cause) => {
                    self.metrics.append_given_up.inc();
                    error!(records = part.len(), error = &cause as &dyn std::error::Error, "not stored")
                }
            }
        }
    }

    /// Appends, trying again while the store says that it may work later.
    async fn append(&self, part: &[Appended]) -> Result<Vec<Outcome>, StoreError> {
        let records: Vec<_> = part.iter().map(|appended| &appended.record).collect();
        let mut waits = RETRY_AFTER_MS.iter();
        loop {
            let began = Instant::now();
            match (self.store.append(&records).await, waits.next()) {
                (Err(StoreError::Passing(cause)), Some(wait)) => {
                    self.metrics.append_retried.inc();
                    warn!(
                        error = &cause as &dyn std::error::Error,
                        wait_ms = *wait,
                        "the store is tried again"
                    );
                    sleep(Duration::from_millis(rand::random_range(wait / 2..=*wait))).await;
                }
                (result, _) => {
                    self.metrics.append_seconds.observe(began.elapsed().as_secs_f64());
                    self.metrics.batch_records.observe(records.len() as f64);
                    return result;
                }
            }
        }
    }

    /// Answers first, so that ACCEPTED is in a session's mailbox before STORED.
    async fn finish(&self, part: Vec<Appended>, outcomes: &[Outcome]) {
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
        let stored = records.iter().zip(outcomes).filter_map(|(record, outcome)| match outcome {
            Outcome::Stored(stored) => Some(Placed { record, stored }),
            Outcome::Refused(_) => None,
        });
        self.pusher.push(&stored.collect::<Vec<_>>(), &[]).await;
    }
}

fn refuse(part: Vec<Appended>, cause: &sqlx::Error) {
    for appended in part {
        let server_id = &*appended.record.server_id;
        error!(server_id, error = cause as &dyn std::error::Error, "the store refuses a message");
        let message = "the store cannot keep this message";
        appended.waiter.answer(Answer::Rejected(Refusal::new(Code::Internal, message)));
    }
}

/// The waits between tries, each at random down to its half: under the 10 s after which a sender is answered.
const RETRY_AFTER_MS: [u64; 4] = [50, 200, 800, 2_000];
