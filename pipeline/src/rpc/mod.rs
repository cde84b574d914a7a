//! gRPC between the processes, and for backends and operators (docs/GRPC.md): the server with its security, and the
//! services that need log, store and presence only. Those of a gateway stand in its own crate.

pub mod broadcast;
pub mod chat;
pub mod db;
mod gateways;
mod guard;
mod incoming;
pub mod metrics;
pub mod push;
pub mod registry;
pub mod security;
pub mod server;
pub mod status;
pub mod volatile;

#[cfg(test)]
mod tests;

pub use self::metrics::Metrics;
pub use self::security::Security;
pub use self::server::{Health, Server};

/// The generated services of package `tidegate.v1`; their text is `proto/proto/tidegate/v1/*.proto`.
#[allow(clippy::pedantic, missing_docs, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("tidegate.v1");
}
