//! Presence: which processes live, and which gateway holds a user's sessions (ARCHITECTURE.md "Presence and links").
//! Rows are compared by attempt: the higher one wins everywhere, and nobody removes a row that is not his own.

pub mod control;
pub mod instance;
pub mod interest;
pub mod keeper;
pub mod lease;
pub mod memory;
pub mod redis;

#[cfg(test)]
pub(crate) mod contract;

use std::sync::Arc;

use smallvec::SmallVec;
use tidegate_proto::id::{ChannelName, DeviceId, UserId};

use control::Control;
use interest::{Interest, Interests};
use lease::Lease;

/// Where presence is kept.
#[derive(Debug, Clone)]
pub enum Presence {
    /// A map within this process.
    Memory(memory::Presence),
    /// A Redis that gateways and pipelines share.
    Redis(redis::Presence),
}

/// The words for one gateway, as they come.
#[derive(Debug)]
pub enum Controls {
    /// In one process nobody else speaks.
    Silent,
    /// From Redis.
    Redis(redis::Controls),
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
pub struct Unreachable(#[from] fred::error::Error);

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
            Self::Redis(presence) => presence.ask(presence.register(user, device, route, max_devices)).await,
        }
    }

    /// Removes the device's route if it is this very session's.
    pub async fn drop(&self, user: &UserId, device: &DeviceId, route: &Route) -> Result<(), Unreachable> {
        match self {
            Self::Memory(presence) => presence.drop(user, device, route),
            Self::Redis(presence) => presence.ask(presence.drop(user, device, route)).await?,
        }
        Ok(())
    }

    /// The routes of each user, in the order asked; only those whose gateway lives.
    pub async fn lookup(&self, users: &[UserId]) -> Result<Vec<Routes>, Unreachable> {
        match self {
            Self::Memory(presence) => Ok(users.iter().map(|user| presence.routes(user)).collect()),
            Self::Redis(presence) => presence.ask(presence.lookup(users)).await,
        }
    }

    /// Writes that a gateway has subscribers of a channel, over what it said last.
    pub async fn show_interest(&self, channel: &ChannelName, interest: &Interest) -> Result<(), Unreachable> {
        match self {
            Self::Memory(presence) => presence.show_interest(channel, interest),
            Self::Redis(presence) => presence.ask(presence.show_interest(channel, interest)).await?,
        }
        Ok(())
    }

    /// Removes a gateway's interest in a channel if it is this incarnation's.
    pub async fn drop_interest(&self, channel: &ChannelName, interest: &Interest) -> Result<(), Unreachable> {
        match self {
            Self::Memory(presence) => presence.drop_interest(channel, interest),
            Self::Redis(presence) => presence.ask(presence.drop_interest(channel, interest)).await?,
        }
        Ok(())
    }

    /// The gateways with subscribers of each channel, in the order asked; only those that live.
    pub async fn interests(&self, channels: &[ChannelName]) -> Result<Vec<Interests>, Unreachable> {
        match self {
            Self::Memory(presence) => Ok(presence.interests(channels)),
            Self::Redis(presence) => presence.ask(presence.interests(channels)).await,
        }
    }

    /// Begins the lease of a process, over any other of its id: of a gateway's among gateways, of a pipeline's among
    /// pipelines.
    pub async fn begin_lease(&self, lease: &Lease) -> Result<(), Unreachable> {
        match self {
            Self::Memory(presence) => presence.begin_lease(lease),
            Self::Redis(presence) => presence.ask(presence.begin_lease(lease)).await?,
        }
        Ok(())
    }

    /// Prolongs a lease, with what it says now. False if it is gone, or another's by now.
    pub async fn extend_lease(&self, lease: &Lease) -> Result<bool, Unreachable> {
        match self {
            Self::Memory(presence) => Ok(presence.extend_lease(lease)),
            Self::Redis(presence) => presence.ask(presence.extend_lease(lease)).await,
        }
    }

    /// Ends a lease if it is still this one's.
    pub async fn end_lease(&self, lease: &Lease) -> Result<(), Unreachable> {
        match self {
            Self::Memory(presence) => presence.end_lease(lease),
            Self::Redis(presence) => presence.ask(presence.end_lease(lease)).await?,
        }
        Ok(())
    }

    /// The gateways that live: where routes lead.
    pub async fn leases(&self) -> Result<Vec<Lease>, Unreachable> {
        match self {
            Self::Memory(presence) => Ok(presence.leases()),
            Self::Redis(presence) => presence.ask(presence.leases()).await,
        }
    }

    /// All processes that live, in the order of their ids; a gateway before a pipeline of the same.
    pub async fn instances(&self) -> Result<Vec<Lease>, Unreachable> {
        let mut instances = match self {
            Self::Memory(presence) => presence.instances(),
            Self::Redis(presence) => presence.ask(presence.instances()).await?,
        };
        instances.sort_by(|one, other| {
            one.id.cmp(&other.id).then(other.role.has_gateway().cmp(&one.role.has_gateway()))
        });
        Ok(instances)
    }

    /// Whether there may be other gateways.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// Whether it answered when it was last asked. Who has no use for a late answer goes on without while it does not: a
    /// question waits for some seconds. Whatever keeps a lease asks every 3 s.
    pub fn answers(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(presence) => presence.answers(),
        }
    }

    /// The lease of a gateway, as it was within the last second; `None` if it has none.
    pub async fn lease(&self, gateway: &Arc<str>) -> Result<Option<Lease>, Unreachable> {
        match self {
            Self::Memory(presence) => Ok(presence.lease(gateway)),
            Self::Redis(presence) => presence.ask(presence.lease(gateway)).await,
        }
    }

    /// What is remembered of a gateway's lease is not relied on any more: it did not answer, or as another incarnation.
    pub fn forget(&self, gateway: &str) {
        match self {
            Self::Memory(_) => {}
            Self::Redis(presence) => presence.forget(gateway),
        }
    }

    /// Tells a gateway something. It may be lost.
    pub async fn tell(&self, gateway: &str, word: Control) -> Result<(), Unreachable> {
        match self {
            // The one gateway there is has heard it itself.
            Self::Memory(_) => Ok(()),
            Self::Redis(presence) => presence.ask(presence.tell(gateway, word)).await,
        }
    }

    /// Listens to what a gateway is told from now on.
    pub async fn listen(&self, gateway: &str) -> Result<Controls, Unreachable> {
        match self {
            Self::Memory(_) => Ok(Controls::Silent),
            Self::Redis(presence) => Ok(Controls::Redis(Box::pin(presence.listen(gateway)).await?)),
        }
    }
}

impl Controls {
    /// The next word. Cancel safe.
    pub async fn next(&mut self) -> Control {
        match self {
            Self::Silent => std::future::pending().await,
            Self::Redis(controls) => controls.next().await,
        }
    }
}
