//! How large a scenario is run.

use std::time::Duration;

/// The figures that differ between CI and a machine of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Users; each has a device, every tenth a second one.
    pub(crate) users: u32,
    /// Subscribers of one channel.
    pub(crate) crowd: usize,
    /// Messages a second of all together.
    pub(crate) rate: u32,
    /// How often something is killed or changed.
    pub(crate) times: u32,
    /// How long a server is away.
    pub(crate) outage: Duration,
    /// How long a process is halted.
    pub(crate) halt: Duration,
    /// How long the load runs before the first fault and after the last.
    pub(crate) calm: Duration,
}

/// For CI, with a debug build and other work beside it.
pub(crate) const SHORT: Scale = Scale {
    users: 40,
    crowd: 900,
    rate: 100,
    times: 2,
    outage: Duration::from_secs(5),
    halt: Duration::from_secs(5),
    calm: Duration::from_secs(2),
};

/// As the design asks for it.
pub(crate) const FULL: Scale = Scale {
    users: 200,
    crowd: 10_000,
    rate: 1_000,
    times: 10,
    outage: Duration::from_secs(20),
    halt: Duration::from_secs(15),
    calm: Duration::from_secs(5),
};
