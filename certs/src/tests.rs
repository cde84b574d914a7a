//! What the tests share: a fixed time, and certificates in files.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tempfile::TempDir;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// 2025-06-15 00:00:00 UTC, whatever the day is.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_254
}

/// Files of a certificate and its key in a folder of their own.
pub(crate) struct Files {
    pub(crate) folder: TempDir,
}

impl Files {
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A certificate that is valid from 30 days before `now` to 60 days after.
    pub(crate) fn around(now: SystemTime) -> Self {
        let files = Self::empty();
        files.put(now - DAY * 30, now + DAY * 60);
        files
    }

    /// Puts a new pair in the place of the one that is there.
    pub(crate) fn put(&self, not_before: SystemTime, not_after: SystemTime) {
        let (chain, key) = pair(not_before, not_after);
        self.write(&chain, &key);
    }

    pub(crate) fn write(&self, chain: &str, key: &str) {
        std::fs::write(self.chain(), chain).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.path().join("chain.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.path().join("key.pem")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A new self-signed certificate for localhost and its key, as PEM.
pub(crate) fn pair(not_before: SystemTime, not_after: SystemTime) -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    (signed(&key, params(not_before, not_after)), key.serialize_pem())
}

pub(crate) fn signed(key: &KeyPair, params: CertificateParams) -> String {
    params.self_signed(key).unwrap().pem()
}

pub(crate) fn params(not_before: SystemTime, not_after: SystemTime) -> CertificateParams {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    let at = |time: SystemTime| {
        rcgen::date_time_ymd(1970, 1, 1) + time.duration_since(SystemTime::UNIX_EPOCH).unwrap()
    };
    (params.not_before, params.not_after) = (at(not_before), at(not_after));
    params
}

/// A PEM section with any content.
pub(crate) fn section(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
