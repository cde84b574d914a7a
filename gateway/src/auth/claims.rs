//! What a token claims, and whether that is good now. The signature is not looked at here.

use serde::{Deserialize, Deserializer, de::Error as _};
use tidegate_proto::id::{DeviceId, UserId};

use super::grants::{Grants, Patterns, claimed};
use super::{Identity, is_reserved};

/// What a token must say besides `sub` and `exp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// `aud` must be this or contain it. `None`: `aud` is not looked at.
    pub audience: Option<String>,
    /// `iss` must be this. `None`: `iss` is not looked at.
    pub issuer: Option<String>,
    /// How far the clocks of the issuer and of this machine may be apart, in ms: a token is good that long before `nbf`
    /// and after `exp`.
    pub leeway_ms: i64,
}

/// The claims that are looked at; others are ignored. One given twice is an error of the decoder.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    exp: Option<Date>,
    nbf: Option<Date>,
    dev: Option<String>,
    #[serde(default, deserialize_with = "claimed")]
    subscribe: Patterns,
    #[serde(default, deserialize_with = "claimed")]
    publish: Patterns,
    aud: Option<Audience>,
    // Any JSON, since it matters only where an issuer is configured.
    iss: Option<serde_json::Value>,
}

/// Why claims are refused: for the log, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("no sub")]
    NoUser,
    #[error("sub is no user id")]
    BadUser,
    #[error("sub begins with @, which is the system's")]
    Reserved,
    #[error("no exp")]
    NoExpiry,
    #[error("exp is past")]
    Expired,
    #[error("nbf is still to come")]
    NotYet,
    #[error("dev is no device id")]
    BadDevice,
    #[error("aud is not ours")]
    Audience,
    #[error("iss is not ours")]
    Issuer,
}

/// Who the claims are about, if they are good at `now_ms`.
pub(super) fn identify(claims: &Claims, rules: &Rules, now_ms: i64) -> Result<Identity, Unfit> {
    let user = UserId::new(claims.sub.as_deref().ok_or(Unfit::NoUser)?).map_err(|_| Unfit::BadUser)?;
    if is_reserved(&user) {
        return Err(Unfit::Reserved);
    }
    let expires_at = claims.exp.as_ref().ok_or(Unfit::NoExpiry)?.ms.saturating_add(rules.leeway_ms);
    if expires_at <= now_ms {
        return Err(Unfit::Expired);
    }
    if claims.nbf.as_ref().is_some_and(|nbf| nbf.ms > now_ms.saturating_add(rules.leeway_ms)) {
        return Err(Unfit::NotYet);
    }
    let device = claims.dev.as_deref().map(DeviceId::new).transpose().map_err(|_| Unfit::BadDevice)?;
    if let Some(wanted) = &rules.audience
        && !claims.aud.as_ref().is_some_and(|given| given.names(wanted))
    {
        return Err(Unfit::Audience);
    }
    if let Some(wanted) = &rules.issuer
        && claims.iss.as_ref().and_then(|given| given.as_str()) != Some(wanted)
    {
        return Err(Unfit::Issuer);
    }
    let grants = Grants { subscribe: claims.subscribe.clone(), publish: claims.publish.clone() };
    Ok(Identity { user, device, grants, expires_at })
}

/// A NumericDate (RFC 7519, section 2): seconds since 1970, as a JSON number, possibly with a fraction.
struct Date {
    ms: i64,
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        // Beyond it lies what was meant as milliseconds: a token good for 50,000 years.
        if !(0.0..=LAST_SECOND).contains(&seconds) {
            return Err(D::Error::custom("not a date in seconds"));
        }
        Ok(Self { ms: (seconds * 1000.0) as i64 })
    }
}

/// `aud` (RFC 7519, section 4.1.3): a string or a list of them. Anything else names nobody.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
    Other(serde::de::IgnoredAny),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
            Self::Other(_) => false,
        }
    }
}

/// The last second of the year 9999.
const LAST_SECOND: f64 = 253_402_300_799.0;
