//! Development tokens: signed with a secret that is drawn once and kept in the data folder.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::Serialize;
use tidegate_proto::id::{DeviceId, UserId};
use tidegate_proto::pattern::Pattern;

use super::key::{Algorithm, KeyError};
use super::{Auth, Grants, MAX_TOKEN_BYTES, Patterns, Rules, is_reserved};

/// Makes HS256 tokens.
pub struct Signer {
    secret: String,
}

/// Why the development secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be opened, read or written.
    #[error("the development secret {} cannot be read or made", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Other users of the machine could sign.
    #[error("the development secret {} is open to other users of this machine; chmod 600 it", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// Not what this program writes.
    #[error("the development secret {} is damaged; remove it and a new one is drawn", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Why a token is not made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No token is good for such a user.
    #[error("the user {0} begins with @, which is the system's")]
    Reserved(UserId),
    /// No server takes it.
    #[error(
        "the token has {bytes} bytes, at most {MAX_TOKEN_BYTES} are taken; grant fewer or shorter patterns"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The signing itself failed.
    #[error("the token cannot be signed")]
    Failed(#[source] jsonwebtoken::errors::Error),
}

impl Signer {
    /// The signer with the secret of the data folder `folder`, which is drawn now if there is none. Processes that do
    /// this at the same time get the same one.
    pub fn open_or_make(folder: &Path) -> Result<Self, SecretError> {
        let path = folder.join(SECRET_FILE);
        let result = (|| {
            let mut file = open_private(&path)?;
            file.lock()?;
            let mut text = String::new();
            (&mut file).take(2 * SECRET_DIGITS as u64).read_to_string(&mut text)?;
            if text.is_empty() {
                text = draw()?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
            }
            Ok((is_private(&file)?, text))
        })();
        let (private, text) = result.map_err(|source| SecretError::Io { path: path.clone(), source })?;
        if !private {
            return Err(SecretError::Open { path });
        }
        let secret = text.trim_ascii();
        if secret.len() != SECRET_DIGITS || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SecretError::Damaged { path });
        }
        Ok(Self { secret: secret.to_owned() })
    }

    /// A token for `user`, and for `device` alone if one is given, good from `now_ms` (since 1970) for `ttl`, at most a
    /// hundred years; its end is rounded up to a whole second. It grants nothing.
    pub fn sign(
        &self,
        user: &UserId,
        device: Option<&DeviceId>,
        ttl: Duration,
        now_ms: i64,
    ) -> Result<String, SignError> {
        self.sign_granting(&Grants::default(), user, device, ttl, now_ms)
    }

    /// The same, with what it grants.
    pub fn sign_granting(
        &self,
        grants: &Grants,
        user: &UserId,
        device: Option<&DeviceId>,
        ttl: Duration,
        now_ms: i64,
    ) -> Result<String, SignError> {
        if is_reserved(user) {
            return Err(SignError::Reserved(user.clone()));
        }
        let ttl_ms =
            i64::try_from(ttl.min(MAX_TTL).as_millis()).expect("a hundred years in ms fit in 42 bits");
        let exp = now_ms.saturating_add(ttl_ms).saturating_add(999).div_euclid(1000);
        let iat = now_ms.div_euclid(1000);
        let claims = Claims {
            sub: user.as_str(),
            iat,
            exp,
            dev: device.map(DeviceId::as_str),
            subscribe: texts(&grants.subscribe),
            publish: texts(&grants.publish),
        };
        let header = Header::new(Algorithm::Hs256.pinned());
        let token = encode(&header, &claims, &EncodingKey::from_secret(self.secret.as_bytes()));
        match token.map_err(SignError::Failed)? {
            token if token.len() > MAX_TOKEN_BYTES => Err(SignError::TooLarge { bytes: token.len() }),
            token => Ok(token),
        }
    }

    /// The verifier of this signer's tokens. Without leeway: both sides have this machine's clock.
    pub fn auth(&self) -> Result<Auth, KeyError> {
        Auth::new(Algorithm::Hs256, self.secret.as_bytes(), Rules::default())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subscribe: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    publish: Vec<&'a str>,
}

fn texts(patterns: &Patterns) -> Vec<&str> {
    patterns.iter().map(Pattern::as_str).collect()
}

fn draw() -> io::Result<String> {
    let mut bytes = [0; SECRET_DIGITS / 2];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn is_private(file: &File) -> io::Result<bool> {
    Ok(std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o077 == 0)
}

#[cfg(not(unix))]
fn is_private(_file: &File) -> io::Result<bool> {
    Ok(true)
}

const SECRET_FILE: &str = "dev-secret";
/// 32 random bytes in hex; the digits themselves are the key, so that other tools can use the file's text.
const SECRET_DIGITS: usize = 64;
/// Keeps `exp` a date that is accepted.
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
