//! A backend's message on its way to the log, whatever it came over: HTTP or gRPC. The same checks and answers as a
//! client's.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tidegate_proto::Refusal;
use tidegate_proto::id::{LocalId, UserId};
use tidegate_proto::message::Target;
use tidegate_proto::v1::{Code, Msg};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use crate::log::{Answer, Answers, Log, Waiter, outcome_unknown};
use crate::metrics::Metrics;
use crate::record::Record;
use crate::trace::Sampling;
use crate::volatile::Passing;

/// Sends for backends. Cheap to clone; the log does not end while one of them is left.
#[derive(Debug, Clone)]
pub struct Submitter {
    log: Log,
    metrics: Metrics,
    sampling: Sampling,
    passing: Option<Passing>,
}

/// A message that the log has, or that was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The server's name for it.
    pub server_id: String,
    /// The sender's, or a drawn one.
    pub local_id: String,
    /// ms since 1970.
    pub send_time: i64,
}

impl Submitter {
    /// Sends to `log`.
    pub fn new(log: Log, metrics: Metrics, sampling: Sampling) -> Self {
        Self { log, metrics, sampling, passing: None }
    }

    /// The same, with what is for volatile channels sent there.
    pub fn with_volatile(self, passing: Passing) -> Self {
        Self { passing: Some(passing), ..self }
    }

    /// Sends `msg` as `sender`; answers when the log has it, within 10 s.
    pub async fn submit(&self, sender: UserId, msg: Msg) -> Result<Submitted, Refusal> {
        self.metrics.received.inc();
        let submitted = self.append(&sender, msg).await;
        match &submitted {
            Ok(_) => _ = self.metrics.accepted.inc(),
            Err(refusal) => self.metrics.rejected.count(refusal.code as i32),
        }
        submitted
    }

    async fn append(&self, sender: &UserId, msg: Msg) -> Result<Submitted, Refusal> {
        let mut record = record(sender, msg, now_ms())?;
        let (server_id, local_id) = (record.server_id.clone(), record.local_id.as_str().to_owned());
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter::new(Arc::new(One(Mutex::new(Some(answer)))), 0);
        let passing = self.passing.as_ref().filter(|passing| passing.takes(&record));
        let outcome = timeout(ANSWER_TIMEOUT, async {
            if let Some(passing) = passing {
                passing.pass(record, waiter);
            } else {
                let step = self.sampling.begin(&mut record);
                // A closed log has told the waiter.
                let _ = self.log.append(record, waiter.traced(step)).await;
            }
            answered.await
        });
        match outcome.await {
            Ok(Ok(Answer::Accepted { send_time } | Answer::Passed { send_time })) => {
                Ok(Submitted { server_id, local_id, send_time })
            }
            Ok(Ok(Answer::Rejected(refusal))) => Err(refusal),
            Ok(Err(_)) | Err(_) => Err(outcome_unknown()),
        }
    }
}

/// As whom a backend's message is sent: its `send_id`, or without one the system.
pub fn sender(msg: &Msg) -> Result<UserId, Refusal> {
    UserId::new(if msg.send_id.is_empty() { SYSTEM_USER } else { &msg.send_id })
}

/// A backend's message as a record: checked and completed as a client's is, without an origin; `send_time` in ms since
/// 1970.
pub fn record(sender: &UserId, msg: Msg, send_time: i64) -> Result<Record, Refusal> {
    let record = Record::new(msg, sender, send_time, draw_local_id, None)?;
    match record.target {
        Target::User(_) | Target::Channel(_) => Ok(record),
        Target::Group(_) => Err(Refusal::new(Code::Unimplemented, "groups are not built yet")),
    }
}

/// A message whose sender does not name it is named here, in order of time; it cannot be retried.
pub fn draw_local_id() -> LocalId {
    LocalId::new(&Uuid::now_v7().to_string()).expect("a UUID is printable ASCII")
}

/// ms since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Takes the one answer of a request.
#[derive(Debug)]
struct One(Mutex<Option<oneshot::Sender<Answer>>>);

impl Answers for One {
    fn answer(&self, _tag: u64, answer: Answer) {
        if let Some(waiting) = self.0.lock().take() {
            // Whoever asked may have gone.
            let _ = waiting.send(answer);
        }
    }
}

/// Who sends when nobody is named.
const SYSTEM_USER: &str = "@system";
/// After this long a backend is told that the outcome is unknown, like a session.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
