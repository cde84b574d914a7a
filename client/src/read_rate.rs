//! Reading slowly on purpose: how a client on a bad line looks to a server.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How many bytes a second clients read from their connections, for tests and measurements. Clones are the same rate.
/// It may change while the clients are connected, which they notice within a second.
#[derive(Debug, Clone, Default)]
pub struct ReadRate(Arc<AtomicU32>);

impl ReadRate {
    /// From now on so many bytes a second, at least one.
    pub fn limit(&self, bytes_per_second: u32) {
        self.0.store(bytes_per_second.max(1), Ordering::Relaxed);
    }

    /// From now on as fast as it goes.
    pub fn unlimit(&self) {
        self.0.store(UNLIMITED, Ordering::Relaxed);
    }

    fn bytes_per_second(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|rate| *rate != UNLIMITED)
    }
}

/// Holds the reads of one connection to a rate.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    rate: ReadRate,
    /// Until what was read last is paid for; a second at most.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Throttle {
    pub(crate) fn new(rate: ReadRate) -> Self {
        Self { rate, pause: None }
    }

    /// How many of `max` bytes may be read now.
    pub(crate) fn poll_allowance(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<usize> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(self.rate.bytes_per_second().map_or(max, |rate| max.min(rate as usize)))
    }

    /// So many were read.
    pub(crate) fn took(&mut self, bytes: usize) {
        if let Some(rate) = self.rate.bytes_per_second().filter(|_| bytes > 0) {
            let seconds = (bytes as f64 / f64::from(rate)).min(1.0);
            self.pause = Some(Box::pin(sleep(Duration::from_secs_f64(seconds))));
        }
    }
}

const UNLIMITED: u32 = 0;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_bytes_a_second_until_the_rate_changes() {
        let rate = ReadRate::default();
        let mut throttle = Throttle::new(rate.clone());
        let mut read = async |max, takes: usize| {
            let allowed = poll_fn(|cx| throttle.poll_allowance(cx, max)).await;
            throttle.took(takes.min(allowed));
            allowed
        };
        let begin = Instant::now();
        assert_eq!(read(5_000, 5_000).await, 5_000);
        assert_eq!(begin.elapsed(), Duration::ZERO);
        rate.limit(1_000);
        assert_eq!(read(5_000, 5_000).await, 1_000);
        assert_eq!(read(5_000, 250).await, 1_000);
        assert_eq!(begin.elapsed(), Duration::from_secs(1));
        assert_eq!(read(5_000, 0).await, 1_000);
        assert_eq!(read(100, 100).await, 100);
        assert_eq!(begin.elapsed(), Duration::from_millis(1_250));
        rate.unlimit();
        assert_eq!(read(5_000, 5_000).await, 5_000);
        assert_eq!(read(5_000, 5_000).await, 5_000);
        assert_eq!(begin.elapsed(), Duration::from_millis(1_350));
    }
}
