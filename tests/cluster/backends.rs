//! The servers below stop, die and forget: Kafka, SQL, Redis.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::scale::Scale;
use crate::services::{Service, flush_redis};
use crate::trial::Trial;

at_both_scales!(kafka_stopped, sql_stopped, redis_killed, redis_emptied, redis_stopped);

async fn kafka_stopped(scale: Scale) {
    // Its consumers come back at their own pace.
    stopped(Service::Kafka, scale, Duration::from_secs(15), "Kafka stopped").await;
}

async fn sql_stopped(scale: Scale) {
    stopped(Service::Sql, scale, RECOVERY, "SQL stopped").await;
}

async fn redis_stopped(scale: Scale) {
    stopped(Service::Redis, scale, RECOVERY, "Redis stopped").await;
}

async fn redis_killed(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    for _ in 0..scale.times {
        trial.some_time().await;
        Service::Redis.step("kill").await;
        Service::Redis.step("start").await;
        trial.recovered(Instant::now(), RECOVERY).await;
    }
    trial.end("Redis killed").await;
}

async fn redis_emptied(scale: Scale) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    for _ in 0..scale.times {
        trial.some_time().await;
        flush_redis().await;
        trial.recovered(Instant::now(), RECOVERY).await;
    }
    trial.end("Redis emptied").await;
}

async fn stopped(service: Service, scale: Scale, limit: Duration, what: &str) {
    let mut trial = Trial::begin(Cluster::start(3, 2).await, scale).await;
    trial.some_time().await;
    service.step("stop").await;
    sleep(scale.outage).await;
    service.step("start").await;
    trial.recovered(Instant::now(), limit).await;
    trial.end(what).await;
}

const RECOVERY: Duration = Duration::from_secs(5);
