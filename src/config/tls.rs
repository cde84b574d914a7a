//! `[tls]`: the certificate.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use tidegate_certs::Source;

use super::section::{Invalid, section};

section! {
    /// PEM files, read again when they change. Without them a development certificate is made and renewed.
    Tls {
        /// The chain, the server's own certificate first.
        cert_file: Option<PathBuf> = None,
        /// Its private key, not encrypted.
        key_file: Option<PathBuf> = None,
    }
}

impl Tls {
    /// Where the certificate comes from; `data` is the data folder, where a development certificate is kept.
    pub(crate) fn source(&self, data: &Path) -> Source {
        match (&self.cert_file, &self.key_file) {
            (Some(chain), Some(key)) => Source::Files { chain: chain.clone(), key: key.clone() },
            _ => Source::Development { folder: data.to_owned() },
        }
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => Err(Invalid::new("tls.cert_file", anyhow!("set tls.key_file too"))),
            (None, Some(_)) => Err(Invalid::new("tls.key_file", anyhow!("set tls.cert_file too"))),
            _ => Ok(()),
        }
    }
}
