//! The TLS configurations of a server that serves a [`CertResolver`]'s identity. Knows no sockets.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::CertResolver;

/// For QUIC: TLS 1.3 with the given ALPN protocols, the preferred first. A client that offers none of them is refused.
pub fn quic(resolver: Arc<CertResolver>, alpn: &[&[u8]]) -> ServerConfig {
    let mut config = config(resolver, alpn, &[&TLS13]);
    // 0-RTT is off: whoever records early data can send it again, and a Hello sent again would take the device's place
    // in presence. The round trip it saves is only that of a resumption. (QUIC allows 0 and u32::MAX here: RFC 9001,
    // section 4.6.1.)
    config.max_early_data_size = 0;
    config
}

/// For TLS over TCP: TLS 1.2 and 1.3 with the given ALPN protocols, the preferred first. A client that offers only
/// others is refused, one that offers none is served.
pub fn tcp(resolver: Arc<CertResolver>, alpn: &[&[u8]]) -> ServerConfig {
    config(resolver, alpn, &[&TLS13, &TLS12])
}

fn config(
    resolver: Arc<CertResolver>,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    // Named, since the process default is a panic when a second provider is in the tree.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has cipher suites of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

#[cfg(test)]
mod tests;
