//! `[listen]`: where clients and operators come in.

use anyhow::anyhow;

use super::endpoint::Endpoint;
use super::list::List;
use super::origin::Origin;
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
        /// How clients reach the `quic` address from outside, as `https://host:port`; empty: as they came.
        public_urls: List<Origin> = List::default(),
        /// Origins whose pages may connect, besides the server's own addresses; exact.
        allowed_origins: List<Origin> = List::default(),
    }
}

impl Listen {
    /// Every address with the key it comes from.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&'static str, Endpoint)> {
        let each = |key, list: &List<Endpoint>| list.iter().map(move |one| (key, *one)).collect::<Vec<_>>();
        let all = [each(QUIC, &self.quic), each(HTTP, &self.http), each(ADMIN, &self.admin)];
        all.into_iter().flatten()
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if self.quic.is_empty() && self.http.is_empty() {
            return Err(Invalid::new(
                QUIC,
                anyhow!("no client could come in: give listen.quic or listen.http"),
            ));
        }
        let mut seen: Vec<(&str, std::net::SocketAddr)> = Vec::new();
        for (key, endpoint) in self.endpoints() {
            for address in endpoint.addresses().into_iter().filter(|address| address.port() != 0) {
                if let Some((other, _)) = seen.iter().find(|(_, used)| *used == address) {
                    return Err(Invalid::new(key, anyhow!("{other} has {address} already")));
                }
                seen.push((key, address));
            }
        }
        match self.public_urls.iter().find(|url| !url.as_str().starts_with("https://")) {
            Some(url) => Err(Invalid::new("listen.public_urls", anyhow!("{url} must begin with https://"))),
            None => Ok(()),
        }
    }
}

pub(crate) const QUIC: &str = "listen.quic";
const HTTP: &str = "listen.http";
const ADMIN: &str = "listen.admin";
