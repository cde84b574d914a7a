//! DbService: backends store without a push.

use tidegate_proto::Refusal;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Code;
use tonic::{Request, Response, Status};
use tracing::{error, warn};

use super::server::MAX_REQUEST_BYTES;
use super::status;
use super::v1::db_service_server::{DbService, DbServiceServer};
use super::v1::{SaveMessageResponse, SendMsgRequest, TimelineSeq};
use crate::metrics::Metrics;
use crate::record::Record;
use crate::store::{Outcome, Store, StoreError, Stored};
use crate::submit::{self, now_ms};

/// Appends to the store, beside the sequencer: claims and locks in the store keep both in order.
#[derive(Debug)]
pub struct Db {
    store: Store,
    metrics: Metrics,
}

/// The service, for [`super::Server::with`].
pub fn service(store: Store, metrics: Metrics) -> DbServiceServer<Db> {
    DbServiceServer::new(Db { store, metrics }).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl DbService for Db {
    async fn save_message(
        &self,
        request: Request<SendMsgRequest>,
    ) -> Result<Response<SaveMessageResponse>, Status> {
        let msg = request.into_inner().msg.unwrap_or_default();
        self.metrics.received.inc();
        let record = submit::sender(&msg).and_then(|sender| submit::record(&sender, msg, now_ms()));
        let saved = match record {
            Ok(record) => self.append(&record).await.map(|stored| answer(&record, &stored)),
            Err(refusal) => Err(refusal),
        };
        saved.map(Response::new).map_err(|refusal| {
            self.metrics.rejected.count(refusal.code as i32);
            status::refused(&refusal)
        })
    }
}

impl Db {
    /// Once: retries are the caller's, to whom the same local_id is harmless.
    async fn append(&self, record: &Record) -> Result<Stored, Refusal> {
        let outcomes = self.store.append(&[record]).await.map_err(|error| failed(record, &error))?;
        match outcomes.into_iter().next() {
            Some(Outcome::Stored(stored)) => {
                let counter = if stored.repeated { &self.metrics.repeated } else { &self.metrics.stored };
                counter.inc();
                Ok(stored)
            }
            Some(Outcome::Refused(refusal)) => Err(refusal),
            None => Err(Refusal::new(Code::Internal, "the store did not say what became of the message")),
        }
    }
}

fn failed(record: &Record, cause: &StoreError) -> Refusal {
    let server_id = &*record.server_id;
    if let StoreError::Passing(_) = cause {
        warn!(server_id, error = cause as &dyn std::error::Error, "gRPC: not stored");
        return crate::log::outcome_unknown();
    }
    error!(server_id, error = cause as &dyn std::error::Error, "the store refuses a message");
    Refusal::new(Code::Internal, "the store cannot keep this message")
}

fn answer(record: &Record, stored: &Stored) -> SaveMessageResponse {
    let inboxes = stored.inboxes.iter().map(|(user, seq)| TimelineSeq {
        timeline: Timeline::inbox(user).as_str().to_owned(),
        seq: seq.cast_signed(),
    });
    SaveMessageResponse {
        server_id: record.server_id.clone(),
        local_id: record.local_id.as_str().to_owned(),
        send_time: stored.send_time,
        conv_seq: stored.conv_seq.cast_signed(),
        inboxes: inboxes.collect(),
        repeated: stored.repeated,
    }
}
