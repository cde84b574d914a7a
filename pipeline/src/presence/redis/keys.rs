//! The names of the keys. What a script writes together carries the same `{…}`, so that it shares a slot on a cluster.

use tidegate_proto::id::{ChannelName, UserId};

use crate::presence::lease::Role;

/// Names behind a common prefix, so that several installations may share a server.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

/// Whose leases: so that what routes and links lead to is looked for among gateways only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of processes that hold sessions.
    Gateways,
    /// Of the others.
    Pipelines,
}

impl Kind {
    pub(super) fn of(role: Role) -> Self {
        if role.has_gateway() { Self::Gateways } else { Self::Pipelines }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gateways => "gw",
            Self::Pipelines => "pl",
        }
    }
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// A hash: device → row.
    pub(super) fn user(&self, user: &UserId) -> String {
        format!("{}u:{{{user}}}", self.prefix)
    }

    /// A hash: gateway → its interest.
    pub(super) fn channel(&self, channel: &ChannelName) -> String {
        format!("{}c:{{{channel}}}", self.prefix)
    }

    /// The lease of a process.
    pub(super) fn lease(&self, kind: Kind, id: &str) -> String {
        format!("{}{}:{{{id}}}", self.prefix, kind.name())
    }

    /// A sorted set: process → when it last refreshed its lease, in ms since 1970.
    pub(super) fn leases(&self, kind: Kind) -> String {
        format!("{}{}s", self.prefix, kind.name())
    }

    /// Where a gateway is told of what happened elsewhere.
    pub(super) fn control(&self, gateway: &str) -> String {
        format!("{}ctl:{gateway}", self.prefix)
    }
}
