//! What a process has used, from `/proc`. Linux only.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// The CPU time of all its threads so far, in steps of 10 ms.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    cpu_of_stat(&text).with_context(|| format!("{path} has no CPU times"))
}

/// The memory that it has in RAM, in KiB.
pub(super) fn rss_kib(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    rss_of_status(&text).with_context(|| format!("{path} has no VmRSS"))
}

/// proc_pid_stat(5): the name in parentheses may hold anything, so fields are counted from the last one; utime and
/// stime are the 14th and 15th.
fn cpu_of_stat(text: &str) -> Option<Duration> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(user.checked_add(system)?.checked_mul(TICK_MS)?))
}

fn rss_of_status(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// USER_HZ is 100 on every architecture that the program is built for.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_name() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 500 0 0 0 123 45 0 0 20 0 3 0 900 1 2";
        assert_eq!(cpu_of_stat(text), Some(Duration::from_millis(1_680)));
        assert_eq!(cpu_of_stat("7 (a) S 1"), None);
        assert_eq!(cpu_of_stat(""), None);
    }

    #[test]
    fn memory_is_found() {
        assert_eq!(rss_of_status("Name:\ttidegate\nVmHWM:\t  900 kB\nVmRSS:\t   812 kB\n"), Some(812));
        assert_eq!(rss_of_status("Name:\ttidegate\n"), None);
    }
}
