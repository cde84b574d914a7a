//! Opens a connection over WebTransport.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Link;
use super::inbound::Incoming;
use super::streams::{Connection, Outgoing, Streams};
use crate::config::BoxError;
use crate::endpoint::Endpoint;
use crate::trust::Trust;

/// Connects to `https://{name}/wt` at `address` and opens the control stream.
pub(crate) async fn open(
    endpoint: Endpoint,
    trust: Trust,
    address: SocketAddr,
    name: String,
) -> Result<Link, BoxError> {
    let dialer = endpoint.web_transport(&trust, &name, address)?;
    let connection = Arc::new(dialer.connect(url(&name, address)).await?);
    let (send, receive) = connection.open_bi().await?.await?;
    let connection = Connection::WebTransport(connection);
    let streams = Streams::new(connection, Outgoing::WebTransport(send), Incoming::WebTransport(receive));
    Ok(Link::Streams(Box::new(streams)))
}

fn url(name: &str, address: SocketAddr) -> String {
    // wtransport dials the address in the URL when there is one: a name that is an address must be the right one.
    let host =
        if name.parse::<std::net::IpAddr>().is_ok() { address.ip().to_string() } else { name.to_owned() };
    let port = address.port();
    if host.contains(':') {
        format!("https://[{host}]:{port}/wt")
    } else {
        format!("https://{host}:{port}/wt")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let v4 = "127.0.0.1:4433".parse().unwrap();
        let v6 = "[::1]:4433".parse().unwrap();
        assert_eq!(url("example.org", v4), "https://example.org:4433/wt");
        assert_eq!(url("127.0.0.1", v4), "https://127.0.0.1:4433/wt");
        assert_eq!(url("::1", v6), "https://[::1]:4433/wt");
    }
}
