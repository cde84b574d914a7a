//! The lease of a gateway: that it lives, where it is reached, and whether it takes new sessions. Pure.

use std::sync::Arc;

/// What a gateway says of itself for as long as it refreshes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The gateway's id.
    pub gateway: Arc<str>,
    /// Drawn anew at each start, and each time the lease was lost.
    pub incarnation: u64,
    /// Whether it takes new sessions.
    pub state: State,
    /// Where pushers reach it, `host:port`.
    pub address: Arc<str>,
    /// Where clients reach it, `host:port`; empty if it does not say.
    pub public: Arc<str>,
}

/// Whether a gateway takes new sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Up,
    /// It is about to stop; its sessions are on their way to others.
    Draining,
}

impl Lease {
    /// The text kept in presence: `incarnation|state|address|public`.
    pub(super) fn encode(&self) -> String {
        let state = match self.state {
            State::Up => "UP",
            State::Draining => "DRAINING",
        };
        format!("{}|{state}|{}|{}", self.incarnation, self.address, self.public)
    }

    /// The lease of a text; `None` for one that nobody of us wrote.
    pub(super) fn decode(gateway: &str, text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '|');
        let incarnation = parts.next()?.parse().ok()?;
        let state = match parts.next()? {
            "UP" => State::Up,
            "DRAINING" => State::Draining,
            _ => return None,
        };
        let (address, public) = (parts.next()?.into(), parts.next()?.into());
        Some(Self { gateway: gateway.into(), incarnation, state, address, public })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_comes_back_and_others_text_does_not() {
        for state in [State::Up, State::Draining] {
            let lease = Lease {
                gateway: "gateway-1".into(),
                incarnation: u64::MAX,
                state,
                address: "[::1]:7001".into(),
                public: "".into(),
            };
            assert_eq!(Lease::decode("gateway-1", &lease.encode()), Some(lease));
        }
        for text in ["", "1", "1|UP", "1|ASLEEP|a|b", "x|UP|a|b"] {
            assert_eq!(Lease::decode("gateway-1", text), None, "{text}");
        }
    }
}
