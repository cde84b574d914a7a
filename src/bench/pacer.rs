//! Says when each message of an open loop is due. A thread of its own: a runtime's timer is a millisecond coarse.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// Starts telling each of `senders` in turn, `rate` times a second in all, from `begin` to `until`. What is due is told
/// late rather than not at all if a sender does not keep up. The receivers close at the end.
pub(super) fn start(
    senders: usize,
    rate: u32,
    begin: Instant,
    until: Instant,
) -> Vec<mpsc::Receiver<Instant>> {
    let (due, receivers): (Vec<_>, Vec<_>) = (0..senders).map(|_| mpsc::channel(AHEAD)).unzip();
    std::thread::spawn(move || {
        for (number, sender) in (0..).zip((0..senders).cycle()) {
            let at = begin + offset(number, rate);
            if at >= until {
                break;
            }
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if due[sender].blocking_send(at).is_err() {
                break;
            }
        }
    });
    receivers
}

/// When the message of this number is due, from the beginning; without rounding that adds up.
fn offset(number: u64, rate: u32) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many may be due and not yet taken by one sender; then the pacer waits, and all are late.
const AHEAD: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        assert_eq!(offset(0, 3), Duration::ZERO);
        assert_eq!(offset(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(offset(3_000_000, 3), Duration::from_secs(1_000_000));
    }

    #[test]
    fn senders_are_told_in_turn_and_all_that_is_due() {
        let begin = Instant::now();
        let mut receivers = start(2, 1_000, begin, begin + Duration::from_millis(5));
        let told: Vec<Vec<Duration>> = receivers
            .iter_mut()
            .map(|due| std::iter::from_fn(|| due.blocking_recv()).map(|at| at - begin).collect())
            .collect();
        let ms = |ms: &[u64]| ms.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
        assert_eq!(told, [ms(&[0, 2, 4]), ms(&[1, 3])]);
    }
}
