//! How many files and sockets this process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and says so in the log if that is not enough for `max_connections`.
pub(crate) fn raise_limit(max_connections: u32) {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if before != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, limit)
    {
        tracing::warn!(%error, ?before, "the limit of open files cannot be raised");
    }
    // None: no limit.
    let Some(now) = getrlimit(Resource::Nofile).current else { return };
    let wanted = u64::from(max_connections) + OTHER_DESCRIPTORS;
    if now < wanted {
        tracing::warn!(
            limit = now,
            wanted,
            "fewer open files are allowed than limits.max_connections may need; raise the limit (ulimit -n)"
        );
    }
}

/// Listeners, the store, the log, what a library opens.
const OTHER_DESCRIPTORS: u64 = 256;
