//! Binds every listener before anything else is done, so that a port in use is the first thing said.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tidegate_certs::Identity;
use tokio::net::{TcpListener, TcpSocket};
use tracing::info;

use crate::config::endpoint::Endpoint;
use crate::config::listen::{self, Listen};
use crate::config::{Config, Role};

/// The sockets, bound and not yet served.
#[derive(Debug)]
pub(super) struct Bound {
    /// For clients; none without a gateway.
    pub(super) clients: Clients,
    /// Health, readiness and metrics.
    pub(super) admin: Vec<TcpListener>,
    /// Links and services.
    pub(super) grpc: Vec<TcpListener>,
}

/// Where clients come in.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// HTTP and ws.
    pub(super) plain: Vec<TcpListener>,
    /// HTTPS and wss, of the same numbers as `udp`.
    pub(super) secure: Vec<TcpListener>,
    /// QUIC and WebTransport.
    pub(super) udp: Vec<UdpSocket>,
}

impl Bound {
    /// Binds what is configured for the role.
    pub(super) fn bind(listen: &Listen, role: Role) -> anyhow::Result<Self> {
        let clients = if role.has_gateway() { Clients::bind(listen)? } else { Clients::default() };
        let (admin, grpc) = (all(&listen.admin, listen::ADMIN)?, all(&listen.grpc, listen::GRPC)?);
        Ok(Self { clients, admin, grpc })
    }

    /// The first address for links and services.
    pub(super) fn grpc_address(&self) -> Option<SocketAddr> {
        addresses(&self.grpc).next()
    }

    /// Says in the log where everything is.
    pub(super) fn log(&self) {
        let Clients { plain, secure, udp } = &self.clients;
        let listeners =
            [("http and ws", plain), ("https and wss", secure), ("admin", &self.admin), ("grpc", &self.grpc)];
        for (what, listeners) in listeners {
            addresses(listeners).for_each(|address| info!(%address, what, "listening"));
        }
        for address in udp.iter().filter_map(|socket| socket.local_addr().ok()) {
            info!(%address, what = "quic and webtransport", "listening");
        }
    }

    /// Says on standard output where everything is; `identity` is the certificate for clients.
    #[expect(clippy::print_stdout, reason = "what a newcomer reads first, and scripts parse")]
    pub(super) fn announce(&self, config: &Config, role: Role, id: &str, identity: Option<&Identity>) {
        println!("tidegate {}", env!("CARGO_PKG_VERSION"));
        if role != Role::Serve {
            println!("  {:<12} {id}", role.name());
        }
        if let Some(port) = self.clients.plain_ports().first() {
            println!("  demo         http://localhost:{port}");
        }
        for socket in &self.clients.udp {
            if let Ok(address) = socket.local_addr() {
                println!("  quic         {address}");
            }
        }
        if let Some(port) = self.clients.secure_ports().first() {
            println!("  webtransport https://127.0.0.1:{port}/wt");
            println!("  websocket    wss://127.0.0.1:{port}/ws");
        }
        for address in addresses(&self.admin) {
            println!("  admin        http://{address}");
        }
        for address in addresses(&self.grpc) {
            println!("  grpc         {address}");
        }
        if let Some(identity) = identity {
            println!("  certificate  sha256 {}", identity.sha256());
            println!("  data         {}", config.data.display());
        }
        if role.has_gateway() && config.is_development() {
            println!("  a token      tidegate token --user alice");
        }
    }
}

impl Clients {
    fn bind(listen: &Listen) -> anyhow::Result<Self> {
        let mut clients = Self { plain: all(&listen.http, listen::HTTP)?, ..Self::default() };
        for address in listen.quic.iter().flat_map(|endpoint| endpoint.addresses()) {
            let (tcp, udp) = both(address)?;
            clients.secure.push(tcp);
            clients.udp.push(udp);
        }
        Ok(clients)
    }

    /// The ports of HTTP and ws.
    pub(super) fn plain_ports(&self) -> Vec<u16> {
        ports(&self.plain)
    }

    /// The first address of HTTP and ws; empty if there is none.
    pub(super) fn plain_address(&self) -> Arc<str> {
        addresses(&self.plain).next().map(|address| address.to_string()).unwrap_or_default().into()
    }

    /// The ports of QUIC, WebTransport, HTTPS and wss.
    pub(super) fn secure_ports(&self) -> Vec<u16> {
        ports(&self.secure)
    }

    /// Where the demo connects: (WebTransport, WebSocket). Chromium reaches WebTransport on localhost only by ::1, so
    /// the address is named.
    pub(super) fn demo_urls(&self) -> (String, String) {
        let first = |ports: Vec<u16>| ports.first().copied().unwrap_or_default();
        let webtransport = format!("https://127.0.0.1:{}/wt", first(self.secure_ports()));
        let websocket = format!("ws://localhost:{}/ws", first(self.plain_ports()));
        (webtransport, websocket)
    }
}

/// Every address of a list.
fn all(list: &[Endpoint], key: &str) -> anyhow::Result<Vec<TcpListener>> {
    list.iter().flat_map(|endpoint| endpoint.addresses()).map(|address| tcp(address, key)).collect()
}

/// TCP and UDP on one number. With port 0 the system picks TCP's, and another one while somebody has UDP's.
fn both(address: SocketAddr) -> anyhow::Result<(TcpListener, UdpSocket)> {
    let mut tries = if address.port() == 0 { PICKS } else { 1 };
    loop {
        let tcp = tcp(address, listen::QUIC)?;
        let picked = tcp.local_addr().context(listen::QUIC)?;
        tries -= 1;
        match UdpSocket::bind(picked) {
            Ok(udp) => return Ok((tcp, udp)),
            Err(_) if tries > 0 => {}
            Err(error) => return Err(unusable(listen::QUIC, "UDP", picked, &error)),
        }
    }
}

/// Connections that the system has and we have not taken yet; it may allow fewer. One that finds no room is tried again
/// by its client a second later, so this is as many as come at once when everybody comes back.
const BACKLOG: u32 = 4_096;
/// How many numbers are tried.
const PICKS: u32 = 16;

fn tcp(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart does not wait for the last connections of the life before to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| unusable(key, "TCP", address, &error))
}

/// What is wrong with the address of a setting, and what to do.
pub(crate) fn unusable(key: &str, protocol: &str, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; stop what listens there, or choose another address: --set {key}=IP:PORT")
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege".to_owned(),
        _ => String::new(),
    };
    anyhow!("{key}: cannot listen on {address} ({protocol}): {error}{hint}")
}

fn ports(listeners: &[TcpListener]) -> Vec<u16> {
    addresses(listeners).map(|address| address.port()).collect()
}

fn addresses(listeners: &[TcpListener]) -> impl Iterator<Item = SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok())
}
