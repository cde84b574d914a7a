//! Which processes live: leases written, extended and read, and what was read lately.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Pool;
use fred::prelude::{Error, KeysInterface, SortedSetsInterface};
use fred::types::{Expiration, SetOptions};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::keys::{Keys, Kind};
use super::{Shared, scripts};
use crate::presence::lease::Lease;

/// The leases seen lately, by the gateway's id.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<Arc<str>, Sight>>);

/// When a gateway's lease was asked for, and what it was; `None`: it had none.
type Sight = (Instant, Option<Lease>);

impl Seen {
    /// The lease of a gateway, at most [`SEEN_FOR`] old; `None` if it has to be asked for.
    fn find(&self, gateway: &str, now: Instant) -> Option<Option<Lease>> {
        let seen = self.0.lock();
        let (at, lease) = seen.get(gateway)?;
        (now < *at + SEEN_FOR).then(|| lease.clone())
    }

    fn note(&self, gateway: Arc<str>, lease: Option<Lease>, now: Instant) {
        let mut seen = self.0.lock();
        // Ids of gateways that are no more would stay for ever.
        seen.retain(|_, (at, _)| now < *at + FORGET_AFTER);
        seen.insert(gateway, (now, lease));
    }

    /// What was seen of this gateway is not to be relied on any more.
    pub(super) fn forget(&self, gateway: &str) {
        self.0.lock().remove(gateway);
    }
}

/// Begins a lease, over any other of this id.
pub(super) async fn begin(pool: &Pool, keys: &Keys, lease: &Lease) -> Result<(), Error> {
    let life = Some(Expiration::PX(LIFE.as_millis() as i64));
    let key = keys.lease(Kind::of(lease.role), &lease.id);
    pool.set::<(), _, _>(key, lease.encode(), life, None::<SetOptions>, false).await?;
    list(pool, keys, lease).await
}

/// Prolongs a lease; false if it is gone, or another's by now.
pub(super) async fn extend(pool: &Pool, keys: &Keys, lease: &Lease) -> Result<bool, Error> {
    let arguments = vec![lease.incarnation.to_string(), lease.encode(), LIFE.as_millis().to_string()];
    let key = keys.lease(Kind::of(lease.role), &lease.id);
    let extended: i64 = scripts::run(&scripts::EXTEND, pool, key, arguments).await?;
    list(pool, keys, lease).await?;
    Ok(extended == 1)
}

/// Ends a lease, if it is still this one's.
pub(super) async fn end(pool: &Pool, keys: &Keys, lease: &Lease) -> Result<(), Error> {
    let key = keys.lease(Kind::of(lease.role), &lease.id);
    let incarnation = lease.incarnation.to_string();
    let ended: i64 = scripts::run(&scripts::END, pool, key, vec![incarnation]).await?;
    if ended == 1 {
        pool.zrem::<(), _, _>(keys.leases(Kind::of(lease.role)), &*lease.id).await?;
    }
    Ok(())
}

/// The leases by which what gateways have written counts, each with the incarnation that wrote it. A lease that was seen
/// before may be of a life before: what it does not know is asked for again.
pub(super) async fn of(
    shared: &Shared,
    written: BTreeSet<(Arc<str>, u64)>,
) -> Result<HashMap<Arc<str>, Lease>, Error> {
    let mut leases = find(shared, written.iter().map(|(gateway, _)| gateway.clone())).await?;
    let unknown = written.iter().filter(|(gateway, incarnation)| !count(&leases, gateway, *incarnation));
    let unknown: BTreeSet<_> = unknown.map(|(gateway, _)| gateway.clone()).collect();
    for gateway in &unknown {
        shared.seen.forget(gateway);
        leases.remove(gateway);
    }
    leases.extend(find(shared, unknown).await?);
    Ok(leases)
}

/// Whether what an incarnation of a gateway has written counts.
pub(super) fn count(leases: &HashMap<Arc<str>, Lease>, gateway: &Arc<str>, incarnation: u64) -> bool {
    leases.get(gateway).is_some_and(|lease| lease.incarnation == incarnation)
}

/// The leases of these gateways, each seen at most [`SEEN_FOR`] ago.
pub(super) async fn find(
    Shared { pool, keys, seen, .. }: &Shared,
    gateways: impl IntoIterator<Item = Arc<str>>,
) -> Result<HashMap<Arc<str>, Lease>, Error> {
    let now = Instant::now();
    let mut found = HashMap::new();
    let mut unknown = Vec::new();
    for gateway in gateways {
        match seen.find(&gateway, now) {
            Some(lease) => found.extend(lease.map(|lease| (gateway, lease))),
            None => unknown.push(gateway),
        }
    }
    for (gateway, lease) in read(pool, keys, Kind::Gateways, unknown).await? {
        seen.note(gateway.clone(), lease.clone(), now);
        found.extend(lease.map(|lease| (gateway, lease)));
    }
    Ok(found)
}

/// All of a kind with a lease. Those without one for long are taken off the list.
pub(super) async fn all(pool: &Pool, keys: &Keys, kind: Kind) -> Result<Vec<Lease>, Error> {
    let listed: Vec<String> = pool.zrange(keys.leases(kind), 0, -1, None, false, None, false).await?;
    let listed = listed.into_iter().map(Arc::from).collect();
    let leases = read(pool, keys, kind, listed).await?;
    let before = wall_ms() - i64::try_from(FORGET_AFTER.as_millis()).unwrap_or(i64::MAX);
    pool.zremrangebyscore::<(), _, _, _>(keys.leases(kind), f64::NEG_INFINITY, before as f64).await?;
    Ok(leases.into_iter().filter_map(|(_, lease)| lease).collect())
}

/// Asks for each of them.
async fn read(
    pool: &Pool,
    keys: &Keys,
    kind: Kind,
    ids: Vec<Arc<str>>,
) -> Result<Vec<(Arc<str>, Option<Lease>)>, Error> {
    let pipeline = pool.next().pipeline();
    for id in &ids {
        let () = pipeline.get(keys.lease(kind, id)).await?;
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let texts = pipeline.try_all::<Option<String>>().await;
    let lease = |(id, text): (Arc<str>, Result<Option<String>, Error>)| {
        let lease = text?.and_then(|text| Lease::decode(&id, &text));
        Ok((id, lease.filter(|lease| Kind::of(lease.role) == kind)))
    };
    ids.into_iter().zip(texts).map(lease).collect()
}

/// Notes that the process was here now, so that it is found without a scan.
async fn list(pool: &Pool, keys: &Keys, lease: &Lease) -> Result<(), Error> {
    let entry = (wall_ms() as f64, &*lease.id);
    pool.zadd(keys.leases(Kind::of(lease.role)), None, None, false, false, entry).await
}

fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long a lease lives without a refresh.
pub(crate) const LIFE: Duration = Duration::from_secs(10);
/// How old what is known of a lease may be.
const SEEN_FOR: Duration = Duration::from_secs(1);
/// When a process that no longer lives is taken off lists.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);
