//! The lease of a process: that it lives, what it is, where it is reached, and whether it takes new work. Pure.

use std::sync::Arc;

/// What a process says of itself for as long as it refreshes it. A gateway and a pipeline may have the same id: they
/// are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its id: a gateway's is the one that routes name.
    pub id: Arc<str>,
    /// Which parts it has.
    pub role: Role,
    /// Drawn anew at each start, and each time the lease was lost.
    pub incarnation: u64,
    /// Whether it takes new work.
    pub state: State,
    /// Where its gRPC is reached, `host:port`; empty: nowhere.
    pub address: Arc<str>,
    /// Where clients reach it, `host:port`; empty if it does not say, or is no gateway.
    pub public: Arc<str>,
    /// Of the program; empty if it does not say.
    pub version: Arc<str>,
    /// Where pages reach its plain HTTP, `host:port`; empty outside of development mode.
    pub demo: Arc<str>,
}

/// Which parts a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Both.
    Serve,
    /// It holds sessions.
    Gateway,
    /// It stores messages and pushes them.
    Pipeline,
}

/// Whether a process takes new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Up,
    /// It is about to stop; a gateway's sessions are on their way to others.
    Draining,
}

impl Role {
    /// Whether it holds sessions: routes and links lead there.
    pub fn has_gateway(self) -> bool {
        self != Self::Pipeline
    }

    /// Whether it stores messages.
    pub fn has_pipeline(self) -> bool {
        self != Self::Gateway
    }
}

impl Lease {
    /// The lease of a process that has just started.
    pub fn new(role: Role, id: Arc<str>, address: Arc<str>) -> Self {
        Self {
            id,
            role,
            incarnation: draw_incarnation(),
            state: State::Up,
            address,
            public: "".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            demo: "".into(),
        }
    }

    /// Whether both are of one life of one process.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.is_of(other.role.has_gateway(), &other.id) && self.incarnation == other.incarnation
    }

    /// Whether it is that of the gateway, or of the pipeline without one, of this id.
    pub(super) fn is_of(&self, has_gateway: bool, id: &str) -> bool {
        self.role.has_gateway() == has_gateway && *self.id == *id
    }

    /// The text kept in presence: `incarnation|state|address|public|role|version|demo`. A later version may append
    /// parts.
    pub(super) fn encode(&self) -> String {
        let state = match self.state {
            State::Up => "UP",
            State::Draining => "DRAINING",
        };
        let role = match self.role {
            Role::Serve => "serve",
            Role::Gateway => "gateway",
            Role::Pipeline => "pipeline",
        };
        let Self { incarnation, address, public, version, demo, .. } = self;
        format!("{incarnation}|{state}|{address}|{public}|{role}|{version}|{demo}")
    }

    /// The lease of a text; `None` for one that nobody of us wrote, or that a later version means otherwise.
    pub(super) fn decode(id: &str, text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let incarnation = parts.next()?.parse().ok()?;
        let state = match parts.next()? {
            "UP" => State::Up,
            "DRAINING" => State::Draining,
            _ => return None,
        };
        let (address, public) = (parts.next()?.into(), parts.next()?.into());
        let role = match parts.next() {
            Some("serve") => Role::Serve,
            // The first ones to write leases were gateways, and ended here.
            Some("gateway") | None => Role::Gateway,
            Some("pipeline") => Role::Pipeline,
            Some(_) => return None,
        };
        let version = parts.next().unwrap_or_default().into();
        let demo = parts.next().unwrap_or_default().into();
        Some(Self { id: id.into(), role, incarnation, state, address, public, version, demo })
    }
}

/// As a number of SQL and of JSON it stays positive.
pub fn draw_incarnation() -> u64 {
    rand::random_range(1..=u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_comes_back_and_others_text_does_not() {
        for role in [Role::Serve, Role::Gateway, Role::Pipeline] {
            for state in [State::Up, State::Draining] {
                let lease = Lease {
                    incarnation: u64::MAX,
                    state,
                    demo: "127.0.0.1:8080".into(),
                    ..Lease::new(role, "process-1".into(), "[::1]:7001".into())
                };
                assert_eq!(Lease::decode("process-1", &lease.encode()), Some(lease.clone()));
                let later = format!("{}|something new", lease.encode());
                assert_eq!(Lease::decode("process-1", &later), Some(lease));
            }
        }
        for text in ["", "1", "1|UP", "1|UP|a", "1|ASLEEP|a|b|serve|1", "x|UP|a|b|serve|1", "1|UP|a|b|cook|1"]
        {
            assert_eq!(Lease::decode("process-1", text), None, "{text}");
        }
    }

    #[test]
    fn a_lease_without_a_role_is_a_gateways() {
        let lease = Lease::decode("gateway-1", "7|UP|a:1|b:2").unwrap();
        assert_eq!((lease.role, &*lease.public, &*lease.version), (Role::Gateway, "b:2", ""));
    }
}
