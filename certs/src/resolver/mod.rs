//! The identity that is served now, and where the next one comes from. Does not know when to look: see
//! [`watch`](crate::watch).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::identity::Files;
use crate::{Identity, LoadError, development};

/// Where a server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// PEM files that somebody else renews.
    Files {
        /// The chain, the server's own certificate first.
        chain: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// The development certificate, renewed by this program.
    Development {
        /// The folder it is kept in.
        folder: PathBuf,
    },
}

/// Serves the current identity to every TLS and QUIC handshake, and replaces it when its files change.
///
/// rustls asks it once per handshake, so a new certificate needs no new configuration. Sessions that are open stay.
#[derive(Debug)]
pub struct CertResolver {
    source: Source,
    current: watch::Sender<Arc<Identity>>,
    /// Held over a whole reload, so that two at once cannot put the older one last.
    reload: Mutex<()>,
}

/// What came of a look at the source.
#[derive(Debug)]
pub enum Reload {
    /// It holds what is being served.
    Unchanged,
    /// It held something new, which is being served from now on.
    Replaced(Arc<Identity>),
    /// It holds something that cannot be served; the identity from before stays.
    Kept(SourceError),
}

/// Why a source gives no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The files of [`Source::Files`].
    #[error(transparent)]
    Files(#[from] LoadError),
    /// The folder of [`Source::Development`].
    #[error(transparent)]
    Development(#[from] development::Error),
}

impl CertResolver {
    /// Loads the source's identity; a development certificate is made if there is none.
    pub fn open(source: Source, now: SystemTime) -> Result<Self, SourceError> {
        let identity = match &source {
            Source::Files { chain, key } => Identity::load(chain, key, now)?,
            Source::Development { folder } => development::open_or_make(folder, now)?,
        };
        Ok(Self { source, current: watch::Sender::new(Arc::new(identity)), reload: Mutex::new(()) })
    }

    /// Where its identities come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The identity that is being served.
    pub fn current(&self) -> Arc<Identity> {
        self.current.borrow().clone()
    }

    /// The identities to come: the receiver is woken whenever one replaces the other.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Identity>> {
        self.current.subscribe()
    }

    /// Looks at the source, and serves what it holds if that is new and good. A development certificate that is no
    /// longer fresh is made anew.
    ///
    /// Reads two small files and blocks on them. The bytes are compared, not the times of the files: those may stay
    /// the same over a change.
    pub fn reload_if_changed(&self, now: SystemTime) -> Reload {
        // What the lock guards cannot be left half done by a panic.
        let _alone = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        match self.next(now) {
            Ok(None) => Reload::Unchanged,
            Ok(Some(identity)) => {
                let identity = Arc::new(identity);
                self.current.send_replace(identity.clone());
                Reload::Replaced(identity)
            }
            Err(error) => Reload::Kept(error),
        }
    }

    fn next(&self, now: SystemTime) -> Result<Option<Identity>, SourceError> {
        let current = self.current();
        match &self.source {
            Source::Files { chain, key } => Ok(changed(chain, key, &current, now)?),
            Source::Development { folder } if development::is_fresh(&current, now) => {
                let (chain, key) = (development::chain_path(folder), development::key_path(folder));
                let changed = changed(&chain, &key, &current, now).map_err(development::Error::from)?;
                Ok(changed.map(|identity| development::check(identity, folder)).transpose()?)
            }
            Source::Development { folder } => Ok(Some(development::open_or_make(folder, now)?)),
        }
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.borrow().certified())
    }
}

/// The identity in the files, unless it is the current one.
fn changed(
    chain: &Path,
    key: &Path,
    current: &Identity,
    now: SystemTime,
) -> Result<Option<Identity>, LoadError> {
    let files = Files::read(chain, key)?;
    if files.content() == current.content() {
        return Ok(None);
    }
    files.identity(now).map(Some)
}

#[cfg(test)]
mod tests;
