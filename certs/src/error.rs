//! What may be wrong with a certificate and its key: which file, what, and what to do.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem;
use x509_parser::error::X509Error;
use x509_parser::time::ASN1Time;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is not there, or this user may not read it.
    #[error("cannot read {}: check the path and that this user may read the file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, a pipe or a device.
    #[error("{} is not a regular file: give the path of a PEM file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// More than any chain needs.
    #[error("{} has more than {max_bytes} bytes: give the server's own chain and key only", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_bytes: u64,
    },
    /// A PEM section is cut off or damaged.
    #[error("{} is damaged PEM: copy it again", path.display())]
    BadPem {
        /// The file.
        path: PathBuf,
        /// Where it is damaged.
        source: pem::Error,
    },
    /// No certificate section.
    #[error(
        "{} has no certificate: it must hold the chain as PEM (BEGIN CERTIFICATE), the server's own first",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate section whose content is no X.509 certificate.
    #[error("certificate number {number} in {} is no X.509 certificate: have it issued again", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which of the chain, from 1.
        number: usize,
        /// What was not understood.
        source: X509Error,
    },
    /// An X.509 certificate that TLS has no use for, one of version 1 for instance.
    #[error("the first certificate in {} cannot be a TLS server's: have it issued as X.509 v3", path.display())]
    Unusable {
        /// The chain's file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// No key section, or an encrypted one.
    #[error(
        "{} has no private key: it must hold an unencrypted PKCS#8, SEC1 or PKCS#1 key as PEM \
         (`openssl pkey` decrypts one)",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key of a kind that TLS servers cannot sign with, or a damaged one.
    #[error("the private key in {} cannot be used: give an ECDSA, RSA (2048 bits or more) or Ed25519 key", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// The key belongs to another certificate, or the chain does not begin with the server's own.
    #[error(
        "the key in {} does not fit the first certificate in {}: give the files that were made together, \
         the server's own certificate first in the chain",
        key.display(), chain.display()
    )]
    KeyMismatch {
        /// The chain's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Its time is over.
    #[error("the certificate in {} expired at {}: renew it", path.display(), utc(*not_after))]
    Expired {
        /// The chain's file.
        path: PathBuf,
        /// When it ended.
        not_after: SystemTime,
    },
    /// Its time has not begun.
    #[error("the certificate in {} is valid only from {}: check this machine's clock", path.display(), utc(*not_before))]
    NotYetValid {
        /// The chain's file.
        path: PathBuf,
        /// When it begins.
        not_before: SystemTime,
    },
}

/// `time` for people, in UTC and to the second.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let time = i64::try_from(seconds).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}
