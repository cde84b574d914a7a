//! Presence in Redis, for gateways and pipelines in many processes.
//!
//! One hash for each user, device → row, written by scripts that compare on the server; a lease for each process that
//! dies with it, so that the rows of a dead gateway count no more, without a scan. Whoever meets such a row removes it.

pub mod check;
mod interests;
mod keys;
mod leases;
mod row;
mod scripts;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fred::clients::{Pool, SubscriberClient};
use fred::prelude::{
    ClientLike as _, Error, EventInterface as _, HashesInterface as _, PubsubInterface as _,
};
use fred::types::Message;
use futures_util::future::{BoxFuture, try_join_all};
use tidegate_proto::id::{ChannelName, DeviceId, UserId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

pub use settings::{Settings, SettingsError};

use super::control::Control;
use super::interest::{Interest, Interests};
use super::lease::Lease;
use super::{Registration, Route, Routes, Unreachable};
use keys::{Keys, Kind};
use settings::Clients;

/// A connection to Redis. Cheap to clone.
#[derive(Clone)]
pub struct Presence(Arc<Shared>);

struct Shared {
    pool: Pool,
    clients: Clients,
    settings: Settings,
    keys: Keys,
    seen: leases::Seen,
    /// Whether it did when it was last asked.
    answers: AtomicBool,
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Presence").field(&self.0.settings).finish()
    }
}

/// The words for one gateway, as they come.
pub struct Controls {
    words: Receiver<Message>,
    // The subscription lives as long as its client.
    _client: SubscriberClient,
}

impl std::fmt::Debug for Controls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Controls")
    }
}

impl Presence {
    /// Begins to connect, and connects again whenever the connection is lost. An error only for settings
    /// that are wrong.
    pub fn connect(settings: Settings) -> Result<Self, SettingsError> {
        let clients = settings.clients()?;
        let pool = clients.pool().map_err(SettingsError::Url)?;
        // The tasks live as long as the pool.
        drop(pool.connect_pool());
        let keys = Keys::new(&settings.prefix);
        Ok(Self(Arc::new(Shared {
            pool,
            clients,
            settings,
            keys,
            seen: leases::Seen::default(),
            answers: AtomicBool::new(true),
        })))
    }

