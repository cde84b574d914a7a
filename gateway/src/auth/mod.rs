//! Who a client is: tokens and what they say (issue: JWT with a pinned algorithm).

use tidegate_proto::id::{DeviceId, UserId};

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `sub`.
    pub user: UserId,
    /// `dev`: the only device the token is good for, where it names one.
    pub device: Option<DeviceId>,
    /// `exp`, in ms since 1970. A session ends then, unless it got another token.
    pub expires_at: i64,
}
