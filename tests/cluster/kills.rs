//! kill -9 at random moments: of a gateway, of a pipeline, of both pipelines. The fault ends when the process is back.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::scale::Scale;
use crate::trial::Trial;

at_both_scales!(a_gateway, a_pipeline, both_pipelines);

async fn a_gateway(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    for time in 0..scale.times as usize {
        trial.some_time().await;
        let gateway = &mut trial.cluster.gateways[time % 3];
        gateway.kill().await;
        gateway.start().await;
        trial.recovered(Instant::now(), Duration::from_secs(5)).await;
    }
    trial.end("a gateway killed").await;
}

async fn a_pipeline(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    for time in 0..scale.times as usize {
        trial.some_time().await;
        let pipeline = &mut trial.cluster.pipelines[time % 2];
        pipeline.kill().await;
        pipeline.start().await;
        // The group notices the death after the session time-out.
        trial.recovered(Instant::now(), Duration::from_secs(15)).await;
    }
    trial.end("a pipeline killed").await;
}

async fn both_pipelines(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    for _ in 0..scale.times {
        trial.some_time().await;
        for pipeline in &mut trial.cluster.pipelines {
            pipeline.kill().await;
        }
        for pipeline in &mut trial.cluster.pipelines {
            pipeline.start().await;
        }
        trial.recovered(Instant::now(), Duration::from_secs(15)).await;
    }
    trial.end("both pipelines killed").await;
}
