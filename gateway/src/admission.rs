//! Who gets a connection: one count for the process, over all its listeners and transports, and one for each client's
//! address. Whoever comes beyond either is refused at once, so that he can go elsewhere. Knows no transport.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

/// How many connections may live at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// All together.
    pub connections: usize,
    /// Of one address, for IPv6 of one /64; 0: no limit.
    pub per_address: usize,
}

/// The connections that live. Clones count together.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    counts: Mutex<Counts>,
    /// The same count, for the metrics.
    live: Gauge,
}

#[derive(Debug, Default)]
struct Counts {
    live: usize,
    /// Only networks that have a connection, and none without a limit.
    by_network: HashMap<Network, usize>,
    /// The log says once that a limit is met; the metrics say how often.
    told: [bool; 2],
}

/// What counts as one address: a household or a host has a whole /64 (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

/// A connection's place, from its first packet to its end; dropping it makes room.
#[derive(Debug)]
pub struct Admitted {
    shared: Arc<Shared>,
    network: Network,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The process has as many as it may have.
    #[error("limits.max_connections is reached")]
    Process,
    /// The address has as many as it may have.
    #[error("an address has reached limits.max_connections_per_address")]
    Address,
}

impl Full {
    /// The reason in the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Process => "full",
            Self::Address => "address_full",
        }
    }
}

impl Admission {
    /// No connections yet; `live` shows how many there are.
    pub fn new(limits: Limits, live: Gauge) -> Self {
        Self(Arc::new(Shared { limits, counts: Mutex::default(), live }))
    }

    /// A place for a connection from `remote`, if there is one.
    pub fn try_admit(&self, remote: IpAddr) -> Result<Admitted, Full> {
        let network = Network::of(remote);
        let mut counts = self.0.counts.lock();
        if let Err(full) = counts.try_add(network, self.0.limits) {
            let is_new = counts.is_new(full);
            drop(counts);
            if is_new {
                tracing::warn!(%remote, reason = %full, "connections are refused; from now on only the metrics say so");
            }
            return Err(full);
        }
        drop(counts);
        self.0.live.inc();
        Ok(Admitted { shared: self.0.clone(), network })
    }

    /// Whether an address has half of its places, so that the rest is only for those who show that it is theirs: whoever
    /// forges it must not take all of them.
    pub fn is_half_full(&self, remote: IpAddr) -> bool {
        let per_address = self.0.limits.per_address;
        let count = || self.0.counts.lock().by_network.get(&Network::of(remote)).copied();
        per_address > 0 && count().unwrap_or(0) >= per_address / 2
    }
}

impl Counts {
    fn try_add(&mut self, network: Network, limits: Limits) -> Result<(), Full> {
        if self.live >= limits.connections {
            return Err(Full::Process);
        }
        if limits.per_address > 0 {
            let count = self.by_network.entry(network).or_default();
            if *count >= limits.per_address {
                return Err(Full::Address);
            }
            *count += 1;
        }
        self.live += 1;
        Ok(())
    }

    fn remove(&mut self, network: Network) {
        self.live -= 1;
        let Some(count) = self.by_network.get_mut(&network) else { return };
        *count -= 1;
        if *count == 0 {
            self.by_network.remove(&network);
        }
    }

    fn is_new(&mut self, full: Full) -> bool {
        !std::mem::replace(&mut self.told[full as usize], true)
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.counts.lock().remove(self.network);
        self.shared.live.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admission(connections: usize, per_address: usize) -> (Admission, Gauge) {
        let live = Gauge::default();
        (Admission::new(Limits { connections, per_address }, live.clone()), live)
    }

    #[test]
    fn a_place_is_taken_until_it_is_dropped() {
        let (admission, live) = admission(2, 0);
        let first = admission.try_admit(ip("192.0.2.1")).unwrap();
        let _second = admission.clone().try_admit(ip("192.0.2.1")).unwrap();
        assert_eq!(admission.try_admit(ip("192.0.2.2")).unwrap_err(), Full::Process);
        assert_eq!(live.get(), 2);
        drop(first);
        assert_eq!(live.get(), 1);
        assert!(admission.try_admit(ip("192.0.2.2")).is_ok());
    }

    #[test]
    fn an_address_has_its_own_limit_and_ipv6_counts_by_the_64() {
        let (admission, _) = admission(100, 1);
        for (first, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
        ] {
            let held = admission.try_admit(ip(first)).unwrap();
            assert_eq!(admission.try_admit(ip(same)).unwrap_err(), Full::Address, "{same}");
            assert!(admission.try_admit(ip(other)).is_ok(), "{other}");
            drop(held);
            assert!(admission.try_admit(ip(same)).is_ok(), "{same}");
        }
        let counts = admission.0.counts.lock();
        assert!(counts.by_network.is_empty(), "{counts:?}");
        assert_eq!(counts.live, 0);
    }

    #[test]
    fn from_half_of_its_places_on_an_address_is_to_be_shown() {
        let (admission, _) = admission(100, 4);
        let mut held = vec![admission.try_admit(ip("192.0.2.1")).unwrap()];
        assert!(!admission.is_half_full(ip("192.0.2.1")));
        held.push(admission.try_admit(ip("192.0.2.1")).unwrap());
        assert!(admission.is_half_full(ip("192.0.2.1")));
        assert!(!admission.is_half_full(ip("192.0.2.2")));

        let (unlimited, _) = self::admission(100, 0);
        let _held = unlimited.try_admit(ip("192.0.2.1")).unwrap();
        assert!(!unlimited.is_half_full(ip("192.0.2.1")));
    }
}
