//! The names of the keys. What a script writes together carries the same `{…}`, so that it shares a slot on a cluster.

use tidegate_proto::id::UserId;

/// Names behind a common prefix, so that several installations may share a server.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// A hash: device → row.
    pub(super) fn user(&self, user: &UserId) -> String {
        format!("{}u:{{{user}}}", self.prefix)
    }

    /// The lease of a gateway.
    pub(super) fn lease(&self, gateway: &str) -> String {
        format!("{}gw:{{{gateway}}}", self.prefix)
    }

    /// A sorted set: gateway → when it last refreshed its lease, in ms since 1970.
    pub(super) fn gateways(&self) -> String {
        format!("{}gws", self.prefix)
    }

    /// Where a gateway is told of what happened elsewhere.
    pub(super) fn control(&self, gateway: &str) -> String {
        format!("{}ctl:{gateway}", self.prefix)
    }
}
