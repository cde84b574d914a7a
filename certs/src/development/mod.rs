//! The development certificate: self-signed, short-lived, kept in a folder, made anew in time. Knows no TLS.
//!
//! Browsers take a self-signed certificate by its SHA-256 (`serverCertificateHashes`) only if its key is ECDSA P-256
//! and its lifetime at most 14 days (W3C WebTransport, custom certificate requirements).

use std::fs::Permissions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use crate::{Identity, LoadError};

/// Why there is no development certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder cannot be made.
    #[error("cannot make the folder {}: check that this user may write there", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate was made but cannot be kept.
    #[error("cannot write {}: check that this user may write there and that the disk has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate cannot be made.
    #[error("cannot make a development certificate")]
    Generate(#[source] rcgen::Error),
    /// The clock is before 1970.
    #[error("this machine's clock is before 1970: set it")]
    Clock,
    /// The files in the folder are damaged, or their time is over.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The files in the folder hold a certificate that browsers would refuse by hash.
    #[error("{} is no development certificate: `tidegate cert new` makes one", path.display())]
    Foreign {
        /// The chain's file.
        path: PathBuf,
    },
}

/// The certificate's file in `folder`.
pub fn chain_path(folder: &Path) -> PathBuf {
    folder.join("dev-cert.pem")
}

/// The private key's file in `folder`; only its owner may read it.
pub fn key_path(folder: &Path) -> PathBuf {
    folder.join("dev-key.pem")
}

/// The certificate in `folder`, if it is valid at `now` and one that browsers take by its hash.
pub fn open(folder: &Path, now: SystemTime) -> Result<Identity, Error> {
    check(Identity::load(&chain_path(folder), &key_path(folder), now)?, folder)
}

/// The certificate in `folder` as long as it is fresh, else a new one in its place.
///
/// The files are the program's own, so damaged ones are replaced too; the log says why.
pub fn open_or_make(folder: &Path, now: SystemTime) -> Result<Identity, Error> {
    match open(folder, now) {
        Ok(identity) if is_fresh(&identity, now) => return Ok(identity),
        Err(error) if chain_path(folder).exists() => {
            tracing::info!(error = %error, "the development certificate is made anew");
        }
        _ => {}
    }
    make_new(folder, now)
}

/// Makes a certificate and puts it in the place of the one in `folder`, which is created if need be.
///
/// It is for localhost, 127.0.0.1 and ::1. Each file is replaced whole; whoever reads between the two sees a key that
/// does not fit, and reads again.
pub fn make_new(folder: &Path, now: SystemTime) -> Result<Identity, Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Folder { folder: folder.to_owned(), source })?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Generate)?;
    let certificate = params(now)?.self_signed(&key).map_err(Error::Generate)?;
    replace(&key_path(folder), &key.serialize_pem(), PRIVATE)?;
    replace(&chain_path(folder), &certificate.pem(), PUBLIC)?;
    open(folder, now)
}

/// Whether more than a third of its life is left. Below that it is made anew.
pub fn is_fresh(identity: &Identity, now: SystemTime) -> bool {
    identity.time_left(now) > identity.lifetime() / 3
}

pub(crate) fn check(identity: Identity, folder: &Path) -> Result<Identity, Error> {
    let is_ours = identity.is_p256()
        && identity.lifetime() <= MAX_LIFETIME
        && identity.dns_names().iter().any(|name| name == HOST)
        && ADDRESSES.iter().all(|address| identity.ip_addresses().contains(address));
    if is_ours { Ok(identity) } else { Err(Error::Foreign { path: chain_path(folder) }) }
}

fn params(now: SystemTime) -> Result<CertificateParams, Error> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| Error::Clock)?;
    let names = ADDRESSES.iter().map(IpAddr::to_string).chain([HOST.to_owned()]).collect::<Vec<_>>();
    let mut params = CertificateParams::new(names).map_err(Error::Generate)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + (now + TIME_AHEAD);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name.push(DnType::CommonName, "tidegate development");
    Ok(params)
}

/// By a temporary file and a rename, so that nobody ever sees half of it.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = builder(mode).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| Error::Write { path: path.to_owned(), source })
}

#[cfg(unix)]
fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".dev-").suffix(".tmp").permissions(Permissions::from_mode(mode));
    builder
}

#[cfg(not(unix))]
fn builder(_mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".dev-").suffix(".tmp");
    builder
}

const HOST: &str = "localhost";
const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// Browsers count from the first second to the last; the day between this and 13 days is the margin.
const MAX_LIFETIME: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const TIME_AHEAD: Duration = Duration::from_secs(13 * 24 * 60 * 60);
/// How far behind ours a client's clock may be.
const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

#[cfg(test)]
mod tests;
