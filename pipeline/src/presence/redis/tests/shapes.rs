//! On the other shapes of Redis: over TLS, as a cluster, and behind a sentinel that promotes another.

use std::path::Path;

use fred::clients::Client;
use fred::types::{InfoKind, ShutdownFlags};

use super::super::check::{CheckError, check};
use super::*;

/// What `scripts/services run redis-tls redis-cluster redis-sentinel -- …` sets for a shape.
fn settings(shape: &str) -> Settings {
    let variable = format!("TIDEGATE_TEST_{shape}");
    let url = std::env::var(&variable).unwrap_or_else(|_| panic!("{variable} says where such a Redis is"));
    own(url)
}

fn over_tls() -> Settings {
    let folder = std::env::var("TIDEGATE_TEST_SERVICES").expect("the folder of scripts/services");
    let ca_file = Some(Path::new(&folder).join("redis-tls/data/cert.pem"));
    Settings { ca_file, ..settings("REDIS_TLS") }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-tls of scripts/services"]
async fn contract_over_tls() {
    check(&over_tls()).await.unwrap();
    contract::run(&presence(over_tls())).await;
}

#[tokio::test]
#[ignore = "needs redis-tls of scripts/services"]
async fn a_server_of_another_authority_is_not_believed() {
    let error = check(&settings("REDIS_TLS")).await.unwrap_err();
    assert!(matches!(error, CheckError::Unreachable(_)), "{error:?}");
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-cluster of scripts/services"]
async fn contract_on_a_cluster() {
    let settings = settings("REDIS_CLUSTER");
    check(&settings).await.unwrap();
    contract::run(&presence(settings)).await;
}

/// Users and gateways of every part of the slots, asked for at once, and words to gateways of each.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-cluster of scripts/services"]
async fn a_cluster_is_asked_for_many_at_once() {
    let presence = presence(settings("REDIS_CLUSTER"));
    let (_, device) = names();
    let each = |kind: &'static str| (0..50_u64).map(move |number| (number, format!("{kind}-{number}")));
    let mut users = Vec::new();
    for ((number, gateway), (_, user)) in each("gateway").zip(each("user")) {
        presence.begin_lease(&lease(&gateway)).await.unwrap();
        let user = UserId::new(&user).unwrap();
        presence.register(&user, &device, &route(&gateway, number, 1), 1).await.unwrap();
        users.push(user);
    }
    let found = presence.lookup(&users).await.unwrap();
    let sessions: Vec<_> = found.iter().map(|routes| routes[0].1.session).collect();
    assert_eq!(sessions, (0..50).collect::<Vec<_>>());
    assert_eq!(presence.leases().await.unwrap().len(), 50);
    for (_, gateway) in each("gateway").take(6) {
        let mut controls = within(presence.listen(&gateway)).await.unwrap();
        is_heard(&presence, &gateway, &mut controls).await;
    }
}

/// One test, because the fail-over would disturb another.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-sentinel of scripts/services"]
async fn contract_behind_a_sentinel_and_after_its_master_has_died() {
    let settings = settings("REDIS_SENTINEL");
    check(&settings).await.unwrap();
    contract::run(&presence(own(settings.url.clone()))).await;

    let before = master(&settings).await;
    let presence = presence(settings.clone());
    let (mine, own) = (lease("gateway-1"), route("gateway-1", 1, 1));
    let (user, device) = names();
    let mut controls = within(presence.listen("gateway-1")).await.unwrap();
    presence.begin_lease(&mine).await.unwrap();
    presence.register(&user, &device, &own, 16).await.unwrap();
    let client = connected(&settings).await;
    // The answer is the end of the connection.
    let _ = client.shutdown(Some(ShutdownFlags::NoSave)).await;

    let is_there = async {
        while !matches!(presence.extend_lease(&mine).await, Ok(true)) {
            // What was written last may not have reached the other: then it begins anew, as in a gateway.
            let _ = presence.begin_lease(&mine).await;
        }
        presence.register(&user, &device, &own, 16).await.unwrap();
    };
    within(is_there).await;
    assert_ne!(master(&settings).await, before);
    assert_eq!(presence.lookup(&[user]).await.unwrap()[0][0].1, own);
    is_heard(&presence, "gateway-1", &mut controls).await;
}

async fn connected(settings: &Settings) -> Client {
    let client = settings.clients().unwrap().once().unwrap();
    client.init().await.unwrap();
    client
}

/// The port of the server that is written to.
async fn master(settings: &Settings) -> String {
    let info: String = connected(settings).await.info(Some(InfoKind::Server)).await.unwrap();
    info.lines().find(|line| line.starts_with("tcp_port:")).unwrap().to_owned()
}
