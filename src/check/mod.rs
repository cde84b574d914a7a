//! `tidegate check`: whether a role would start with a configuration, and what that configuration is.

mod backends;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::SystemTime;

use anyhow::Context as _;
use tidegate_certs::{Identity, Source};

use crate::cli::Check;
use crate::config::Config;
use crate::config::listen::QUIC;
use crate::data;
use crate::serve::unusable;

/// Prints the effective configuration after a line for each backend, or fails with what is wrong.
pub(crate) fn run(command: &Check) -> anyhow::Result<()> {
    let config = Config::load_for(command.role, &command.settings.sources())?;
    if command.role.has_gateway() {
        data::check(&config.data).context("data")?;
        if let Source::Files { chain, key } = config.tls.source(&config.data) {
            Identity::load(&chain, &key, SystemTime::now()).context("tls")?;
        }
    }
    for (key, endpoint) in config.listen.endpoints(command.role) {
        for address in endpoint.addresses() {
            probe(key, address)?;
        }
    }
    config.rpc.security()?;
    backends::check(&config, command.role)?;
    if command.role.has_gateway() {
        let is_development = config.is_development();
        println!("# {}", if is_development { "development mode: no [auth]" } else { "users are verified" });
    }
    print!("{}", toml::to_string(&config).context("the configuration cannot be printed")?);
    Ok(())
}

/// Binds an address for a moment, as serving would.
fn probe(key: &str, address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map_err(|error| unusable(key, "TCP", address, &error))?;
    if key == QUIC {
        UdpSocket::bind(address).map_err(|error| unusable(key, "UDP", address, &error))?;
    }
    Ok(())
}
