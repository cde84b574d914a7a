//! The edge: transports, sessions, feeds, the hub that joins them, and the listeners (ARCHITECTURE.md).

#![warn(missing_docs)]

pub mod admission;
pub mod auth;
pub mod burst;
mod channels;
pub mod feed;
pub mod gateway;
pub mod http;
pub mod hub;
pub mod metrics;
pub mod origin;
mod quoted;
pub mod rpc;
mod session;
pub mod settings;
pub mod transport;
