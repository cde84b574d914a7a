//! The QUIC edge: one UDP socket that serves raw QUIC (ALPN `tidegate/1`) and WebTransport (ALPN `h3`).
//!
//! [`bind`] makes a socket speak QUIC, [`serve`] accepts on it. What a connection needs before it is a session is
//! set up here and in [`super::webtransport`]; both end in the same [`Streams`].

mod config;
mod extra;
mod listener;
mod outbox;
mod raw;
mod streams;
mod unproven;
mod writer;

pub use config::{ConfigError, Edge, Keys, bind};
pub use listener::{Counters, Limits, Listener, OriginCheck, serve};
pub use streams::Streams;

pub(super) use extra::{Budget, refuse};
pub(super) use listener::Permit;
pub(super) use streams::{Dialect, Ended};

use tidegate_proto::v1::CloseCode;

/// A code of the wire as QUIC's application error code.
pub(super) fn error_code(code: CloseCode) -> quinn::VarInt {
    quinn::VarInt::from_u32(code as u32)
}

#[cfg(test)]
pub(crate) mod tests;
