//! A collector of traces: takes spans by OTLP, as they come.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::mpsc;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Its address, and the spans.
#[expect(clippy::disallowed_methods, reason = "it lives as long as the test")]
pub(crate) fn collect() -> (SocketAddr, mpsc::Receiver<Vec<Span>>) {
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    let (exported, spans) = mpsc::channel(64);
    let service = TraceServiceServer::new(Spans(exported));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
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
