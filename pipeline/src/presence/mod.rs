//! Presence: which gateway holds a user's sessions (ARCHITECTURE.md "Presence and links"). Rows are compared by
//! attempt: the higher one wins everywhere, and nobody removes a row that is not his own.

pub mod memory;

#[cfg(test)]
pub(crate) mod contract;

use std::sync::Arc;

use smallvec::SmallVec;
use tidegate_proto::id::{DeviceId, UserId};

/// Where presence is kept.
#[derive(Debug, Clone)]
pub enum Presence {
    /// A map within this process.
    Memory(memory::Presence),
}

/// A live session of a device, and the gateway that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The gateway's id.
    pub gateway: Arc<str>,
    /// The gateway's incarnation; the route counts only while the gateway's lease says the same.
    pub incarnation: u64,
    /// The session's number within the incarnation.
    pub session: u64,
    /// The device's attempt that opened the session.
    pub attempt: i64,
    /// The client's platform, as it said.
    pub platform: Arc<str>,
    /// ms since 1970.
    pub since: i64,
}

impl Route {
    /// Whether both are the same session.
    pub fn is_session_of(&self, other: &Self) -> bool {
        self.session == other.session
            && self.incarnation == other.incarnation
            && self.gateway == other.gateway
    }
}

/// What a registration led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// The route is written; the device had a lower one, which is closed REPLACED.
    Registered {
        /// The displaced route.
        displaced: Option<Route>,
    },
    /// The device has a route of a higher attempt: the one who asks is closed REPLACED.
    Superseded,
    /// The user has as many live devices as allowed: LIMIT.
    Full,
}

/// A user's live devices.
pub type Routes = SmallVec<[(DeviceId, Route); 2]>;

/// Presence does not answer. Sessions live on and are registered later.
#[derive(Debug, thiserror::Error)]
#[error("presence does not answer")]
pub struct Unreachable(#[source] pub std::io::Error);

#[expect(clippy::unused_async, reason = "a port: other variants ask a server")]
impl Presence {
    /// Writes the route of a device unless it has one of a higher attempt. At most `max_devices` devices of a user.
    /// An equal attempt of another session counts as higher: the last one to come has it.
    pub async fn register(
        &self,
        user: &UserId,
        device: &DeviceId,
        route: &Route,
        max_devices: usize,
    ) -> Result<Registration, Unreachable> {
        match self {
            Self::Memory(presence) => Ok(presence.register(user, device, route, max_devices)),
        }
    }

    /// Removes the device's route if it is this very session's.
    pub async fn drop(&self, user: &UserId, device: &DeviceId, route: &Route) -> Result<(), Unreachable> {
        match self {
            Self::Memory(presence) => presence.drop(user, device, route),
        }
        Ok(())
    }

    /// The routes of each user, in the order asked.
    pub async fn lookup(&self, users: &[UserId]) -> Result<Vec<Routes>, Unreachable> {
        match self {
            Self::Memory(presence) => Ok(users.iter().map(|user| presence.routes(user)).collect()),
        }
    }
}
