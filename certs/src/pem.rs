//! Certificate and key files: read within a size limit, and taken apart. Does not know whether the two belong together.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::LoadError;

/// The bytes of a regular file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    // Asked before opening: a pipe would block here for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(LoadError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(LoadError::TooLarge { path: path.to_owned(), max_bytes: MAX_FILE_BYTES });
    }
    Ok(bytes)
}

/// Every certificate in `bytes`, the leaf first; at least one.
pub(crate) fn chain(bytes: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|source| LoadError::BadPem { path: path.to_owned(), source })?;
    if chain.is_empty() {
        return Err(LoadError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

/// The first private key in `bytes`: PKCS#8, SEC1 or PKCS#1.
pub(crate) fn key(bytes: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|source| match source {
        pem::Error::NoItemsFound => LoadError::NoKey { path: path.to_owned() },
        source => LoadError::BadPem { path: path.to_owned(), source },
    })
}

/// A chain is a few KiB; this only keeps a wrong path from filling the memory.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
