//! What travels between tidegate and its clients: messages, frames, ids, codes, limits, framing. No IO, no clock.
//!
//! The types of the wire are generated from `proto/tidegate/v1/*.proto` into [`v1`]; their text is the reference.

#![warn(missing_docs)]

pub mod deliver;
pub mod framing;
pub mod id;
pub mod json;
pub mod limits;
pub mod message;
pub mod pattern;
pub mod timeline;

/// The generated types of the client protocol `tidegate/1`.
#[allow(clippy::pedantic, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/tidegate.v1.rs"));
}

mod code;
mod one_of;

pub use code::Refusal;

/// The ALPN of raw QUIC.
pub const ALPN: &[u8] = b"tidegate/1";
/// The WebSocket subprotocol of binary frames.
pub const SUBPROTOCOL: &str = "tidegate.v1";
/// The WebSocket subprotocol of JSON frames.
pub const SUBPROTOCOL_JSON: &str = "tidegate.v1.json";
