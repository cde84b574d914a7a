//! An address to listen on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

use anyhow::Context as _;
use serde::{Serialize, Serializer};

/// `IP:port`, `[IPv6]:port`, or `localhost:port`: 127.0.0.1 and, where there is one, ::1
/// (docs/OPERATIONS.md "Settings").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Both loopback addresses.
    Localhost {
        /// 0: one the system picks.
        port: u16,
    },
    /// One address, or all of a family.
    Address(SocketAddr),
}

impl Endpoint {
    /// The addresses to bind, on this machine and now.
    pub(crate) fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Self::Address(address) => vec![address],
            Self::Localhost { port } => {
                let hosts = [Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), ipv6_loopback().map(IpAddr::V6)];
                hosts.into_iter().flatten().map(|host| SocketAddr::new(host, port)).collect()
            }
        }
    }

    /// Whether nobody else's machine can reach it.
    pub(crate) fn is_loopback(self) -> bool {
        match self {
            Self::Localhost { .. } => true,
            Self::Address(address) => address.ip().is_loopback(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let form = || format!("{text:?} is no address: write IP:port, [IPv6]:port or localhost:port");
        match text.strip_prefix("localhost:") {
            Some(port) => Ok(Self::Localhost { port: port.parse().with_context(form)? }),
            None => Ok(Self::Address(text.parse().with_context(form)?)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost { port } => write!(f, "localhost:{port}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `::1`, if this machine has it: containers often do not.
fn ipv6_loopback() -> Option<Ipv6Addr> {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok().then_some(Ipv6Addr::LOCALHOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for text in ["localhost:0", "127.0.0.1:4433", "[::1]:65535", "0.0.0.0:80", "[::]:1"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in
            ["", "localhost", "4433", ":4433", "::1:80", "example.org:80", "127.0.0.1:65536", "1.2.3:4"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_what_no_other_machine_reaches() {
        let cases = [
            ("localhost:1", true),
            ("127.0.0.1:1", true),
            ("127.1.2.3:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
            ("[::ffff:192.0.2.1]:1", false),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Endpoint>().unwrap().is_loopback(), expected, "{text}");
        }
    }

    #[test]
    fn localhost_is_ipv4_first() {
        let addresses = Endpoint::Localhost { port: 7 }.addresses();
        assert_eq!(addresses[0], "127.0.0.1:7".parse().unwrap());
        assert!(addresses[1..].iter().all(|address| *address == "[::1]:7".parse().unwrap()));
    }
}