    /// Asks, and notes whether there is an answer. Boxed, so that a session of the form in one process does not carry its
    /// room.
    pub(super) fn ask<'a, T: Send + 'a>(
        &'a self,
        question: impl Future<Output = Result<T, Error>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Unreachable>> {
        Box::pin(async {
            let answer = question.await;
            self.0.answers.store(answer.is_ok(), Ordering::Relaxed);
            Ok(answer?)
        })
    }

    pub(super) fn answers(&self) -> bool {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// Asks for a sign of life.
    pub async fn ping(&self) -> Result<(), Error> {
        self.0.pool.next().ping::<()>(None).await
    }

    pub(super) async fn register(
        &self,
        user: &UserId,
        device: &DeviceId,
        route: &Route,
        max_devices: usize,
    ) -> Result<Registration, Error> {
        let first = self.try_register(user, device, route, max_devices).await?;
        let refused = matches!(first, Registration::Superseded | Registration::Full);
        // Rows of dead gateways refuse nobody.
        if refused && self.remove_stale(user).await? {
            return self.try_register(user, device, route, max_devices).await;
        }
        Ok(first)
    }

    async fn try_register(
        &self,
        user: &UserId,
        device: &DeviceId,
        route: &Route,
        max_devices: usize,
    ) -> Result<Registration, Error> {
        let Shared { pool, keys, .. } = &*self.0;
        let arguments = vec![device.as_str().to_owned(), row::encode(route), max_devices.to_string()];
        let answer: Vec<String> = scripts::run(&scripts::REGISTER, pool, keys.user(user), arguments).await?;
        let mut answer = answer.into_iter();
        Ok(match answer.next().as_deref() {
            Some("superseded") => Registration::Superseded,
            Some("full") => Registration::Full,
            _ => Registration::Registered { displaced: answer.next().and_then(|text| row::decode(&text)) },
        })
    }

    pub(super) async fn drop(&self, user: &UserId, device: &DeviceId, route: &Route) -> Result<(), Error> {
        let Shared { pool, keys, .. } = &*self.0;
        let arguments = vec![device.as_str().to_owned(), row::session(route)];
        scripts::run(&scripts::DROP, pool, keys.user(user), arguments).await
    }

    /// The routes of each user whose gateway lives.
    pub(super) async fn lookup(&self, users: &[UserId]) -> Result<Vec<Routes>, Error> {
        let rows = self.rows(users).await?;
        let named = rows.iter().flatten().map(|(_, route)| (route.gateway.clone(), route.incarnation));
        let leases = leases::of(&self.0, named.collect()).await?;
        let mut stale = Vec::new();
        let mut found = Vec::with_capacity(users.len());
        for (user, mut rows) in users.iter().zip(rows) {
            rows.retain(|(device, route)| {
                let lives = leases::count(&leases, &route.gateway, route.incarnation);
                if !lives {
                    stale.push((user, device.clone(), route.clone()));
                }
                lives
            });
            found.push(rows);
        }
        try_join_all(stale.iter().map(|(user, device, route)| self.drop(user, device, route))).await?;
        Ok(found)
    }

    /// Removes the user's rows of dead gateways; whether there were any.
    async fn remove_stale(&self, user: &UserId) -> Result<bool, Error> {
        let users = std::slice::from_ref(user);
        let before = self.rows(users).await?.iter().flatten().count();
        let after = self.lookup(users).await?.iter().flatten().count();
        Ok(after < before)
    }

    /// The rows of each user as they stand.
    async fn rows(&self, users: &[UserId]) -> Result<Vec<Routes>, Error> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let pipeline = self.0.pool.next().pipeline();
        for user in users {
            let () = pipeline.hgetall(self.0.keys.user(user)).await?;
        }
        let hashes = pipeline.try_all::<HashMap<String, String>>().await;
        hashes.into_iter().map(|hash| Ok(hash?.iter().filter_map(decode).collect())).collect()
    }

    pub(super) async fn show_interest(
        &self,
        channel: &ChannelName,
        interest: &Interest,
    ) -> Result<(), Error> {
        interests::show(&self.0, channel, interest).await
    }

    pub(super) async fn drop_interest(
        &self,
        channel: &ChannelName,
        interest: &Interest,
    ) -> Result<(), Error> {
        interests::drop(&self.0, channel, interest).await
    }

    pub(super) async fn interests(&self, channels: &[ChannelName]) -> Result<Vec<Interests>, Error> {
        interests::find(&self.0, channels).await
    }

    pub(super) async fn begin_lease(&self, lease: &Lease) -> Result<(), Error> {
        leases::begin(&self.0.pool, &self.0.keys, lease).await
    }

    pub(super) async fn extend_lease(&self, lease: &Lease) -> Result<bool, Error> {
        leases::extend(&self.0.pool, &self.0.keys, lease).await
    }

    pub(super) async fn end_lease(&self, lease: &Lease) -> Result<(), Error> {
        leases::end(&self.0.pool, &self.0.keys, lease).await
    }

    pub(super) async fn leases(&self) -> Result<Vec<Lease>, Error> {
        leases::all(&self.0.pool, &self.0.keys, Kind::Gateways).await
    }

    pub(super) async fn instances(&self) -> Result<Vec<Lease>, Error> {
        let mut leases = self.leases().await?;
        leases.extend(leases::all(&self.0.pool, &self.0.keys, Kind::Pipelines).await?);
        Ok(leases)
    }

    pub(super) async fn lease(&self, gateway: &Arc<str>) -> Result<Option<Lease>, Error> {
        Ok(leases::find(&self.0, [gateway.clone()]).await?.remove(gateway))
    }

    pub(super) fn forget(&self, gateway: &str) {
        self.0.seen.forget(gateway);
    }

    pub(super) async fn tell(&self, gateway: &str, word: Control) -> Result<(), Error> {
        self.0.pool.next().publish(self.0.keys.control(gateway), word.encode()).await
    }

    /// Listens to the words for a gateway; the client subscribes again after each loss of the connection. What is told
    /// within the next moment may be missed: the client does not wait for the server's word that it has subscribed.
    pub(super) async fn listen(&self, gateway: &str) -> Result<Controls, Error> {
        let client = self.0.clients.subscriber()?;
        let words = client.message_rx();
        drop(client.connect());
        drop(client.manage_subscriptions());
        client.wait_for_connect().await?;
        client.subscribe(self.0.keys.control(gateway)).await?;
        Ok(Controls { words, _client: client })
    }
}

impl Controls {
    /// The next word. Cancel safe.
    pub(super) async fn next(&mut self) -> Control {
        loop {
            match self.words.recv().await {
                Ok(message) => {
                    let text = message.value.as_string();
                    if let Some(word) = text.and_then(|text| Control::decode(&text)) {
                        return word;
                    }
                }
                // Words were lost; the comparison heals.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

fn decode((device, text): (&String, &String)) -> Option<(DeviceId, Route)> {
    Some((DeviceId::new(device).ok()?, row::decode(text)?))
}
