//! A process without sessions in presence: backends find it there. A gateway has its own, with its sessions beside it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::keeper::{Holder, keep};
use super::lease::{Lease, State, draw_incarnation};
use super::{Presence, Unreachable};

/// The process, by its lease.
#[derive(Debug)]
pub struct Instance {
    presence: Presence,
    lease: Mutex<Lease>,
}

impl Instance {
    /// A process that nobody finds yet.
    pub fn new(presence: Presence, lease: Lease) -> Self {
        Self { presence, lease: Mutex::new(lease) }
    }

    /// Keeps the lease until `stop`.
    pub async fn run(&self, stop: &CancellationToken) {
        stop.run_until_cancelled(keep(&self.presence, self)).await;
    }

    /// Says that the process is about to stop. Presence is waited for a moment only, as at the end.
    pub async fn drain(&self) {
        self.lease.lock().state = State::Draining;
        if let Err(error) = in_time(self.presence.extend_lease(&self.lease())).await {
            warn!(error = &error as &dyn std::error::Error, "the lease is not refreshed");
        }
    }

    /// Ends the lease, when the process does nothing more.
    pub async fn end(&self) {
        if let Err(error) = in_time(self.presence.end_lease(&self.lease())).await {
            warn!(error = &error as &dyn std::error::Error, "the lease runs out by itself");
        }
    }
}

impl Holder for Instance {
    fn lease(&self) -> Lease {
        self.lease.lock().clone()
    }

    fn lost(&self) {
        self.lease.lock().incarnation = draw_incarnation();
    }
}

async fn in_time<T>(word: impl Future<Output = Result<T, Unreachable>>) -> Result<T, Untold> {
    Ok(timeout(LIMIT, word).await??)
}

/// Presence does not know it.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("presence does not answer within {} s", LIMIT.as_secs())]
    Silent(#[from] Elapsed),
}

/// Of the grace period.
const LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::super::lease::Role;
    use super::super::memory;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_found_while_it_lives_and_again_when_it_was_forgotten() {
        let presence = Presence::Memory(memory::Presence::default());
        let lease = Lease::new(Role::Pipeline, "pipeline-1".into(), "127.0.0.1:1".into());
        let (instance, stop) = (Instance::new(presence.clone(), lease.clone()), CancellationToken::new());
        let found = async || presence.instances().await.unwrap();
        let lives = async || {
            while found().await.is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
            found().await.remove(0)
        };
        let life = async {
            assert_eq!(lives().await, lease);
            presence.end_lease(&lease).await.unwrap();
            assert!(found().await.is_empty());
            let again = lives().await;
            assert_ne!(again.incarnation, lease.incarnation);
            assert_eq!(Lease { incarnation: lease.incarnation, ..again }, lease);
            instance.drain().await;
            assert_eq!(found().await[0].state, State::Draining);
            stop.cancel();
        };
        tokio::join!(instance.run(&stop), life);
        assert_eq!(found().await.len(), 1);
        instance.end().await;
        assert!(found().await.is_empty());
    }
}
