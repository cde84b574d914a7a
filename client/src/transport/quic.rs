//! Opens a connection over raw QUIC.

use std::net::SocketAddr;

use super::Link;
use super::inbound::Incoming;
use super::streams::{Connection, Outgoing, Streams};
use crate::config::BoxError;
use crate::endpoint::Endpoint;
use crate::trust::Trust;

/// Connects to `address`, whose certificate is for `name`, and opens the control stream.
pub(crate) async fn open(
    endpoint: Endpoint,
    trust: Trust,
    address: SocketAddr,
    name: String,
) -> Result<Link, BoxError> {
    let tls = endpoint.tls(&trust)?;
    let connection = endpoint.quic(address)?.connect_with(tls.quic.clone(), address, &name)?.await?;
    let (send, receive) = connection.open_bi().await?;
    let streams = Streams::new(Connection::Quic(connection), Outgoing::Quic(send), Incoming::Quic(receive));
    Ok(Link::Streams(Box::new(streams)))
}
