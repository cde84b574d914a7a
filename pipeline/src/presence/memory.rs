//! Presence as a map within the process, for the form that runs in one. Rows live as long as the process, so no lease
//! is looked at for them: when the gateway dies, they do.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_proto::id::{ChannelName, DeviceId, UserId};

use super::interest::{Interest, Interests};
use super::lease::Lease;
use super::{Registration, Route, Routes};

/// A map from users to the routes of their devices. Cheap to clone; clones share the rows.
#[derive(Debug, Clone)]
pub struct Presence {
    shards: Arc<[Mutex<HashMap<UserId, Routes>>; SHARDS]>,
    hasher: RandomState,
    interests: Arc<Mutex<HashMap<ChannelName, Interests>>>,
    leases: Arc<Mutex<Vec<Lease>>>,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            shards: Arc::new(std::array::from_fn(|_| Mutex::default())),
            hasher: RandomState::new(),
            interests: Arc::default(),
            leases: Arc::default(),
        }
    }
}

impl Presence {
    pub(super) fn register(
        &self,
        user: &UserId,
        device: &DeviceId,
        route: &Route,
        max_devices: usize,
    ) -> Registration {
        let mut shard = self.shard(user).lock();
        let rows = shard.entry(user.clone()).or_default();
        let Some(place) = rows.iter().position(|(owner, _)| owner == device) else {
            // An entry without rows cannot be left behind: max_devices is at least 1.
            if rows.len() >= max_devices {
                return Registration::Full;
            }
            rows.push((device.clone(), route.clone()));
            return Registration::Registered { displaced: None };
        };
        let row = &mut rows[place].1;
        if row.attempt > route.attempt && !row.is_session_of(route) {
            return Registration::Superseded;
        }
        let old = std::mem::replace(row, route.clone());
        Registration::Registered { displaced: (!old.is_session_of(route)).then_some(old) }
    }

    pub(super) fn drop(&self, user: &UserId, device: &DeviceId, route: &Route) {
        let mut shard = self.shard(user).lock();
        let Some(rows) = shard.get_mut(user) else { return };
        rows.retain(|(owner, row)| owner != device || !row.is_session_of(route));
        if rows.is_empty() {
            shard.remove(user);
        }
    }

    pub(super) fn routes(&self, user: &UserId) -> Routes {
        self.shard(user).lock().get(user).cloned().unwrap_or_default()
    }

    pub(super) fn show_interest(&self, channel: &ChannelName, interest: &Interest) {
        let mut interests = self.interests.lock();
        let rows = interests.entry(channel.clone()).or_default();
        rows.retain(|row| row.gateway != interest.gateway);
        rows.push(interest.clone());
    }

    pub(super) fn drop_interest(&self, channel: &ChannelName, interest: &Interest) {
        let mut interests = self.interests.lock();
        let Some(rows) = interests.get_mut(channel) else { return };
        rows.retain(|row| row.gateway != interest.gateway || row.incarnation != interest.incarnation);
        if rows.is_empty() {
            interests.remove(channel);
        }
    }

    pub(super) fn interests(&self, channels: &[ChannelName]) -> Vec<Interests> {
        let interests = self.interests.lock();
        channels.iter().map(|channel| interests.get(channel).cloned().unwrap_or_default()).collect()
    }

    pub(super) fn begin_lease(&self, lease: &Lease) {
        let mut leases = self.leases.lock();
        leases.retain(|other| !other.is_of(lease.role.has_gateway(), &lease.id));
        leases.push(lease.clone());
    }

    pub(super) fn extend_lease(&self, lease: &Lease) -> bool {
        let mut leases = self.leases.lock();
        let kept = leases.iter_mut().find(|kept| kept.is_same(lease));
        kept.map(|kept| *kept = lease.clone()).is_some()
    }

    pub(super) fn end_lease(&self, lease: &Lease) {
        self.leases.lock().retain(|kept| !kept.is_same(lease));
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        let mut leases = self.instances();
        leases.retain(|lease| lease.role.has_gateway());
        leases
    }

    pub(super) fn instances(&self) -> Vec<Lease> {
        self.leases.lock().clone()
    }

    pub(super) fn lease(&self, gateway: &str) -> Option<Lease> {
        self.leases.lock().iter().find(|lease| lease.is_of(true, gateway)).cloned()
    }

    fn shard(&self, user: &UserId) -> &Mutex<HashMap<UserId, Routes>> {
        &self.shards[self.hasher.hash_one(user) as usize % SHARDS]
    }
}

/// Enough that two cores seldom meet.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[tokio::test]
    async fn contract() {
        contract::run(&super::super::Presence::Memory(Presence::default())).await;
    }

    #[test]
    fn nothing_is_left_of_a_user_who_went() {
        let presence = Presence::default();
        let (user, device) = (UserId::new("alice").unwrap(), DeviceId::new("d").unwrap());
        let route = contract::route("gateway-1", 1, 1);
        presence.register(&user, &device, &route, 16);
        presence.drop(&user, &device, &route);
        assert!(presence.shard(&user).lock().is_empty());
    }
}
