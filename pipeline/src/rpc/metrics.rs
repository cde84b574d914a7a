//! What is counted of gRPC. The names and what they mean stand in docs/OPERATIONS.md.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::metrics::Counters;

/// The metrics of the gRPC server. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Live connections.
    pub(super) connections: Gauge,
    /// Of connections: refused, since there are too many.
    pub(super) full: Counter,
    refused: Counters,
    requests: Counters,
}

impl Default for Metrics {
    fn default() -> Self {
        let (refused, requests) = (Counters::default(), Counters::default());
        // Shown from the start.
        drop(requests.get_or_create(&[("code", name(Code::Ok))]));
        Self {
            connections: Gauge::default(),
            full: refused.get_or_create_owned(&[("reason", "full")]),
            refused,
            requests,
        }
    }
}

impl Metrics {
    /// Makes them part of what is shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("rpc_connections", "Live connections of gRPC", self.connections.clone());
        registry.register("rpc_refused", "Connections of gRPC refused, by reason", self.refused.clone());
        registry.register("rpc_requests", "Requests of gRPC, by code", self.requests.clone());
    }

    /// A request was answered, or a stream began.
    pub(super) fn answered(&self, code: Code) {
        self.requests.get_or_create(&[("code", name(code))]).inc();
    }

    /// Requests answered so far with that code.
    pub fn requests(&self, code: Code) -> u64 {
        self.requests.get_or_create(&[("code", name(code))]).get()
    }
}

/// As gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
