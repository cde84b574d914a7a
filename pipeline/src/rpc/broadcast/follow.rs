//! How everybody's channel is followed: whoever wants to know its head gets it, and the newest whenever it has changed.
//! Without a gateway in the process by asking the store.

use std::fmt;
use std::pin::Pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tidegate_proto::id::ChannelName;
use tidegate_proto::timeline::Timeline;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::store::{Store, StoreError};

/// Where the channel is followed. Not an enum, since the gateway's crate, which hears of every message, stands above this
/// one.
pub trait Follow: fmt::Debug + Send + Sync {
    /// The head as it is, then as it changes, for as long as the stream is kept; who reads slowly gets the newest.
    fn follow(&self) -> Heads;
}

/// Heads of the channel. The first may fail; then nothing follows.
pub type Heads = Pin<Box<dyn Stream<Item = Result<u64, Unread>> + Send>>;

/// The store does not say how far the channel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store does not answer")]
pub struct Unread;

/// Follows by asking the store every [`ASK_EVERY`], once for all who follow, and only while somebody does.
#[derive(Debug, Clone)]
pub struct Polled(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    /// What the store said last, and when.
    seen: Mutex<Option<(Instant, Result<u64, Unread>)>>,
}

/// Asks the store for the head.
pub async fn ask(store: &Store) -> Result<u64, Unread> {
    let timeline = Timeline::channel(&ChannelName::everybodys());
    let bounds = store.heads(slice::from_ref(&timeline)).await.map_err(|error| unread(&error))?;
    Ok(bounds.first().map_or(0, |bounds| bounds.head))
}

impl Polled {
    /// Asks `store`.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Shared { store, seen: Mutex::default() }))
    }
}

impl Follow for Polled {
    fn follow(&self) -> Heads {
        Box::pin(stream::unfold((self.0.clone(), None), |(shared, told)| async move {
            let head = match told {
                None => shared.head().await,
                Some(told) => Ok(shared.next(told).await),
            };
            let told = head.ok();
            Some((head, (shared, told)))
        }))
    }
}

impl Shared {
    /// The head, not older than [`ASK_EVERY`]. Whoever comes while it is asked for waits for the same answer.
    async fn head(&self) -> Result<u64, Unread> {
        let mut seen = self.seen.lock().await;
        if let Some((at, head)) = *seen
            && at.elapsed() < ASK_EVERY
        {
            return head;
        }
        let head = ask(&self.store).await;
        *seen = Some((Instant::now(), head));
        head
    }

    /// The head once it is another. While the store does not answer it stays as it is.
    async fn next(&self, told: u64) -> u64 {
        loop {
            sleep(ASK_EVERY).await;
            if let Ok(head) = self.head().await
                && head != told
            {
                return head;
            }
        }
    }
}

fn unread(error: &StoreError) -> Unread {
    warn!(error = error as &dyn std::error::Error, "gRPC: the store is not read");
    Unread
}

/// How late a process without a gateway may hear of a message.
pub const ASK_EVERY: Duration = Duration::from_millis(500);
