//! The edge: transports, sessions, feeds, the hub that joins them, and the listeners (DESIGN sections 6 to 8).

#![warn(missing_docs)]

pub mod auth;
pub mod http;
pub mod origin;
pub mod transport;
