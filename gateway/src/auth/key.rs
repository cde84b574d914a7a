//! The key that verifies tokens: one algorithm, and a secret or a public key that fits it.

use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};

/// How tokens are signed. Exactly one is configured; a token that names another is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    #[serde(rename = "HS256")]
    Hs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSA PKCS #1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// The name in tokens and in the configuration (RFC 7518, section 3.1, and RFC 8037).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// Whether the key is a secret that both sides have, and not a public key.
    pub fn is_symmetric(self) -> bool {
        self == Self::Hs256
    }

    pub(super) fn pinned(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

/// Why a key cannot verify tokens. Says nothing of a secret's content.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// RFC 7518, section 3.2: a key at least as long as the hash.
    #[error("a secret for HS256 has at least {MIN_SECRET_BYTES} bytes, this one has {bytes}")]
    ShortSecret {
        /// Its length.
        bytes: usize,
    },
    /// Whoever knows a public key could sign with it.
    #[error(
        "the secret for HS256 is a PEM file; for a public key set the algorithm to ES256, EdDSA or RS256"
    )]
    PemAsSecret,
    /// Neither a private key nor a certificate is taken for one.
    #[error(
        "a public key for {} is a PEM file with \"-----BEGIN PUBLIC KEY-----\" (openssl pkey -in private.pem -pubout)",
        .0.as_str()
    )]
    NotPublicPem(Algorithm),
    /// A key of another kind or curve, or damaged.
    #[error("the PEM file holds no {wanted}, which {} needs", .algorithm.as_str())]
    WrongKind {
        /// The configured algorithm.
        algorithm: Algorithm,
        /// The kind of key it needs.
        wanted: &'static str,
    },
    /// RFC 7518, section 3.3.
    #[error("an RSA key for RS256 has at least {MIN_RSA_BITS} bits, this one has {bits}")]
    SmallRsa {
        /// Its size.
        bits: usize,
    },
}

/// The key in `bytes`: the secret itself for HS256, otherwise a public key in PEM.
pub(super) fn load(algorithm: Algorithm, bytes: &[u8]) -> Result<DecodingKey, KeyError> {
    match algorithm {
        Algorithm::Hs256 => secret(bytes),
        Algorithm::Es256 | Algorithm::EdDsa | Algorithm::Rs256 => public(algorithm, bytes),
    }
}

fn secret(bytes: &[u8]) -> Result<DecodingKey, KeyError> {
    if contains(bytes, b"-----BEGIN ") {
        return Err(KeyError::PemAsSecret);
    }
    if bytes.len() < MIN_SECRET_BYTES {
        return Err(KeyError::ShortSecret { bytes: bytes.len() });
    }
    Ok(DecodingKey::from_secret(bytes))
}

fn public(algorithm: Algorithm, pem: &[u8]) -> Result<DecodingKey, KeyError> {
    // The PEM reader also takes private keys and certificates, with which nothing would ever verify.
    if !contains(pem, b"-----BEGIN PUBLIC KEY-----") || contains(pem, b"PRIVATE KEY-----") {
        return Err(KeyError::NotPublicPem(algorithm));
    }
    let (key, wanted) = match algorithm {
        Algorithm::Es256 => (DecodingKey::from_ec_pem(pem), "P-256 public key"),
        Algorithm::EdDsa => (DecodingKey::from_ed_pem(pem), "Ed25519 public key"),
        _ => (DecodingKey::from_rsa_pem(pem), "RSA public key"),
    };
    let wrong = || KeyError::WrongKind { algorithm, wanted };
    let key = key.map_err(|_| wrong())?;
    let raw = key.try_get_as_bytes().map_err(|_| wrong())?;
    match algorithm {
        Algorithm::Es256 => drop(ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, raw).map_err(|_| wrong())?),
        Algorithm::EdDsa => drop(ParsedPublicKey::new(&ED25519, raw).map_err(|_| wrong())?),
        _ => {
            let bits = 8 * RsaPublicKey::from_der(raw).map_err(|_| wrong())?.modulus_len();
            if bits < MIN_RSA_BITS {
                return Err(KeyError::SmallRsa { bits });
            }
        }
    }
    Ok(key)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

const MIN_SECRET_BYTES: usize = 32;
const MIN_RSA_BITS: usize = 2048;
