//! Who may do what with which channel: what the rule says, and what the token grants. Pure.

use tidegate_pipeline::channels::{Access, Rule};
use tidegate_proto::Refusal;
use tidegate_proto::id::{ChannelName, EVERYBODYS};
use tidegate_proto::v1::Code;

use crate::auth::{Grants, Patterns};

/// Whether a channel may be subscribed to and read, as its rule has it, with what a token grants.
///
/// Errors: PERMISSION_DENIED.
pub(crate) fn may_subscribe(rule: &Rule, grants: &Grants, channel: &ChannelName) -> Result<(), Refusal> {
    allowed(rule.subscribe, &grants.subscribe, channel, "subscribe to")
}

/// Whether a channel may be published to.
///
/// Errors: PERMISSION_DENIED.
pub(crate) fn may_publish(rule: &Rule, grants: &Grants, channel: &ChannelName) -> Result<(), Refusal> {
    allowed(rule.publish, &grants.publish, channel, "publish to")
}

fn allowed(access: Access, granted: &Patterns, channel: &ChannelName, what: &str) -> Result<(), Refusal> {
    let message = match access {
        Access::Everybody => return Ok(()),
        Access::Granted if granted.cover(channel) => return Ok(()),
        Access::Granted => format!("the token grants no right to {what} this channel; get one that does"),
        Access::Nobody if channel.as_str().starts_with('@') => {
            format!("channels that begin with @ are the system's, but for {EVERYBODYS}")
        }
        Access::Nobody => format!("no client may {what} this channel"),
    };
    Err(Refusal::new(Code::PermissionDenied, message))
}

#[cfg(test)]
mod tests {
    use tidegate_proto::pattern::Pattern;

    use super::*;

    #[test]
    fn the_rule_decides_and_where_it_asks_for_it_the_token() {
        let channel = ChannelName::new("news/sport").unwrap();
        let grants = |pattern| {
            let patterns = Patterns::try_from(vec![Pattern::new(pattern).unwrap()]).unwrap();
            Grants { subscribe: patterns, publish: Patterns::default() }
        };
        for (access, grants, may) in [
            (Access::Everybody, Grants::default(), true),
            (Access::Granted, Grants::default(), false),
            (Access::Granted, grants("news/*"), true),
            (Access::Granted, grants("room/*"), false),
            (Access::Nobody, grants("news/*"), false),
        ] {
            let rule = Rule { subscribe: access, publish: access, ..Rule::default() };
            assert_eq!(may_subscribe(&rule, &grants, &channel).is_ok(), may, "{access:?} {grants:?}");
            let to_publish = may_publish(&rule, &grants, &channel);
            assert_eq!(to_publish.is_ok(), access == Access::Everybody, "a right to read is none to write");
        }
        let system = ChannelName::new("@x").unwrap();
        let closed = Rule { publish: Access::Nobody, ..Rule::default() };
        let refused = may_publish(&closed, &Grants::default(), &system).unwrap_err();
        assert_eq!(refused.code, Code::PermissionDenied);
        assert!(refused.message.contains("@all"), "{refused}");
    }
}
