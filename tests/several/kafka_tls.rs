//! Kafka over TLS, with a user and a password.

use std::fs;
use std::path::Path;

use tokio::time::timeout;

use crate::{Cluster, LIMIT, stop};

#[tokio::test]
#[ignore = "needs kafka-tls, Redis and PostgreSQL: scripts/test kafka_tls"]
async fn messages_go_by_a_kafka_that_asks_who_calls() {
    let mut cluster = Cluster::on(Some("KAFKA_TLS")).await;
    let folder = std::env::var("TIDEGATE_TEST_SERVICES").expect("the folder of scripts/services");
    let properties = fs::read_to_string(Path::new(&folder).join("kafka-tls/client.properties")).unwrap();
    let properties = properties.lines().collect::<Vec<_>>().join(",");

    let wrong = format!("kafka.properties={}", properties.replace("sasl.password=", "sasl.password=not-"));
    cluster.settings.push(wrong);
    let refused = refused(&cluster).await;
    assert!(
        refused.contains("no broker of kafka.brokers") && refused.contains("Authentication"),
        "{refused}"
    );

    *cluster.settings.last_mut().unwrap() = format!("kafka.properties={properties}");
    let pipeline = cluster.pipeline("pipeline").await;
    let one = cluster.gateway("gateway", "one").await;
    pipeline.shows("tidegate_kafka_partitions_held 4").await;
    let said = cluster.check("pipeline").await;
    assert!(said.contains("4 partitions of"), "{said}");
    let alice = cluster.connect(&one, "alice", "phone").await;
    let mut bob = cluster.connect(&one, "bob", "phone").await;
    alice.send("bob", "hello").await;
    assert_eq!(bob.text().await, "hello");
    stop([one, pipeline]).await;
}

/// What `check` has against the settings.
async fn refused(cluster: &Cluster) -> String {
    let settings = cluster.settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<_> = ["check", "--role", "pipeline"].into_iter().chain(settings).collect();
    let output = timeout(LIMIT, cluster.program(&arguments).output()).await.expect("it ends").unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}
