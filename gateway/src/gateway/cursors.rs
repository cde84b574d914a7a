//! The cursors of all sessions, written together once a second (DESIGN section 6.8).

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_pipeline::store::{CursorUpdate, Store};
use tidegate_proto::id::{DeviceId, UserId};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::now_ms;

/// Cursors that wait to be written, the newest of each device.
#[derive(Debug, Default)]
pub(crate) struct Cursors(Mutex<HashMap<(UserId, DeviceId), u64>>);

impl Cursors {
    /// Notes a device's cursor. Bounded by the number of devices that acknowledge within a second.
    pub(crate) fn note(&self, user: &UserId, device: &DeviceId, cursor: u64) {
        let mut waiting = self.0.lock();
        let noted = waiting.entry((user.clone(), device.clone())).or_default();
        *noted = (*noted).max(cursor);
    }

    /// Writes once a second until `stop`, and then once more.
    pub(crate) async fn run(&self, store: &Store, stop: &CancellationToken) {
        let mut every = interval(Duration::from_secs(1));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = every.tick() => {}
            }
            self.flush(store).await;
        }
    }

    /// Writes what waits now. What cannot be written is noted again, unless it was overtaken.
    pub(crate) async fn flush(&self, store: &Store) {
        let taken = std::mem::take(&mut *self.0.lock());
        if taken.is_empty() {
            return;
        }
        let updates: Vec<_> =
            taken.into_iter().map(|((user, device), cursor)| CursorUpdate { user, device, cursor }).collect();
        if let Err(error) = store.save_cursors(&updates, now_ms()).await {
            warn!(
                error = &error as &dyn std::error::Error,
                cursors = updates.len(),
                "cursors are not written yet"
            );
            updates.iter().for_each(|update| self.note(&update.user, &update.device, update.cursor));
        }
    }
}
