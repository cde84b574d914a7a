//! `[gateway]`: who this process is to others, and where they reach it; a pipeline too has these.

use std::net::{IpAddr, SocketAddr};

use anyhow::anyhow;

use super::section::{Invalid, section};

section! {
    /// Of importance only where several processes share presence.
    Gateway {
        /// The process's id; empty: drawn once and kept in the data folder, or by a pipeline at each start.
        id: String = String::new(),
        /// `host:port` under which other processes reach `listen.grpc`; empty: the first address of that.
        advertise: String = String::new(),
    }
}

impl Gateway {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.id.len() > MAX_ID_BYTES || !self.id.bytes().all(is_id) {
            let text = "it has at most 64 letters, digits, hyphens, dots and underscores";
            return Err(Invalid::new("gateway.id", anyhow!("{:?}: {text}", self.id)));
        }
        if self.advertise.is_empty() {
            return Ok(());
        }
        let Some((host, port)) = self.advertise.rsplit_once(':') else {
            return Err(wrong(anyhow!("{:?} is no host:port", self.advertise)));
        };
        // A port is the system's only where it listens.
        if host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(wrong(anyhow!("{:?} is no host:port", self.advertise)));
        }
        match self.advertise.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_unspecified() => Err(wrong(unreachable(address.ip()))),
            Err(_) if host.contains(['[', ']', ':', '/', '@']) => {
                Err(wrong(anyhow!("{:?} is no host:port", self.advertise)))
            }
            _ => Ok(()),
        }
    }
}

/// An address that this machine listens on, and nobody can call.
pub(super) fn unreachable(address: IpAddr) -> anyhow::Error {
    anyhow!(
        "{address} is every address of this machine, which nobody can call: give one by which others reach it"
    )
}

fn wrong(problem: anyhow::Error) -> Invalid {
    Invalid::new(ADVERTISE, problem)
}

pub(super) const ADVERTISE: &str = "gateway.advertise";
const MAX_ID_BYTES: usize = 64;
