//! Certificates: load, reload, the development certificate, fingerprints. Knows neither sockets nor sessions.
//!
//! A server opens a [`CertResolver`] on its [`Source`], gives it to [`tls::quic`] and [`tls::tcp`], and spawns
//! [`watch()`]. All of it uses the provider aws-lc-rs by name, never the process default, and takes the time as an
//! argument; only [`watch()`] looks at the clock.

#![warn(missing_docs)]

pub mod development;
mod error;
mod fingerprint;
mod identity;
mod pem;
mod resolver;
#[cfg(test)]
mod tests;
pub mod tls;
mod watch;

pub use error::LoadError;
pub use fingerprint::{Fingerprint, ParseError};
pub use identity::Identity;
pub use resolver::{CertResolver, Reload, Source, SourceError};
pub use watch::watch;
