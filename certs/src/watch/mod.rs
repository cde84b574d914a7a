//! Looks at a [`CertResolver`]'s source again and again, and says in the log what came of it. The caller spawns it.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::error::utc;
use crate::{CertResolver, Identity, Reload};

/// Reloads changed files and renews the development certificate until `stop`, looking every `interval` (a few
/// seconds; zero panics).
///
/// A failure is logged once, however often it is met in a row. Cancel safe: a look that has begun ends on its own.
pub async fn watch(resolver: Arc<CertResolver>, interval: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut report = Report::default();
    let looks = async {
        loop {
            ticks.tick().await;
            look(&resolver, &mut report).await;
        }
    };
    stop.run_until_cancelled(looks).await;
}

async fn look(resolver: &Arc<CertResolver>, report: &mut Report) {
    let now = SystemTime::now();
    let reloader = resolver.clone();
    // On a thread for it: the files may be on a slow disk, and the next look waits for this one.
    match tokio::task::spawn_blocking(move || reloader.reload_if_changed(now)).await {
        Ok(reload) => report.reload(&reload).into_iter().for_each(Line::log),
        Err(error) => tracing::error!(%error, "the look at the certificate's files failed"),
    }
    report.age(&resolver.current(), now).into_iter().for_each(Line::log);
}

/// What was already said, so that it is not said again.
#[derive(Debug, Default)]
struct Report {
    failure: Option<String>,
    age: Age,
}

/// How near its end the served certificate is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Age {
    #[default]
    Good,
    Ending,
    Expired,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Replaced { sha256: String, not_after: String },
    Kept { error: String },
    Restored,
    Ending { not_after: String },
    Expired { not_after: String },
}

impl Report {
    fn reload(&mut self, reload: &Reload) -> Option<Line> {
        match reload {
            Reload::Unchanged => self.failure.take().map(|_| Line::Restored),
            Reload::Replaced(identity) => {
                self.failure = None;
                let (sha256, not_after) = (identity.sha256().to_string(), utc(identity.not_after()));
                Some(Line::Replaced { sha256, not_after })
            }
            Reload::Kept(error) => {
                let error = chain(error);
                let is_new = self.failure.as_ref() != Some(&error);
                is_new.then(|| {
                    self.failure = Some(error.clone());
                    Line::Kept { error }
                })
            }
        }
    }

    fn age(&mut self, identity: &Identity, now: SystemTime) -> Option<Line> {
        let age = Age::of(identity, now);
        if std::mem::replace(&mut self.age, age) == age {
            return None;
        }
        let not_after = utc(identity.not_after());
        match age {
            Age::Good => None,
            Age::Ending => Some(Line::Ending { not_after }),
            Age::Expired => Some(Line::Expired { not_after }),
        }
    }
}

impl Age {
    fn of(identity: &Identity, now: SystemTime) -> Self {
        if identity.is_expired(now) {
            Self::Expired
        } else if identity.time_left(now) < identity.lifetime() / ENDING_PART {
            Self::Ending
        } else {
            Self::Good
        }
    }
}

impl Line {
    fn log(self) {
        match self {
            Self::Replaced { sha256, not_after } => {
                tracing::info!(sha256, not_after, "serving a new certificate");
            }
            Self::Kept { error } => tracing::error!(error, "the new certificate is bad, the old one stays"),
            Self::Restored => tracing::info!("the files hold the served certificate again"),
            Self::Ending { not_after } => tracing::warn!(not_after, "the certificate ends soon: renew it"),
            Self::Expired { not_after } => {
                tracing::error!(not_after, "the certificate has expired: renew it")
            }
        }
    }
}

/// An error's text with its causes.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Renewal is due at a third of the life at the latest; with less than a tenth of it left something is wrong.
const ENDING_PART: u32 = 10;

#[cfg(test)]
mod tests;
