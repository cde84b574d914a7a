//! Holds back what would be more than three times the bytes an address has sent, as long as nothing has shown that the
//! address is its sender's own (RFC 9000, section 8.1). quinn keeps that limit, except for the packet that crosses it and
//! for its CONNECTION_CLOSE: those are dropped here, as a network drops.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// The accounts of the addresses that connections and handshakes come from.
#[derive(Debug, Default)]
pub(super) struct Unproven {
    accounts: Mutex<HashMap<SocketAddr, Account>>,
    /// How many handshakes are limited. Without one, sending looks at nothing else.
    limited: AtomicUsize,
    /// At most how many accounts are of nobody: of packets that came to nothing.
    unused: AtomicUsize,
}

#[derive(Debug, Default)]
struct Account {
    /// Handshakes that have not shown the address.
    handshakes: usize,
    /// Connections that have: from then on there is no limit, also not for further handshakes.
    connections: usize,
    /// Bytes of packets of handshakes.
    received: u64,
    /// Bytes of all packets, while the limit holds.
    sent: u64,
}

/// A handshake with an address that it has not shown yet.
#[derive(Debug)]
pub(super) struct Unshown {
    all: Arc<Unproven>,
    address: SocketAddr,
}

/// A connection whose address is shown.
#[derive(Debug)]
pub(super) struct Shown {
    all: Arc<Unproven>,
    address: SocketAddr,
}

impl Unproven {
    /// A handshake begins with an address that may be somebody else's.
    pub(super) fn begin(self: &Arc<Self>, address: SocketAddr) -> Unshown {
        self.accounts.lock().entry(address).or_default().handshakes += 1;
        self.limited.fetch_add(1, Ordering::Relaxed);
        Unshown { all: self.clone(), address }
    }

    /// A connection from an address that is its own.
    pub(super) fn show(self: &Arc<Self>, address: SocketAddr) -> Shown {
        self.accounts.lock().entry(address).or_default().connections += 1;
        Shown { all: self.clone(), address }
    }

    fn received(&self, address: SocketAddr, bytes: usize) {
        let mut accounts = self.accounts.lock();
        if !accounts.contains_key(&address) && self.unused.fetch_add(1, Ordering::Relaxed) >= MAX_UNUSED {
            self.unused.store(0, Ordering::Relaxed);
            accounts.retain(|_, account| account.handshakes > 0 || account.connections > 0);
        }
        accounts.entry(address).or_default().received += bytes as u64;
    }

    /// Whether this much may be sent to `address`; then it counts as sent.
    fn try_send(&self, address: SocketAddr, bytes: usize) -> bool {
        if self.limited.load(Ordering::Relaxed) == 0 {
            return true;
        }
        let mut accounts = self.accounts.lock();
        let Some(account) = accounts.get_mut(&address) else { return true };
        if account.handshakes == 0 || account.connections > 0 {
            return true;
        }
        let sent = account.sent + bytes as u64;
        let allowed = sent <= FACTOR * account.received;
        if allowed {
            account.sent = sent;
        }
        allowed
    }

    fn update(&self, address: SocketAddr, update: impl FnOnce(&mut Account)) {
        let mut accounts = self.accounts.lock();
        let Some(account) = accounts.get_mut(&address) else { return };
        update(account);
        if account.handshakes == 0 && account.connections == 0 {
            accounts.remove(&address);
        }
    }
}

impl Unshown {
    /// The handshake is done: the address is its sender's own.
    pub(super) fn shown(self) -> Shown {
        self.all.show(self.address)
    }
}

impl Drop for Unshown {
    fn drop(&mut self) {
        self.all.limited.fetch_sub(1, Ordering::Relaxed);
        self.all.update(self.address, |account| account.handshakes -= 1);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.all.update(self.address, |account| account.connections -= 1);
    }
}

/// A socket that asks [`Unproven`] before it sends.
#[derive(Debug)]
pub(super) struct LimitedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    unproven: Arc<Unproven>,
}

impl LimitedSocket {
    /// Puts the limit before `inner`.
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, unproven: Arc<Unproven>) -> Self {
        Self { inner, unproven }
    }
}

impl AsyncUdpSocket for LimitedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.unproven.try_send(transmit.destination, transmit.contents.len()) {
            return Ok(());
        }
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter().zip(&*meta).take(count) {
            if has_long_header(buf) {
                self.unproven.received(meta.addr, meta.len);
            }
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// Only handshakes have long headers (RFC 8999, section 5.1).
fn has_long_header(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 != 0)
}

/// How many times what was received may be sent.
const FACTOR: u64 = 3;
/// Accounts of nobody, before they are cleared away; half a MiB.
const MAX_UNUSED: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn an_address_gets_three_times_what_it_sent_until_it_is_shown() {
        let unproven = Arc::new(Unproven::default());
        unproven.received(address(1), 1_200);
        assert!(
            unproven.try_send(address(1), 9_999),
            "without a handshake quinn answers with less than it got"
        );
        let unshown = unproven.begin(address(1));
        assert!(unproven.try_send(address(1), 3_600));
        assert!(!unproven.try_send(address(1), 1));
        unproven.received(address(1), 100);
        assert!(!unproven.try_send(address(1), 301));
        assert!(unproven.try_send(address(1), 300));
        assert!(unproven.try_send(address(2), 5_000));
        let shown = unshown.shown();
        let another = unproven.begin(address(1));
        assert!(unproven.try_send(address(1), 5_000), "the address has a connection");
        drop(shown);
        assert!(!unproven.try_send(address(1), 5_000));
        drop(another);
        assert!(unproven.try_send(address(1), 5_000));
        assert!(unproven.accounts.lock().is_empty());
    }

    #[test]
    fn accounts_stay_bounded_and_those_in_use_are_kept() {
        let unproven = Arc::new(Unproven::default());
        unproven.received(address(1), 10);
        let unshown = unproven.begin(address(1));
        for port in 2..=20_000 {
            unproven.received(address(port), 10);
        }
        assert!(unproven.accounts.lock().len() <= MAX_UNUSED + 1);
        assert!(unproven.try_send(address(1), 30));
        assert!(!unproven.try_send(address(1), 1));
        drop(unshown);
    }
}
