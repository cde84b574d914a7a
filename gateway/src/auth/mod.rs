//! Who a client is: JSON Web Tokens (RFC 7519) and what they say.
//!
//! [`Auth`] checks a token by one pinned algorithm and one key; [`Signer`] makes development tokens. Nothing here asks a
//! database or the network, knows a clock, or writes a token to a log.

mod claims;
mod grants;
mod key;
mod signer;
mod verify;

use tidegate_proto::id::{DeviceId, UserId};

pub use claims::Rules;
pub use grants::{Grants, Patterns, TooMany};
pub use key::{Algorithm, KeyError};
pub use signer::{SecretError, SignError, Signer};
pub use verify::Auth;

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `sub`.
    pub user: UserId,
    /// `dev`: the only device the token is good for, where it names one.
    pub device: Option<DeviceId>,
    /// What it may do with channels whose rule asks for a grant.
    pub grants: Grants,
    /// When the session ends unless it got another token, in ms since 1970: `exp` with the leeway of [`Rules`].
    pub expires_at: i64,
}

/// Whether a user id is the system's: those that begin with `@`, as with channels. No token is good for one.
pub fn is_reserved(user: &UserId) -> bool {
    user.as_str().starts_with('@')
}

/// The longest token: leaves half of a Hello's 8 KiB (docs/PROTOCOL.md "Ids and limits") to the rest of it.
pub const MAX_TOKEN_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests;
