//! Keeps a process's lease: begins it, prolongs it, and begins another one when it was lost.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::lease::Lease;
use super::{Presence, Unreachable};

/// Whose lease it is.
pub trait Holder {
    /// What the lease says now.
    fn lease(&self) -> Lease;

    /// The lease is gone: from now on it has another incarnation.
    fn lost(&self);

    /// A lease has begun.
    fn begun(&self) {}

    /// Presence did not answer.
    fn unanswered(&self) {}
}

/// Refreshes the lease until it is dropped. One that is gone was not extended in time, or presence was emptied.
pub async fn keep(presence: &Presence, holder: &impl Holder) {
    let mut tick = interval(EXTEND_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_begun = false;
    loop {
        tick.tick().await;
        if let Err(error) = refresh(presence, holder, &mut has_begun).await {
            holder.unanswered();
            warn!(error = &error as &dyn std::error::Error, "the lease is not refreshed");
        }
    }
}

async fn refresh(presence: &Presence, holder: &impl Holder, has_begun: &mut bool) -> Result<(), Unreachable> {
    if *has_begun {
        if presence.extend_lease(&holder.lease()).await? {
            return Ok(());
        }
        info!("the lease was lost: it begins again");
        holder.lost();
    }
    presence.begin_lease(&holder.lease()).await?;
    *has_begun = true;
    holder.begun();
    Ok(())
}

/// A lease lives 10 s.
pub const EXTEND_EVERY: Duration = Duration::from_secs(3);
