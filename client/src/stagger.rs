//! Starts several attempts one after the other and takes the first that succeeds (the way of RFC 8305).

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

/// Runs the first attempt at once and each other `delay` after the one before it, or as soon as none is running.
/// Gives the first success and drops the others; when all have failed, the error of the one that failed last; `None`
/// without an attempt.
pub(crate) async fn first_success<F, T, E>(
    attempts: impl IntoIterator<Item = F>,
    delay: Duration,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter();
    let mut running = FuturesUnordered::new();
    running.push(waiting.next()?);
    let mut more = true;
    loop {
        tokio::select! {
            biased;
            Some(result) = running.next() => match result {
                Ok(success) => return Some(Ok(success)),
                Err(error) => match waiting.next() {
                    Some(next) => running.push(next),
                    None if running.is_empty() => return Some(Err(error)),
                    None => more = false,
                },
            },
            () = sleep(delay), if more => match waiting.next() {
                Some(next) => running.push(next),
                None => more = false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::time::Instant;

    /// An attempt that notes when it starts, and ends after so many ms with a success or not.
    async fn attempt(log: &Mutex<Vec<u64>>, begin: Instant, ms: u64, ok: bool) -> Result<u64, u64> {
        log.lock().unwrap().push(begin.elapsed().as_millis() as u64);
        sleep(Duration::from_millis(ms)).await;
        if ok { Ok(ms) } else { Err(ms) }
    }

    async fn run(attempts: &[(u64, bool)]) -> (Option<Result<u64, u64>>, Vec<u64>) {
        let (log, begin) = (Mutex::default(), Instant::now());
        let attempts = attempts.iter().map(|&(ms, ok)| attempt(&log, begin, ms, ok));
        let result = first_success(attempts, Duration::from_millis(500)).await;
        (result, log.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_success_wins() {
        assert_eq!(run(&[(100, true), (1, true)]).await, (Some(Ok(100)), vec![0]));
        assert_eq!(run(&[(9_000, true), (10, true)]).await, (Some(Ok(10)), vec![0, 500]));
        assert_eq!(run(&[(600, true), (300, true)]).await, (Some(Ok(600)), vec![0, 500]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        assert_eq!(run(&[(20, false), (10, true)]).await, (Some(Ok(10)), vec![0, 20]));
        assert_eq!(run(&[(20, false), (10, false)]).await, (Some(Err(10)), vec![0, 20]));
        assert_eq!(run(&[(700, false), (10_000, false)]).await, (Some(Err(10_000)), vec![0, 500]));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_to_try() {
        assert_eq!(run(&[]).await, (None, vec![]));
    }
}
