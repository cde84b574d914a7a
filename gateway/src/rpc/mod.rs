//! The gateway's gRPC services (docs/GRPC.md); the server they stand in is the pipeline's.

pub mod admin;
mod passing;
