//! Links between pushers and gateways break: cut again and again, and closed for a while.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::relay::Relay;
use crate::scale::Scale;
use crate::trial::Trial;

at_both_scales!(links_cut, a_link_closed);

async fn links_cut(scale: Scale) {
    let (mut trial, relays) = begin(scale).await;
    for time in 0..scale.times as usize {
        trial.some_time().await;
        relays[time % relays.len()].cut();
        trial.recovered(Instant::now(), RECOVERY).await;
    }
    trial.end("links cut").await;
}

/// Its gateway lives, and pushers cannot reach it.
async fn a_link_closed(scale: Scale) {
    let (mut trial, relays) = begin(scale).await;
    trial.some_time().await;
    relays[0].close();
    sleep(scale.outage).await;
    relays[0].open();
    trial.recovered(Instant::now(), RECOVERY).await;
    trial.end("a link closed").await;
}

/// Three gateways, each behind a relay.
async fn begin(scale: Scale) -> (Trial, Vec<Relay>) {
    let mut relays = Vec::new();
    let mut targets = Vec::new();
    for _ in 0..3 {
        let (relay, target) = Relay::listen().await;
        relays.push(relay);
        targets.push(target);
    }
    let addresses = relays.iter().map(|relay| Some(relay.address.to_string()));
    let cluster = Cluster::start_behind(addresses.collect(), 2).await;
    for (gateway, target) in cluster.gateways.iter().zip(targets) {
        target.send_replace(Some(gateway.grpc()));
    }
    let trial = Trial::begin(cluster, scale).await;
    let links = relays.iter().map(Relay::passing).collect::<Vec<_>>();
    assert!(links.iter().all(|&links| links > 0), "pushers come by the relays: {links:?}");
    (trial, relays)
}

const RECOVERY: Duration = Duration::from_secs(5);
