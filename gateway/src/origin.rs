//! Which pages of which sites may use this server (docs/OPERATIONS.md "Origins"). Pure; the same for WebSocket and
//! WebTransport.

use std::collections::HashSet;
use std::net::Ipv6Addr;

/// The origins that are allowed, by exact match after normalisation. By default none; a client without an Origin header
/// is no browser and always allowed.
#[derive(Debug, Clone, Default)]
pub struct OriginPolicy {
    allowed: HashSet<Origin>,
}

/// A configured origin that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin: write scheme://host or scheme://host:port, with nothing after it")]
pub struct BadOrigin(String);

impl OriginPolicy {
    /// Allows the pages of `origin`, such as `https://chat.example.com`.
    pub fn allow(&mut self, origin: &str) -> Result<(), BadOrigin> {
        let origin = Origin::parse(origin).ok_or_else(|| BadOrigin(origin.to_owned()))?;
        self.allowed.insert(origin);
        Ok(())
    }

    /// Allows the pages that a listener on loopback serves, by each of its names.
    pub fn allow_loopback(&mut self, scheme: &str, port: u16) {
        for host in LOOPBACK_HOSTS {
            let origin = Origin::new(scheme, host, Some(port));
            self.allowed.insert(origin);
        }
    }

    /// Whether a request with this Origin header may go on.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        origin.is_none_or(|origin| Origin::parse(origin).is_some_and(|origin| self.allowed.contains(&origin)))
    }
}

/// What of a request tells a page of our own, or a hand tool, from a foreign page in the same browser.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The Host header. A name that a foreign site points at 127.0.0.1 is not ours.
    pub host: Option<&'a str>,
    /// The Origin header.
    pub origin: Option<&'a str>,
    /// The Sec-Fetch-Site header.
    pub fetch_site: Option<&'a str>,
}

impl Caller<'_> {
    /// Whether the request was made to a loopback listener by its own name, and not by another site's page: what the
    /// conveniences of development mode ask for.
    pub fn is_local(&self, scheme: &str, port: u16) -> bool {
        let own = |authority: &str| {
            let origin = Origin::parse(&format!("{scheme}://{authority}"));
            origin.is_some_and(|origin| {
                LOOPBACK_HOSTS.iter().any(|host| origin == Origin::new(scheme, host, Some(port)))
            })
        };
        let origin_is_own = |origin: &str| {
            let (given, authority) = origin.split_once("://").unwrap_or_default();
            given.eq_ignore_ascii_case(scheme) && own(authority)
        };
        self.host.is_some_and(own)
            && self.origin.is_none_or(origin_is_own)
            && self.fetch_site.is_none_or(|site| matches!(site, "same-origin" | "none"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// An origin as RFC 6454 section 6 serialises it; `null` is none.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if scheme.is_empty() || !scheme.bytes().all(scheme_byte) {
            return None;
        }
        let (host, port) = split_port(authority)?;
        if let Some(address) = host.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self::new(scheme, &format!("[{address}]"), port));
        }
        let host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!host.is_empty() && host.bytes().all(host_byte)).then(|| Self::new(scheme, host, port))
    }

    fn new(scheme: &str, host: &str, port: Option<u16>) -> Self {
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Self { port: port.or(default_port), scheme, host: host.to_ascii_lowercase() }
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address begins no port.
        Some((host, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| port.parse().ok().map(|port| (host, Some(port)))).flatten()
        }
        _ => Some((authority, None)),
    }
}

/// The names of loopback.
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_matches_after_normalisation() {
        let mut policy = OriginPolicy::default();
        policy.allow("https://Chat.example.com").unwrap();
        policy.allow("http://host:8080").unwrap();
        policy.allow("https://[2001:DB8::1]:4433").unwrap();
        for (origin, allowed) in [
            ("https://chat.example.com", true),
            ("HTTPS://CHAT.EXAMPLE.COM:443", true),
            ("http://host:8080", true),
            ("https://[2001:db8:0::1]:4433", true),
            ("http://chat.example.com", false),
            ("https://chat.example.com:444", false),
            ("https://chat.example.com.evil.org", false),
            ("https://evil.chat.example.com", false),
            ("https://chat.example.com/", false),
            ("https://chat.example.com@evil.org", false),
            ("https://evil.org#https://chat.example.com", false),
            ("http://host", false),
            ("http://host:80800", false),
            ("http://host:", false),
            ("http://host:+8080", false),
            ("null", false),
            ("", false),
            ("://", false),
            ("host:8080", false),
        ] {
            assert_eq!(policy.allows(Some(origin)), allowed, "{origin}");
        }
        assert!(policy.allows(None));
    }

    #[test]
    fn what_is_no_origin_is_no_configuration() {
        for bad in [
            "",
            "null",
            "*",
            "example.com",
            "https://",
            "https://a/b",
            "https://[::1",
            "https://a:x",
            "ht tp://a",
        ] {
            assert_eq!(OriginPolicy::default().allow(bad), Err(BadOrigin(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn a_loopback_listener_has_three_names() {
        let mut policy = OriginPolicy::default();
        policy.allow_loopback("http", 8080);
        for origin in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"] {
            assert!(policy.allows(Some(origin)), "{origin}");
        }
        for origin in
            ["http://localhost:8081", "https://localhost:8080", "http://localhost", "http://127.0.0.2:8080"]
        {
            assert!(!policy.allows(Some(origin)), "{origin}");
        }
    }

    #[test]
    fn development_mode_serves_its_own_pages_and_hand_tools_only() {
        let ok = Caller { host: Some("localhost:8080"), origin: None, fetch_site: None };
        let local = |caller: Caller<'_>| caller.is_local("http", 8080);
        assert!(local(ok));
        for host in ["127.0.0.1:8080", "[::1]:8080", "LOCALHOST:8080"] {
            assert!(local(Caller { host: Some(host), ..ok }), "{host}");
        }
        for host in
            ["evil.org:8080", "localhost", "localhost:80", "localhost:8080@evil.org", "192.168.1.2:8080", ""]
        {
            assert!(!local(Caller { host: Some(host), ..ok }), "{host}");
        }
        assert!(!local(Caller { host: None, ..ok }));
        assert!(local(Caller { origin: Some("http://127.0.0.1:8080"), ..ok }));
        for origin in ["null", "http://evil.org", "http://localhost:3000", "https://localhost:8080", ""] {
            assert!(!local(Caller { origin: Some(origin), ..ok }), "{origin}");
        }
        for (site, allowed) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            assert_eq!(local(Caller { fetch_site: Some(site), ..ok }), allowed, "{site}");
        }
        let plain = Caller { host: Some("localhost"), origin: Some("http://localhost"), fetch_site: None };
        assert!(plain.is_local("http", 80));
    }
}
