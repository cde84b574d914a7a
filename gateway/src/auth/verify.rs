//! The verifier of tokens: signature first, then the claims.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{DecodingKey, Validation, decode};
use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;

use super::claims::{Claims, Rules, identify};
use super::key::{Algorithm, KeyError, load};
use super::{Identity, MAX_TOKEN_BYTES};

/// Verifies tokens by one algorithm and one key. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
    rules: Rules,
}

impl Auth {
    /// A verifier for `algorithm` alone, with its secret (HS256, at least 32 bytes) or its public key in PEM.
    pub fn new(algorithm: Algorithm, key: &[u8], rules: Rules) -> Result<Self, KeyError> {
        let key = load(algorithm, key)?;
        let mut validation = Validation::new(algorithm.pinned());
        // The library has its own clock and rounds to seconds, so the claims are checked here.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self(Arc::new(Inner { algorithm, key, validation, rules })))
    }

    /// Who the token is for at `now_ms` (since 1970): TOO_LARGE above 4 KiB, and for everything else that is wrong
    /// UNAUTHENTICATED with one text. Pure computing: at most a signature's check, 0.1 ms.
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Identity, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("a token has at most {MAX_TOKEN_BYTES} bytes, this one has {}", token.len()),
            ));
        }
        let claims = self.signed_claims(token).map_err(refuse)?;
        identify(&claims, &self.0.rules, now_ms).map_err(|unfit| refuse(unfit.to_string()))
    }

    fn signed_claims(&self, token: &str) -> Result<Claims, &'static str> {
        let data =
            decode::<Claims>(token, &self.0.key, &self.0.validation).map_err(|error| reason(&error))?;
        // RFC 7515, section 4.1.11: an extension that is not understood must be refused, and none is.
        if data.header.crit.is_some() {
            return Err("crit in the header");
        }
        Ok(data.claims)
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("algorithm", &self.0.algorithm)
            .field("rules", &self.0.rules)
            .finish_non_exhaustive()
    }
}

/// The one refusal; why goes to the operator's log only.
fn refuse(why: impl fmt::Display) -> Refusal {
    tracing::debug!(%why, "token refused");
    Refusal::new(Code::Unauthenticated, REFUSED)
}

/// The library's error without its details, which quote the token.
fn reason(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidSignature => "wrong signature",
        ErrorKind::InvalidAlgorithm => "another algorithm",
        ErrorKind::Base64(_) => "not base64url",
        ErrorKind::Json(_) => "header or claims of the wrong form",
        _ => "not a token",
    }
}

const REFUSED: &str = "the token is missing, invalid or expired; get a new one and connect again";
