//! Behind the edge: the log that accepts messages, the sequencer that puts them in order, the store that keeps them,
//! presence, and the pusher that hands them to the gateways that hold a recipient (ARCHITECTURE.md).

#![warn(missing_docs)]

pub mod body;
pub mod channels;
pub mod history;
pub mod log;
pub mod metrics;
pub mod presence;
pub mod pusher;
pub mod record;
pub mod rpc;
mod seldom;
pub mod sequencer;
pub mod store;
pub mod submit;
pub mod trace;
pub mod volatile;
