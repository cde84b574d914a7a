//! One trace of a message, from the client's frame to the delivery, as a collector gets it.

use std::collections::HashMap;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tidegate_client::Transport;
use tokio::sync::mpsc;
use tonic::transport::Server as Collector;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::peer::{Peer, spawn, within};
use crate::server::Server;

over_each_transport!(a_message_is_one_trace);

async fn a_message_is_one_trace(transport: Transport) {
    let (address, mut exported) = collect();
    let endpoint = format!("trace.otlp_endpoint=http://{address}");
    let server = Server::start_with(&[], &[&endpoint, "trace.sample_ratio=1"]).await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    alice.store("bob", "hello").await;
    assert_eq!(bob.text().await, "hello");

    let mut spans = HashMap::new();
    while spans.len() < STEPS.len() {
        for span in within(exported.recv()).await.unwrap() {
            assert!(spans.insert(span.name.clone(), span).is_none(), "each step once");
        }
    }
    let first = &spans["send"];
    assert!(first.parent_span_id.is_empty(), "the trace begins here");
    let message = first.attributes.iter().find(|attribute| attribute.key == "messaging.message.id");
    assert!(message.is_some(), "it names the message: {first:?}");
    for (name, span) in &spans {
        assert!(STEPS.contains(&&**name), "{name}");
        assert_eq!(span.trace_id, first.trace_id, "{name} belongs to it");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        if name != "send" {
            assert_eq!(span.parent_span_id, first.span_id, "{name}");
        }
    }
}

/// What is done for a message.
const STEPS: [&str; 4] = ["send", "store", "push", "deliver"];

/// A collector, and the spans as they come.
fn collect() -> (SocketAddr, mpsc::Receiver<Vec<Span>>) {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    let (exported, spans) = mpsc::channel(64);
    let service = TraceServiceServer::new(Spans(exported));
    spawn(Collector::builder().add_service(service).serve_with_incoming(incoming));
    (address, spans)
}

struct Spans(mpsc::Sender<Vec<Span>>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.0.send(spans.collect()).await.map_err(|_| Status::cancelled("the test has ended"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
