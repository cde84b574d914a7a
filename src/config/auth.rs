//! `[auth]`: how the tokens of users are verified.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tidegate_gateway::auth::{Algorithm, Auth as Verifier, Rules};

use super::secret::Secret;
use super::section::{Invalid, in_range, section};

section! {
    /// Tokens are JSON Web Tokens with `sub` (the user) and `exp`. Without this section, and with loopback listeners
    /// alone, the gateway is in development mode and makes its own tokens.
    Auth {
        /// `HS256`, `ES256`, `EdDSA` or `RS256`; no other is accepted in a token.
        algorithm: Option<Algorithm> = None,
        /// The shared secret for HS256, at least 32 bytes.
        secret: Option<Secret> = None,
        /// Or a file with it; white space around it does not count.
        secret_file: Option<PathBuf> = None,
        /// The issuer's public key for the other algorithms, PEM.
        public_key_file: Option<PathBuf> = None,
        /// What `aud` of a token must be or contain; unset: not looked at.
        audience: Option<String> = None,
        /// What `iss` of a token must be; unset: not looked at.
        issuer: Option<String> = None,
        /// How far the issuer's clock may be off.
        leeway_ms: u32 = 10_000,
    }
}

impl Auth {
    /// The verifier, with the key read now; `None`: nothing is configured.
    pub(crate) fn verifier(&self) -> Result<Option<Verifier>, Invalid> {
        let Some(algorithm) = self.algorithm else {
            return match self.first_set() {
                Some(key) => {
                    Err(Invalid::new(key, anyhow!("set auth.algorithm too, or nothing is verified")))
                }
                None => Ok(None),
            };
        };
        in_range("auth.leeway_ms", self.leeway_ms.into(), 0..=300_000)?;
        let (key, bytes) =
            if algorithm.is_symmetric() { self.shared_secret()? } else { self.public_key(algorithm)? };
        let rules = Rules {
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            leeway_ms: self.leeway_ms.into(),
        };
        Verifier::new(algorithm, &bytes, rules).map(Some).map_err(|error| Invalid::new(key, error))
    }

    fn first_set(&self) -> Option<&'static str> {
        let set = [
            (SECRET, self.secret.is_some()),
            (SECRET_FILE, self.secret_file.is_some()),
            (PUBLIC_KEY_FILE, self.public_key_file.is_some()),
            ("auth.audience", self.audience.is_some()),
            ("auth.issuer", self.issuer.is_some()),
        ];
        set.into_iter().find_map(|(key, is_set)| is_set.then_some(key))
    }

    fn shared_secret(&self) -> Result<(&'static str, Vec<u8>), Invalid> {
        if self.public_key_file.is_some() {
            return Err(Invalid::new(PUBLIC_KEY_FILE, anyhow!("HS256 has a secret and no public key")));
        }
        match (&self.secret, &self.secret_file) {
            (Some(secret), None) => Ok((SECRET, secret.reveal().as_bytes().to_vec())),
            (None, Some(path)) => Ok((SECRET_FILE, read(SECRET_FILE, path)?.trim_ascii().to_vec())),
            (Some(_), Some(_)) => Err(Invalid::new(SECRET_FILE, anyhow!("auth.secret is set too, give one"))),
            (None, None) => {
                Err(Invalid::new(ALGORITHM, anyhow!("HS256 needs auth.secret or auth.secret_file")))
            }
        }
    }

    fn public_key(&self, algorithm: Algorithm) -> Result<(&'static str, Vec<u8>), Invalid> {
        let name = algorithm.as_str();
        for (key, is_set) in [(SECRET, self.secret.is_some()), (SECRET_FILE, self.secret_file.is_some())] {
            if is_set {
                return Err(Invalid::new(key, anyhow!("{name} has a public key and no secret")));
            }
        }
        match &self.public_key_file {
            Some(path) => Ok((PUBLIC_KEY_FILE, read(PUBLIC_KEY_FILE, path)?)),
            None => Err(Invalid::new(ALGORITHM, anyhow!("{name} needs auth.public_key_file"))),
        }
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Invalid> {
    let read = fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    read.map_err(|error| Invalid::new(key, error))
}

const ALGORITHM: &str = "auth.algorithm";
const SECRET: &str = "auth.secret";
const SECRET_FILE: &str = "auth.secret_file";
const PUBLIC_KEY_FILE: &str = "auth.public_key_file";
