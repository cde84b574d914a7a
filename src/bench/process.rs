//! What a process has used, from `/proc`. Linux only.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use super::args::Part;

/// The processes of a server: one, or those that were named.
#[derive(Debug)]
pub(super) struct Processes {
    parts: Vec<Part>,
    /// Whether each counts with all that it has started.
    with_children: bool,
}

/// CPU time by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cpu(BTreeMap<String, Duration>);

impl Processes {
    /// A server of one process.
    pub(super) fn one(pid: u32) -> Self {
        Self { parts: vec![Part { name: String::new(), pid }], with_children: false }
    }

    /// One of several, and of servers that answer each client by a process.
    pub(super) fn named(parts: Vec<Part>) -> Self {
        Self { parts, with_children: true }
    }

    /// What they have used so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Cpu> {
        let all = self.all()?;
        let mut used = BTreeMap::new();
        for Part { name, pid } in &self.parts {
            let cpu = if self.with_children { cpu_of_tree(*pid, &all)? } else { cpu(*pid)? };
            *used.entry(name.clone()).or_default() += cpu;
        }
        Ok(Cpu(used))
    }

    /// The memory that they have in RAM, in KiB. What processes share, as those of PostgreSQL do, counts once for each.
    pub(super) fn rss_kib(&self) -> anyhow::Result<u64> {
        let all = self.all()?;
        let pids =
            self.parts.iter().flat_map(|part| std::iter::once(part.pid).chain(descendants(part.pid, &all)));
        // A child may have ended since it was seen.
        pids.map(|pid| if self.is_part(pid) { rss_kib(pid) } else { Ok(rss_kib(pid).unwrap_or(0)) }).sum()
    }

    fn is_part(&self, pid: u32) -> bool {
        self.parts.iter().any(|part| part.pid == pid)
    }

    fn all(&self) -> anyhow::Result<BTreeMap<u32, Stat>> {
        if self.with_children { all() } else { Ok(BTreeMap::new()) }
    }
}

impl Cpu {
    /// Of all together.
    pub(super) fn total(&self) -> Duration {
        self.0.values().sum()
    }

    /// Of each that has a name.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.0.iter().filter(|(name, _)| !name.is_empty()).map(|(name, cpu)| (name.as_str(), *cpu))
    }

    /// What was used since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let used = |(name, now): (&String, &Duration)| {
            (name.clone(), now.saturating_sub(before.0.get(name).copied().unwrap_or_default()))
        };
        Self(self.0.iter().map(used).collect())
    }
}

/// The CPU time of all its threads so far, in steps of 10 ms.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    Ok(stat(pid)?.own)
}

/// The same with that of its children, their children and so on, those that have ended too.
fn cpu_of_tree(pid: u32, all: &BTreeMap<u32, Stat>) -> anyhow::Result<Duration> {
    let top = all.get(&pid).with_context(|| format!("process {pid} does not run"))?;
    let below = descendants(pid, all).into_iter().filter_map(|pid| all.get(&pid));
    Ok(std::iter::once(top).chain(below).map(|stat| stat.own + stat.ended_children).sum())
}

fn descendants(pid: u32, all: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![pid];
    while let Some(parent) = left.pop() {
        for (child, _) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            found.push(*child);
            left.push(*child);
        }
    }
    found
}

/// Every process that there is.
fn all() -> anyhow::Result<BTreeMap<u32, Stat>> {
    let names = fs::read_dir("/proc").context("cannot read /proc")?.flatten().map(|entry| entry.file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse().ok());
    // One that has ended since is none.
    Ok(pids.filter_map(|pid| Some((pid, stat(pid).ok()?))).collect())
}

/// The memory that it has in RAM, in KiB.
fn rss_kib(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    rss_of_status(&text).with_context(|| format!("{path} has no VmRSS"))
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: Duration,
    /// Of children that have ended and were waited for, and of theirs.
    ended_children: Duration,
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Stat::parse(&text).with_context(|| format!("{path} has no CPU times"))
}

impl Stat {
    /// proc_pid_stat(5): the name in parentheses may hold anything, so fields are counted from the last one; ppid is the
    /// 4th, utime, stime, cutime and cstime are the 14th to the 17th.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut fields = fields.skip(9);
        let mut time = || {
            let user: u64 = fields.next()?.parse().ok()?;
            let system: u64 = fields.next()?.parse().ok()?;
            Some(Duration::from_millis(user.checked_add(system)?.checked_mul(TICK_MS)?))
        };
        Some(Self { parent, own: time()?, ended_children: time()? })
    }
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

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn times_are_found_whatever_the_name() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194560 500 0 0 0 123 45 6 7 20 0 3 0 900 1 2";
        let expected = Stat { parent: 3, own: ms(1_680), ended_children: ms(130) };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn what_a_process_has_started_counts_with_it() {
        let stat = |parent, own, ended| Stat { parent, own: ms(own), ended_children: ms(ended) };
        let all = BTreeMap::from([
            (1, stat(0, 1, 0)),
            (2, stat(1, 20, 300)),
            (5, stat(2, 4_000, 0)),
            (6, stat(5, 50_000, 0)),
            (7, stat(1, 600_000, 0)),
        ]);
        assert_eq!(cpu_of_tree(2, &all).unwrap(), ms(54_320));
        assert_eq!(cpu_of_tree(7, &all).unwrap(), ms(600_000));
        assert!(cpu_of_tree(3, &all).is_err());
    }

    #[test]
    fn processes_of_one_name_are_summed() {
        let own = std::process::id();
        let part = |name: &str| Part { name: name.to_owned(), pid: own };
        let used = Processes::named(vec![part("a"), part("b"), part("b")]).cpu().unwrap();
        let names: Vec<_> = used.named().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(Processes::one(own).cpu().unwrap().named().next().is_none());
    }

    #[test]
    fn what_was_used_since_is_by_name() {
        let cpu = |a, b| Cpu(BTreeMap::from([("a".to_owned(), ms(a)), ("b".to_owned(), ms(b))]));
        let since = cpu(50, 70).since(&cpu(20, 60));
        assert_eq!(since, cpu(30, 10));
        assert_eq!(since.total(), ms(40));
    }

    #[test]
    fn memory_is_found() {
        assert_eq!(rss_of_status("Name:\ttidegate\nVmHWM:\t  900 kB\nVmRSS:\t   812 kB\n"), Some(812));
        assert_eq!(rss_of_status("Name:\ttidegate\n"), None);
    }
}
