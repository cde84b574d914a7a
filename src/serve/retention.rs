//! Removes what is too old or too much, in small steps between the appends.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_pipeline::channels::Rules;
use tidegate_pipeline::store::{Removed, Retention, Store, StoreError};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::retention::Retention as Configured;

/// The configured retention in the store's units.
pub(super) fn policy(configured: &Configured) -> Retention {
    let days = |days: u32| u64::from(days) * 24 * 3600 * 1000;
    Retention {
        max_age_ms: configured.max_age_days.map(days),
        max_entries: configured.max_entries,
        remember_ms: days(configured.remember_days),
        cursor_ms: days(configured.cursor_days),
    }
}

/// Looks once a minute until `stop`.
pub(super) async fn run(store: &Store, policy: Retention, rules: &Rules, stop: &CancellationToken) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looks = async {
        loop {
            every.tick().await;
            let now_ms = now_ms();
            sweep(|| store.retain(policy, now_ms, STEP_ROWS)).await;
            sweep(|| store.retain_channels(rules, policy.remember_ms, now_ms, STEP_ROWS)).await;
        }
    };
    stop.run_until_cancelled(looks).await;
}

/// Steps until nothing is left to do.
async fn sweep<F: Future<Output = Result<Removed, StoreError>>>(step: impl Fn() -> F) {
    loop {
        match step().await {
            Ok(removed) if removed.is_nothing() => return,
            Ok(removed) => info!(?removed, "retention"),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "retention goes on later");
                return;
            }
        }
        sleep(PAUSE).await;
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

const EVERY: Duration = Duration::from_secs(60);
/// Rows of a step: the writer is held for some ms.
const STEP_ROWS: usize = 2_000;
/// Between two steps, so that appends go first.
const PAUSE: Duration = Duration::from_millis(50);
