//! `[presence]`: where it is kept which gateway holds whom.

use std::path::PathBuf;

use anyhow::anyhow;
use tidegate_pipeline::presence::redis::Settings;

use super::secret::Secret;
use super::section::{Invalid, section};

section! {
    /// Without a URL it is in memory, and this process is the only one.
    Presence {
        /// `redis://user:password@host:port/database`, `rediss://…` (TLS), `redis-sentinel://…` or `redis-cluster://…`.
        url: Option<Secret> = None,
        /// Who signs the certificate of Redis, PEM, for a URL with TLS; not set: whom the system believes.
        ca_file: Option<PathBuf> = None,
        /// Before every key, so that several installations may share a server.
        prefix: String = "tg:".to_owned(),
    }
}

impl Presence {
    /// As the client takes them; `None`: in memory.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let url = self.url.as_ref()?;
        Some(Settings {
            url: url.reveal().to_owned(),
            prefix: self.prefix.clone(),
            ca_file: self.ca_file.clone(),
        })
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if let Some(url) = &self.url
            && !SCHEMES.iter().any(|scheme| url.reveal().starts_with(scheme))
        {
            return Err(Invalid::new(URL, anyhow!("it must begin with {}", SCHEMES.join(" or "))));
        }
        if self.ca_file.is_some() && !self.url.as_ref().is_some_and(|url| url.reveal().starts_with("rediss"))
        {
            let problem = anyhow!(
                "only a server that is reached over TLS shows a certificate: set {URL} to rediss://…"
            );
            return Err(Invalid::new("presence.ca_file", problem));
        }
        // Braces would say which keys share a slot of a cluster.
        let is_good = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
        if self.prefix.len() > MAX_PREFIX_BYTES || !self.prefix.bytes().all(is_good) {
            let text = "it has at most 64 printable characters, no space and no brace";
            return Err(Invalid::new("presence.prefix", anyhow!("{:?}: {text}", self.prefix)));
        }
        Ok(())
    }
}

pub(super) const URL: &str = "presence.url";
/// Each also with TLS.
const SCHEMES: [&str; 6] = [
    "redis://",
    "rediss://",
    "redis-sentinel://",
    "rediss-sentinel://",
    "redis-cluster://",
    "rediss-cluster://",
];
const MAX_PREFIX_BYTES: usize = 64;
