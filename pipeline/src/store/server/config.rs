//! Which database on a server, and how many connections it gets.

use std::fmt;

/// Which database, and how many connections it gets.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database` or `mysql://…`; the driver's parameters may follow: those that libpq
    /// knows (`sslmode`, …), or `ssl-mode`, ….
    pub url: String,
    /// The most connections at once.
    pub connections: u32,
}

impl Config {
    /// The usual settings for a database.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), connections: CONNECTIONS }
    }
}

impl fmt::Debug for Config {
    /// Without the URL, which has the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// Enough for a pipeline's batches and the pages of a gateway's sessions; a server has a hundred or so for all.
const CONNECTIONS: u32 = 16;
