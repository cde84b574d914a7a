//! Opens connections: resolves names, races transports and addresses. It does not know what is said on them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::{BoxError, Config, Transport};
use crate::endpoint::Endpoint;
use crate::read_rate::{ReadRate, Throttle};
use crate::stagger::first_success;
use crate::transport::{self, Link};
use crate::trust::Trust;

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {transport} to {server}")]
pub struct OpenError {
    /// Over what.
    pub transport: Transport,
    /// To which server, `host:port`.
    pub server: String,
    /// What went wrong.
    #[source]
    pub source: BoxError,
}

/// Opens connections for one client.
#[derive(Debug)]
pub(crate) enum Dialer {
    /// Over the network.
    Network(Network),
    /// To whoever holds the other end.
    #[cfg(test)]
    Scripted(tokio::sync::mpsc::Sender<tokio::io::DuplexStream>),
}

#[derive(Debug)]
pub(crate) struct Network {
    endpoint: Endpoint,
    trust: Trust,
    server_name: Option<String>,
    plain_websocket: bool,
    read_rate: Option<ReadRate>,
}

impl Dialer {
    pub(crate) fn network(config: &Config) -> Self {
        Self::Network(Network {
            endpoint: config.endpoint.clone().unwrap_or_else(|| Endpoint::new(config.bind)),
            trust: config.trust.clone(),
            server_name: config.server_name.clone(),
            plain_websocket: config.plain_websocket,
            read_rate: config.read_rate.clone(),
        })
    }

    /// The sockets of QUIC.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Network(network) => Some(network.endpoint.clone()),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }

    /// Races `transports` to `server`, in their order; `None` without one.
    pub(crate) async fn open(
        &self,
        server: &str,
        transports: &[Transport],
    ) -> Option<Result<(Transport, Link), OpenError>> {
        let attempts = transports.iter().copied().map(|transport| self.attempt(server, transport));
        first_success(attempts, TRANSPORT_STAGGER).await
    }

    async fn attempt(&self, server: &str, transport: Transport) -> Result<(Transport, Link), OpenError> {
        let opened = match self {
            Self::Network(network) => timeout(OPEN_LIMIT, network.open(server, transport)).await,
            #[cfg(test)]
            Self::Scripted(peer) => Ok(scripted(peer).await),
        };
        match opened.unwrap_or_else(|_| Err("no connection in time".into())) {
            Ok(mut link) => {
                if let Some(rate) = self.read_rate() {
                    link.throttle(Throttle::new(rate));
                }
                Ok((transport, link))
            }
            Err(source) => Err(OpenError { transport, server: server.to_owned(), source }),
        }
    }

    fn read_rate(&self) -> Option<ReadRate> {
        match self {
            Self::Network(network) => network.read_rate.clone(),
            #[cfg(test)]
            Self::Scripted(_) => None,
        }
    }
}

impl Network {
    async fn open(&self, server: &str, transport: Transport) -> Result<Link, BoxError> {
        let host = host(server);
        let name = self.server_name.clone().unwrap_or_else(|| host.to_owned());
        match transport {
            Transport::WebSocket => {
                let tcp = transport::open_tcp(server, self.read_rate.is_some()).await?;
                if self.plain_websocket {
                    return transport::open_web_socket(tcp, server).await;
                }
                let tls = self.endpoint.tls(&self.trust)?.web_socket.clone();
                transport::open_web_socket_tls(tcp, server, name, tls).await
            }
            Transport::Quic => {
                let open = |address| {
                    transport::open_quic(self.endpoint.clone(), self.trust.clone(), address, name.clone())
                };
                first_success(resolve(server).await?.into_iter().map(open), ADDRESS_STAGGER)
                    .await
                    .unwrap_or_else(|| Err("the name has no address".into()))
            }
            Transport::WebTransport => {
                let open = |address| {
                    transport::open_web_transport(
                        self.endpoint.clone(),
                        self.trust.clone(),
                        address,
                        name.clone(),
                    )
                };
                first_success(resolve(server).await?.into_iter().map(open), ADDRESS_STAGGER)
                    .await
                    .unwrap_or_else(|| Err("the name has no address".into()))
            }
        }
    }
}

async fn resolve(server: &str) -> Result<Vec<SocketAddr>, BoxError> {
    Ok(tokio::net::lookup_host(server).await?.take(MAX_ADDRESSES).collect())
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
async fn scripted(peer: &tokio::sync::mpsc::Sender<tokio::io::DuplexStream>) -> Result<Link, BoxError> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    peer.send(theirs).await?;
    Ok(transport::web_socket_over(ours))
}

/// How long the opening of one transport may take: several losses on a slow path.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// WebSocket starts so long after the transport over UDP (docs/PROTOCOL.md "Transports").
const TRANSPORT_STAGGER: Duration = Duration::from_millis(500);
/// RFC 8305, section 5.
const ADDRESS_STAGGER: Duration = Duration::from_millis(250);
/// The addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("example.org:4433"), "example.org");
        assert_eq!(host("127.0.0.1:4433"), "127.0.0.1");
        assert_eq!(host("[::1]:4433"), "::1");
    }
}
