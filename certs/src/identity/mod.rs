//! A certificate chain with its private key, as one thing that is known to work. Does not know who serves with it.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use crate::{Fingerprint, LoadError, pem};

/// A certificate chain and the private key that fits its first certificate.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    leaf: Leaf,
    content: Content,
}

/// What is of interest in a server's certificate.
#[derive(Debug, Clone)]
struct Leaf {
    not_before: SystemTime,
    not_after: SystemTime,
    dns_names: Vec<String>,
    ip_addresses: Vec<IpAddr>,
}

/// A digest of the bytes of both files, to tell whether they changed; it keeps no copy of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content([u8; 32]);

/// The bytes of both files.
pub(crate) struct Files<'a> {
    chain_path: &'a Path,
    key_path: &'a Path,
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    /// Reads PEM files: `chain` with the server's own certificate first, `key` with its PKCS#8, SEC1 or PKCS#1 key.
    /// They must fit together and be valid at `now`.
    pub fn load(chain: &Path, key: &Path, now: SystemTime) -> Result<Self, LoadError> {
        Files::read(chain, key)?.identity(now)
    }

    /// Reads the same files whatever the dates in them, to show what is there.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, LoadError> {
        Files::read(chain, key)?.parse()
    }

    /// The chain and the signing key, as rustls serves them.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// The chain, the server's own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The SHA-256 of the server's own certificate.
    pub fn sha256(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When it begins to be valid.
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before
    }

    /// The last second in which it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        // The dates are in whole seconds, and the last one still counts (RFC 5280, 4.1.2.5).
        now >= self.leaf.not_after + Duration::from_secs(1)
    }

    /// How much of its time is left.
    pub fn time_left(&self, now: SystemTime) -> Duration {
        self.leaf.not_after.duration_since(now).unwrap_or(Duration::ZERO)
    }

    /// From its first to its last second.
    pub fn lifetime(&self) -> Duration {
        self.leaf.not_after.duration_since(self.leaf.not_before).unwrap_or(Duration::ZERO)
    }

    /// The host names it is for, wildcards as they stand.
    pub fn dns_names(&self) -> &[String] {
        &self.leaf.dns_names
    }

    /// The addresses it is for.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.leaf.ip_addresses
    }

    /// Whether its key is ECDSA P-256, as `serverCertificateHashes` asks for.
    pub fn is_p256(&self) -> bool {
        self.certified.key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).is_some()
    }

    pub(crate) fn content(&self) -> Content {
        self.content
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("sha256", &self.fingerprint)
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

impl Fingerprint {
    /// The fingerprint of the first certificate in a PEM file; its key is not needed.
    pub fn of_pem_file(path: &Path) -> Result<Self, LoadError> {
        let chain = pem::chain(&pem::read(path)?, path)?;
        Ok(Self::of(&chain[0]))
    }
}

impl<'a> Files<'a> {
    pub(crate) fn read(chain_path: &'a Path, key_path: &'a Path) -> Result<Self, LoadError> {
        let (chain, key) = (pem::read(chain_path)?, pem::read(key_path)?);
        Ok(Self { chain_path, key_path, chain, key })
    }

    pub(crate) fn content(&self) -> Content {
        let mut digest = Sha256::new();
        digest.update((self.chain.len() as u64).to_be_bytes());
        digest.update(&self.chain);
        digest.update(&self.key);
        Content(digest.finalize().into())
    }

    /// The identity in them, if it is valid at `now`.
    pub(crate) fn identity(&self, now: SystemTime) -> Result<Identity, LoadError> {
        let identity = self.parse()?;
        let path = || self.chain_path.to_owned();
        if now < identity.not_before() {
            return Err(LoadError::NotYetValid { path: path(), not_before: identity.not_before() });
        }
        if identity.is_expired(now) {
            return Err(LoadError::Expired { path: path(), not_after: identity.not_after() });
        }
        Ok(identity)
    }

    fn parse(&self) -> Result<Identity, LoadError> {
        let chain = pem::chain(&self.chain, self.chain_path)?;
        let leaf = self.leaf(&chain)?;
        let key = pem::key(&self.key, self.key_path)?;
        let fingerprint = Fingerprint::of(&chain[0]);
        let certified = Arc::new(self.certify(chain, key)?);
        Ok(Identity { certified, fingerprint, leaf, content: self.content() })
    }

    /// Parses the whole chain, so that a damaged intermediate is found here and not by the clients.
    fn leaf(&self, chain: &[CertificateDer<'_>]) -> Result<Leaf, LoadError> {
        let bad =
            |number, source| LoadError::BadCertificate { path: self.chain_path.to_owned(), number, source };
        for (der, number) in chain.iter().zip(1..).skip(1) {
            X509Certificate::from_der(der).map_err(|error| bad(number, error.into()))?;
        }
        Leaf::parse(&chain[0]).map_err(|error| bad(1, error))
    }

    fn certify(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<CertifiedKey, LoadError> {
        let key = aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|source| LoadError::BadKey { path: self.key_path.to_owned(), source })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(certified),
            Err(Error::InconsistentKeys(_)) => Err(LoadError::KeyMismatch {
                chain: self.chain_path.to_owned(),
                key: self.key_path.to_owned(),
            }),
            Err(source) => Err(LoadError::Unusable { path: self.chain_path.to_owned(), source }),
        }
    }
}

impl Leaf {
    fn parse(der: &[u8]) -> Result<Self, X509Error> {
        let (_, certificate) = X509Certificate::from_der(der)?;
        let names = certificate.subject_alternative_name()?;
        let names = names.as_ref().map_or(&[][..], |extension| &extension.value.general_names);
        Ok(Self {
            not_before: system_time(certificate.validity().not_before)?,
            not_after: system_time(certificate.validity().not_after)?,
            dns_names: names.iter().filter_map(dns_name).collect(),
            ip_addresses: names.iter().filter_map(ip_address).collect(),
        })
    }
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    }
}

fn ip_address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = *name else { return None };
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn system_time(time: ASN1Time) -> Result<SystemTime, X509Error> {
    let seconds = time.timestamp();
    let since = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if seconds < 0 { epoch.checked_sub(since) } else { epoch.checked_add(since) };
    time.ok_or(X509Error::InvalidDate)
}

#[cfg(test)]
mod tests;
