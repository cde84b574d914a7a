//! The cursors of all sessions, written together once a second (ARCHITECTURE.md "A message's way").

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
pub(crate) struct Cursors(Mutex<Noted>);

type ByDevice = HashMap<(UserId, DeviceId), u64>;

#[derive(Debug, Default)]
struct Noted {
    waiting: ByDevice,
    /// On their way to the store, which may have them or not.
    being_written: ByDevice,
}

impl Cursors {
    /// Notes a device's cursor. Bounded by the number of devices that acknowledge within a second.
    pub(crate) fn note(&self, user: &UserId, device: &DeviceId, cursor: u64) {
        self.0.lock().note((user.clone(), device.clone()), cursor);
    }

    /// The device's newest cursor that the store may not have yet. Who asks here first and then the store misses none.
    pub(crate) fn unwritten(&self, user: &UserId, device: &DeviceId) -> Option<u64> {
        let noted = self.0.lock();
        let device = (user.clone(), device.clone());
        noted.waiting.get(&device).max(noted.being_written.get(&device)).copied()
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
        let updates: Vec<_> = {
            let mut noted = self.0.lock();
            noted.being_written = std::mem::take(&mut noted.waiting);
            let each = noted.being_written.iter();
            each.map(|((user, device), &cursor)| CursorUpdate {
                user: user.clone(),
                device: device.clone(),
                cursor,
            })
            .collect()
        };
        if updates.is_empty() {
            return;
        }
        let saved = store.save_cursors(&updates, now_ms()).await;
        let mut noted = self.0.lock();
        let written = std::mem::take(&mut noted.being_written);
        if let Err(error) = saved {
            let (error, cursors) = (&error as &dyn std::error::Error, updates.len());
            warn!(error, cursors, "cursors are not written yet");
            written.into_iter().for_each(|(device, cursor)| noted.note(device, cursor));
        }
    }
}

impl Noted {
    fn note(&mut self, device: (UserId, DeviceId), cursor: u64) {
        let noted = self.waiting.entry(device).or_default();
        *noted = (*noted).max(cursor);
    }
}
