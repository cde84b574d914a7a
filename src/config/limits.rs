//! `[limits]`: what one client, one user and all of them may take.

use super::section::{Invalid, in_range, section};

section! {
    /// Beyond each there is a documented answer, and nothing grows.
    Limits {
        /// Live connections over all transports and addresses together; the next is refused. Each over TCP needs a file
        /// descriptor.
        max_connections: u32 = 10_000,
        /// Of those, from one address of clients, for IPv6 from one /64; the next is refused. 0: no limit.
        max_connections_per_address: u32 = 1_000,
        /// Live sessions of one user; the next gets LIMIT.
        sessions_per_user: u32 = 16,
        /// Channels one session may subscribe to; the next gets LIMIT.
        subscriptions_per_session: u32 = 200,
        /// What may wait for a client that reads slowly; then its feed goes over to reading the store.
        outbox_bytes: u32 = 256 * 1024,
        /// Sends of one session; above it RATE_LIMITED.
        messages_per_second: u32 = 200,
        /// How many sends may come at once after a pause.
        messages_burst: u32 = 1_000,
        /// Signals of one session; above it they are dropped.
        signals_per_second: u32 = 100,
        /// How many signals may come at once after a pause.
        signals_burst: u32 = 200,
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        in_range("limits.max_connections", self.max_connections.into(), 1..=10_000_000)?;
        in_range(
            "limits.max_connections_per_address",
            self.max_connections_per_address.into(),
            0..=10_000_000,
        )?;
        in_range("limits.sessions_per_user", self.sessions_per_user.into(), 1..=10_000)?;
        in_range("limits.subscriptions_per_session", self.subscriptions_per_session.into(), 0..=10_000)?;
        // Not below a frame, which could never be queued, nor so large that a thousand slow clients fill the memory.
        in_range("limits.outbox_bytes", self.outbox_bytes.into(), 80 * 1024..=64 * 1024 * 1024)?;
        in_range("limits.messages_per_second", self.messages_per_second.into(), 1..=RATE_MAX)?;
        in_range("limits.messages_burst", self.messages_burst.into(), 1..=RATE_MAX)?;
        in_range("limits.signals_per_second", self.signals_per_second.into(), 1..=RATE_MAX)?;
        in_range("limits.signals_burst", self.signals_burst.into(), 1..=RATE_MAX)
    }
}

const RATE_MAX: u64 = 1_000_000;
