//! What the server does in one step: compare, then write. Each script touches the keys of one user, channel or gateway only,
//! so that it runs on a cluster too. The text of a row is that of [`super::row`].

use std::sync::LazyLock;

use fred::clients::Pool;
use fred::prelude::{ClientLike as _, ClusterInterface as _, Error, ErrorKind, FromValue};
use fred::types::scripts::Script;
use tokio::time::timeout;

use super::settings::COMMAND_LIMIT;

/// Runs a script on a key.
pub(super) async fn run<R: FromValue>(
    script: &Script,
    pool: &Pool,
    key: String,
    arguments: Vec<String>,
) -> Result<R, Error> {
    let client = pool.next();
    // Other commands wait for the first connection; a script is refused while the slots of a cluster are not known.
    if client.is_clustered() && client.cached_cluster_state().is_none() {
        let connected = timeout(COMMAND_LIMIT, client.wait_for_connect()).await;
        connected.map_err(|_| Error::new(ErrorKind::Timeout, "the cluster is not reached yet"))??;
    }
    script.evalsha_with_reload(client, key, arguments).await
}

/// Writes a device's row unless it has one of a higher attempt of another session.
///
/// `KEYS`: the user's hash. `ARGV`: device, row, the most devices. Answers `{what}` or `{what, the other row}`, where
/// what is `registered`, `superseded` or `full`. A row that nobody of us wrote is overwritten.
pub(super) static REGISTER: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(
        "local pattern = '^(%d+)|([^|]*|%d+|%d+)|'
local key, device, new = KEYS[1], ARGV[1], ARGV[2]
local old = redis.call('HGET', key, device)
if not old then
  if redis.call('HLEN', key) >= tonumber(ARGV[3]) then return {'full'} end
  redis.call('HSET', key, device, new)
  return {'registered'}
end
local attempt, session = string.match(new, pattern)
local old_attempt, old_session = string.match(old, pattern)
if old_attempt and old_session ~= session and old_attempt > attempt then return {'superseded', old} end
redis.call('HSET', key, device, new)
if old_session == session then return {'registered'} end
return {'registered', old}",
    )
});

/// Removes a device's row if it is of this session.
///
/// `KEYS`: the user's hash. `ARGV`: device, what names the session. Answers how many rows it removed.
pub(super) static DROP: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(
        "local row = redis.call('HGET', KEYS[1], ARGV[1])
if row and string.match(row, '^%d+|([^|]*|%d+|%d+)|') == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0",
    )
});

/// Removes a gateway's interest if it is of this incarnation.
///
/// `KEYS`: the channel's hash. `ARGV`: gateway, incarnation. Answers how many rows it removed.
pub(super) static DROP_INTEREST: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(
        "local row = redis.call('HGET', KEYS[1], ARGV[1])
if row and string.match(row, '^(%d+)|') == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0",
    )
});

/// Prolongs a lease that is still there and of the same incarnation, with what it says now.
///
/// `KEYS`: the lease. `ARGV`: incarnation, text, ms to live. Answers 1, or 0 if it is gone or another's.
pub(super) static EXTEND: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(
        "local lease = redis.call('GET', KEYS[1])
if not lease or string.match(lease, '^(%d+)|') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1",
    )
});

/// Ends a lease of this incarnation.
///
/// `KEYS`: the lease. `ARGV`: incarnation.
pub(super) static END: LazyLock<Script> = LazyLock::new(|| {
    Script::from_lua(
        "local lease = redis.call('GET', KEYS[1])
if lease and string.match(lease, '^(%d+)|') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0",
    )
});
