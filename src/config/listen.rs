//! `[listen]`: where clients and operators come in.

use anyhow::anyhow;

use super::endpoint::Endpoint;
use super::list::List;
use super::origin::Origin;
use super::role::Role;
use super::section::{Invalid, section};

section! {
    /// Addresses, each one or a list of `IP:port`, `[IPv6]:port` or `localhost:port`; an empty list: none.
    Listen {
        /// QUIC and WebTransport on UDP, HTTPS and wss on TCP, on the same number.
        quic: List<Endpoint> = vec![Endpoint::Localhost { port: 4433 }].into(),
        /// Plain HTTP and ws: the demo page and the JSON API.
        http: List<Endpoint> = vec![Endpoint::Localhost { port: 8080 }].into(),
        /// Health, readiness and metrics.
        admin: List<Endpoint> = vec![Endpoint::Address(([127, 0, 0, 1], 9464).into())].into(),
        /// Links from pushers of other processes, and services for backends, over gRPC.
        grpc: List<Endpoint> = vec![Endpoint::Address(([127, 0, 0, 1], 50_051).into())].into(),
        /// How clients reach the `quic` address from outside, as `https://host:port`; empty: as they came.
        public_urls: List<Origin> = List::default(),
        /// Origins whose pages may connect, besides the server's own addresses; exact.
        allowed_origins: List<Origin> = List::default(),
    }
}

impl Listen {
    /// Every address that a process of the role binds, with the key it comes from.
    pub(crate) fn endpoints(&self, role: Role) -> impl Iterator<Item = (&'static str, Endpoint)> {
        let each = |key, list: &List<Endpoint>| list.iter().map(move |one| (key, *one)).collect::<Vec<_>>();
        let clients = if role.has_gateway() {
            [each(QUIC, &self.quic), each(HTTP, &self.http)]
        } else {
            Default::default()
        };
        clients.into_iter().chain([each(ADMIN, &self.admin), each(GRPC, &self.grpc)]).flatten()
    }

    /// Where clients reach this gateway from outside, as `host:port`; `None`: it does not say.
    pub(crate) fn public(&self) -> Option<String> {
        let authority = self.public_urls.first()?.as_str().strip_prefix("https://")?;
        // Within the brackets of an IPv6 address there is no port.
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        Some(if has_port { authority.to_owned() } else { format!("{authority}:443") })
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        match self.public_urls.iter().find(|url| !url.as_str().starts_with("https://")) {
            Some(url) => Err(Invalid::new("listen.public_urls", anyhow!("{url} must begin with https://"))),
            None => Ok(()),
        }
    }

    /// Whether a process of the role can listen on all of them together.
    pub(super) fn validate_for(&self, role: Role) -> Result<(), Invalid> {
        if role.has_gateway() && self.quic.is_empty() && self.http.is_empty() {
            return Err(Invalid::new(
                QUIC,
                anyhow!("no client could come in: give listen.quic or listen.http"),
            ));
        }
        let mut seen: Vec<(&str, std::net::SocketAddr)> = Vec::new();
        for (key, endpoint) in self.endpoints(role) {
            for address in endpoint.addresses().into_iter().filter(|address| address.port() != 0) {
                if let Some((other, _)) = seen.iter().find(|(_, used)| *used == address) {
                    return Err(Invalid::new(key, anyhow!("{other} has {address} already")));
                }
                seen.push((key, address));
            }
        }
        Ok(())
    }
}

pub(crate) const QUIC: &str = "listen.quic";
pub(crate) const HTTP: &str = "listen.http";
pub(crate) const ADMIN: &str = "listen.admin";
pub(crate) const GRPC: &str = "listen.grpc";
