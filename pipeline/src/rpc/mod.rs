//! gRPC between the processes, and for backends (ARCHITECTURE.md "Presence and links").

/// The generated services of package `tidegate.v1`; their text is `proto/proto/tidegate/v1/*.proto`.
#[allow(clippy::pedantic, missing_docs, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("tidegate.v1");
}
