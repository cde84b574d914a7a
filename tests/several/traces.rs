//! One trace of a message, through the gateway that takes it, the pipeline, and the gateway that delivers it.

use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::collector::collect;
use crate::{Cluster, LIMIT, stop};

#[tokio::test]
#[ignore = "needs Kafka, Redis and PostgreSQL: scripts/test services"]
async fn a_message_is_one_trace_through_three_processes() {
    let cluster = Cluster::new(true).await;
    // A collector for each, so that it is known whose spans they are.
    let (first, mut of_first) = traced();
    let (second, mut of_second) = traced();
    let (pipeline, mut of_pipeline) = traced();
    let pipeline = cluster.pipeline_with("pipeline", &pipeline).await;
    let one = cluster.gateway_with("gateway", "one", &first).await;
    let two = cluster.gateway_with("gateway", "two", &second).await;
    pipeline.shows("tidegate_kafka_partitions_held 4").await;
    let alice = cluster.connect(&one, "alice", "phone").await;
    let mut bob = cluster.connect(&two, "bob", "phone").await;
    alice.send("bob", "hello").await;
    assert_eq!(bob.text().await, "hello");

    let [send] = spans(&mut of_first, ["send"]).await;
    let [store, push] = spans(&mut of_pipeline, ["store", "push"]).await;
    let [deliver] = spans(&mut of_second, ["deliver"]).await;
    assert!(send.parent_span_id.is_empty(), "the trace begins here");
    let mut before = send.start_time_unix_nano;
    for span in [store, push, deliver] {
        assert_eq!(span.trace_id, send.trace_id, "{}", span.name);
        assert_eq!(span.parent_span_id, send.span_id, "{}", span.name);
        assert!(span.start_time_unix_nano >= before, "{} begins too early", span.name);
        before = span.start_time_unix_nano;
    }
    stop([one, two, pipeline]).await;
}

/// The settings of a process that sends every span to a collector of its own.
fn traced() -> ([String; 2], Receiver<Vec<Span>>) {
    let (address, spans) = collect();
    (["trace.sample_ratio=1".to_owned(), format!("trace.otlp_endpoint=http://{address}")], spans)
}

/// The spans of a process, which are these and no others.
async fn spans<const N: usize>(exported: &mut Receiver<Vec<Span>>, names: [&str; N]) -> [Span; N] {
    let mut found = Vec::new();
    while found.len() < N {
        found.extend(timeout(LIMIT, exported.recv()).await.expect("spans").expect("a collector"));
    }
    assert_eq!(found.len(), N, "{found:?}");
    names.map(|name| found.iter().find(|span| span.name == name).expect(name).clone())
}
