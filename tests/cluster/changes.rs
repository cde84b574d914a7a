//! Processes that halt, come and go in order: a gateway whose clock stops, a pipeline added and removed, a gateway
//! drained.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::scale::Scale;
use crate::trial::Trial;

at_both_scales!(a_gateway_halted, a_pipeline_added_and_removed, a_gateway_stopped_in_order);

/// Its lease ends, its users go elsewhere, and then it goes on as if nothing had happened.
async fn a_gateway_halted(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    trial.some_time().await;
    trial.cluster.gateways[1].signal(Signal::STOP);
    sleep(scale.halt).await;
    trial.cluster.gateways[1].signal(Signal::CONT);
    trial.recovered(Instant::now(), Duration::from_secs(5)).await;
    trial.end("a gateway halted").await;
}

/// Partitions move to it and back again.
async fn a_pipeline_added_and_removed(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    let status = trial.cluster.pipelines[1].stop().await;
    assert!(status.success(), "{status}");
    for _ in 0..scale.times {
        trial.cluster.pipelines[1].start().await;
        sleep(BETWEEN_CHANGES).await;
        let status = trial.cluster.pipelines[1].stop().await;
        assert!(status.success(), "{status}");
        sleep(BETWEEN_CHANGES).await;
    }
    trial.cluster.pipelines[1].start().await;
    trial.recovered(Instant::now(), Duration::from_secs(15)).await;
    trial.end("a pipeline added and removed").await;
}

/// SIGTERM: its users are told where to go, and it ends well.
async fn a_gateway_stopped_in_order(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    for time in 0..scale.times as usize {
        trial.some_time().await;
        let gateway = &mut trial.cluster.gateways[time % 3];
        let status = gateway.stop().await;
        assert!(status.success(), "{status}");
        gateway.start().await;
        trial.recovered(Instant::now(), Duration::from_secs(5)).await;
    }
    trial.end("a gateway stopped in order").await;
}

const BETWEEN_CHANGES: Duration = Duration::from_secs(5);
