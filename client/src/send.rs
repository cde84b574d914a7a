//! A message on its way: its receipts, and what can go wrong.

use std::sync::Arc;

use tidegate_proto::Refusal;
use tidegate_proto::v1::Receipt;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The log has the message: it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The message's name on the server.
    pub server_id: String,
    /// ms since 1970; that of [`Stored`] is the valid one.
    pub send_time: i64,
}

/// The store has the message: its places are known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The message's name on the server.
    pub server_id: String,
    /// ms since 1970.
    pub send_time: i64,
    /// In the sender's own inbox; 0 when it has no place there (a channel).
    pub seq: i64,
    /// In the conversation.
    pub conv_seq: i64,
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server refused it for good. The same `local_id` gets the same answer again.
    #[error("refused: {0}")]
    Rejected(Refusal),
    /// A message with this `local_id` is still on its way.
    #[error("a message with the local_id {0:?} is still on its way")]
    Pending(String),
    /// The client ended before the answer came: the outcome is unknown. A later client may send it again with the
    /// same `local_id`.
    #[error("the client has ended")]
    Ended,
}

/// Follows one message. Dropping it changes nothing: the message goes its way.
#[derive(Debug)]
pub struct SendHandle {
    local_id: Arc<str>,
    accepted: Slot<Accepted>,
    stored: Slot<Stored>,
}

impl SendHandle {
    /// The message's `local_id`, drawn by the client if the caller left it empty.
    pub fn local_id(&self) -> &str {
        &self.local_id
    }

    /// Waits until the log has the message. Cancel safe; may be called again.
    pub async fn accepted(&mut self) -> Result<Accepted, SendError> {
        self.accepted.wait().await
    }

    /// Waits until the store has the message. Cancel safe; may be called again.
    pub async fn stored(&mut self) -> Result<Stored, SendError> {
        self.stored.wait().await
    }
}

/// Where the worker puts the answers.
#[derive(Debug)]
pub(crate) struct Waiter {
    accepted: Option<oneshot::Sender<Answer<Accepted>>>,
    stored: oneshot::Sender<Answer<Stored>>,
    /// Held until the message is done: it bounds how many are on their way.
    _room: OwnedSemaphorePermit,
}

/// A handle and its other end.
pub(crate) fn handle(local_id: &str, room: OwnedSemaphorePermit) -> (SendHandle, Waiter) {
    let (accepted, accepted_slot) = oneshot::channel();
    let (stored, stored_slot) = oneshot::channel();
    let handle = SendHandle {
        local_id: local_id.into(),
        accepted: Slot::Waiting(accepted_slot),
        stored: Slot::Waiting(stored_slot),
    };
    (handle, Waiter { accepted: Some(accepted), stored, _room: room })
}

impl Waiter {
    /// ACCEPTED. Only the first one counts.
    pub(crate) fn accept(&mut self, server_id: &str, send_time: i64) {
        if let Some(accepted) = self.accepted.take() {
            let _ = accepted.send(Ok(Accepted { server_id: server_id.to_owned(), send_time }));
        }
    }

    /// STORED, which implies ACCEPTED.
    pub(crate) fn store(mut self, stored: Stored) {
        self.accept(&stored.server_id, stored.send_time);
        let _ = self.stored.send(Ok(stored));
    }

    /// It will not be stored.
    pub(crate) fn fail(self, error: SendError) {
        if let Some(accepted) = self.accepted {
            let _ = accepted.send(Err(error.clone()));
        }
        let _ = self.stored.send(Err(error));
    }
}

impl From<Receipt> for Stored {
    fn from(receipt: Receipt) -> Self {
        let Receipt { server_id, send_time, seq, conv_seq, .. } = receipt;
        Self { server_id, send_time, seq, conv_seq }
    }
}

type Answer<T> = Result<T, SendError>;

/// An answer that is waited for or known.
#[derive(Debug)]
enum Slot<T> {
    Waiting(oneshot::Receiver<Answer<T>>),
    Known(Answer<T>),
}

impl<T: Clone> Slot<T> {
    async fn wait(&mut self) -> Answer<T> {
        if let Self::Waiting(answer) = self {
            *self = Self::Known(answer.await.unwrap_or(Err(SendError::Ended)));
        }
        match self {
            Self::Known(answer) => answer.clone(),
            Self::Waiting(_) => Err(SendError::Ended),
        }
    }
}
