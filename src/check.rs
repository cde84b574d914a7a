//! `tidegate check`: whether `serve` would start with a configuration, and what that configuration is.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::SystemTime;

use anyhow::Context as _;
use tidegate_certs::{Identity, Source};

use crate::cli::Settings;
use crate::config::Config;
use crate::config::listen::QUIC;
use crate::data;

/// Prints the effective configuration, or fails with the first thing that is wrong.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let config = Config::load(&settings.sources())?;
    data::check(&config.data).context("data")?;
    if let Source::Files { chain, key } = config.tls.source(&config.data) {
        Identity::load(&chain, &key, SystemTime::now()).context("tls")?;
    }
    for (key, endpoint) in config.listen.endpoints() {
        for address in endpoint.addresses() {
            probe(address, key == QUIC).with_context(|| key.to_owned())?;
        }
    }
    let mode = if config.is_development() { "development mode: no [auth]" } else { "users are verified" };
    println!("# {mode}");
    print!("{}", toml::to_string(&config).context("the configuration cannot be printed")?);
    Ok(())
}

/// Binds an address for a moment, as serving would.
fn probe(address: SocketAddr, with_udp: bool) -> anyhow::Result<()> {
    // The same number must be free for both, and port 0 is picked by TCP.
    let tcp = TcpListener::bind(address).with_context(|| unusable(address, "TCP"))?;
    if with_udp {
        let bind = || -> io::Result<UdpSocket> { UdpSocket::bind(tcp.local_addr()?) };
        bind().with_context(|| unusable(address, "UDP"))?;
    }
    Ok(())
}

fn unusable(address: SocketAddr, protocol: &str) -> String {
    format!("{address} ({protocol}) cannot be listened on")
}
