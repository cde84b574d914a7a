//! An origin as browsers send it (RFC 6454): scheme, host and port, and nothing else.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use anyhow::{Context as _, ensure};
use serde::{Serialize, Serializer};

/// `scheme://host` or `scheme://host:port`, in the form of the Origin header: lower case, no default port, no path. So
/// it is compared as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(String);

impl Origin {
    /// The origin as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let form =
            || format!("{text:?} is no origin: write scheme://host or scheme://host:port, without a path");
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").with_context(form)?;
        // Not only http: pages inside apps have schemes of their own.
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        ensure!(
            scheme.starts_with(|c: char| c.is_ascii_lowercase()) && scheme.bytes().all(is_scheme),
            form()
        );
        let (host, port) = split_port(authority);
        let host = canonical_host(host).with_context(form)?;
        let Some(port) = port else { return Ok(Self(format!("{scheme}://{host}"))) };
        let port: u16 = port.parse().with_context(form)?;
        let is_default = matches!((scheme, port), ("https", 443) | ("http", 80));
        Ok(Self(if is_default { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address is not a port's.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn canonical_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_name)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_take_the_form_of_the_header() {
        let cases = [
            ("https://chat.example.org", "https://chat.example.org"),
            ("HTTPS://Chat.Example.org:443", "https://chat.example.org"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("https://[::1]:4433", "https://[::1]:4433"),
            ("https://[2001:DB8:0::0001]", "https://[2001:db8::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        let cases = [
            "",
            "*",
            "null",
            "chat.example.org",
            "https://",
            "https://*.example.org",
            "https://a/",
            "https://a/path",
            "https://a?x",
            "https://user@a",
            "https://a:",
            "https://a:65536",
            "https://a b",
            "https://[::1",
            "https://::1",
            "://a",
            "1a://b",
        ];
        for text in cases {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
