//! `[store]`: where messages are kept.

use super::secret::Secret;
use super::section::{Invalid, in_range, section};

section! {
    /// Without a URL everything is in the data folder.
    Store {
        /// `postgres://user:password@host:port/database` or `mysql://…`; unset: SQLite in the data folder.
        url: Option<Secret> = None,
        /// The most connections to a server at once.
        connections: u32 = 16,
    }
}

impl Store {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if let Some(url) = &self.url {
            let known = SCHEMES.iter().any(|scheme| url.reveal().starts_with(scheme));
            if !known {
                let problem = anyhow::anyhow!("it must begin with {}", SCHEMES.join(" or "));
                return Err(Invalid::new(URL, problem));
            }
        }
        in_range("store.connections", self.connections.into(), 1..=CONNECTIONS_MAX)
    }
}

pub(super) const URL: &str = "store.url";
const SCHEMES: [&str; 4] = ["postgres://", "postgresql://", "mysql://", "mariadb://"];
/// A server allows a hundred or so unless told otherwise.
const CONNECTIONS_MAX: u64 = 1_000;
