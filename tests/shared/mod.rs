//! What the tests with real clients have in common: an end for what hangs, a place that spawns, and whole timelines.

use std::time::Duration;

use tidegate_client::v1::{Deliver, Msg, deliver};
use tidegate_client::{Client, History};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Ends a hang; no verdict hangs on it otherwise.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(120), future).await.expect("no hang")
}

/// A task of a test.
#[expect(clippy::disallowed_methods, reason = "the one place of the tests that spawns")]
pub(crate) fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// A text message to a user.
pub(crate) fn text_to(to: &str, text: impl Into<String>) -> Msg {
    Msg { receiver_id: to.to_owned(), content: text.into().into(), ..Msg::default() }
}

/// A whole timeline, page by page, as it is stored.
pub(crate) async fn pull(client: &Client, timeline: &str) -> Vec<Deliver> {
    let mut entries = Vec::new();
    loop {
        let after = History::After(entries.len() as i64);
        let page = within(client.pull(timeline, after, 1_000)).await.unwrap();
        entries.extend(page.entries);
        if !page.more {
            return entries;
        }
    }
}

/// The message of an entry that is still there.
pub(crate) fn msg(entry: &Deliver) -> &Msg {
    match &entry.entry {
        Some(deliver::Entry::Msg(msg)) => msg,
        other => panic!("no message: {other:?}"),
    }
}
