//! Which gateways have subscribers of a channel: a hash for each channel, gateway → interest. Like routes, an interest
//! counts only under a lease of its incarnation; whoever meets another one removes it.

use std::collections::HashMap;

use fred::prelude::{Error, HashesInterface as _, KeysInterface as _};
use futures_util::future::try_join_all;
use tidegate_proto::id::ChannelName;

use super::{Shared, leases, scripts};
use crate::presence::interest::{Interest, Interests};

/// Writes a gateway's interest over its last one. It is to be written again before `KEPT_FOR_S` is over: nobody may ever
/// ask for a channel again whose gateway died.
pub(super) async fn show(shared: &Shared, channel: &ChannelName, interest: &Interest) -> Result<(), Error> {
    let key = shared.keys.channel(channel);
    let pipeline = shared.pool.next().pipeline();
    let () = pipeline.hset(&key, (&*interest.gateway, interest.encode())).await?;
    let () = pipeline.expire(&key, KEPT_FOR_S, None).await?;
    let _: Vec<i64> = pipeline.all().await?;
    Ok(())
}

/// Removes a gateway's interest if it is of this incarnation.
pub(super) async fn drop(shared: &Shared, channel: &ChannelName, interest: &Interest) -> Result<(), Error> {
    let arguments = vec![interest.gateway.to_string(), interest.incarnation.to_string()];
    scripts::run(&scripts::DROP_INTEREST, &shared.pool, shared.keys.channel(channel), arguments).await
}

/// The gateways that live and have subscribers, of each channel in the order asked.
pub(super) async fn find(shared: &Shared, channels: &[ChannelName]) -> Result<Vec<Interests>, Error> {
    let mut rows = rows(shared, channels).await?;
    let named = rows.iter().flatten().map(|row| (row.gateway.clone(), row.incarnation));
    let leases = leases::of(shared, named.collect()).await?;
    let mut stale = Vec::new();
    for (channel, rows) in channels.iter().zip(&mut rows) {
        rows.retain(|row| {
            let lives = leases::count(&leases, &row.gateway, row.incarnation);
            if !lives {
                stale.push((channel, row.clone()));
            }
            lives
        });
    }
    try_join_all(stale.iter().map(|(channel, row)| drop(shared, channel, row))).await?;
    Ok(rows)
}

async fn rows(shared: &Shared, channels: &[ChannelName]) -> Result<Vec<Interests>, Error> {
    if channels.is_empty() {
        return Ok(Vec::new());
    }
    let pipeline = shared.pool.next().pipeline();
    for channel in channels {
        let () = pipeline.hgetall(shared.keys.channel(channel)).await?;
    }
    let hashes = pipeline.try_all::<HashMap<String, String>>().await;
    let decode = |(gateway, text): (&String, &String)| Interest::decode(gateway, text);
    hashes.into_iter().map(|hash| Ok(hash?.iter().filter_map(decode).collect())).collect()
}

/// In seconds: ten times as long as until a gateway compares what it holds with presence.
pub(super) const KEPT_FOR_S: i64 = 600;
