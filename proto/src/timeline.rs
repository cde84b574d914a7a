//! Names of timelines: conversations `d:{a}:{b}`, `g:{id}`, `c:{name}` and inboxes `i:{user}`
//! (docs/PROTOCOL.md "Ids and limits").
//!
//! In byte order every conversation comes before every inbox, which gives the stores one global order of locks.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::Refusal;
use crate::id::{ChannelName, GroupId, UserId};

/// The name of an ordered, dense sequence of entries.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timeline(Arc<str>);

/// What a timeline's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineKind {
    /// A conversation of two users, in byte order; or of one with himself.
    Direct(UserId, UserId),
    /// A group's conversation.
    Group(GroupId),
    /// A channel's conversation.
    Channel(ChannelName),
    /// A user's inbox.
    Inbox(UserId),
}

impl Timeline {
    /// The direct conversation of two users, whoever writes to whom.
    pub fn direct(a: &UserId, b: &UserId) -> Self {
        let (first, second) = if a <= b { (a, b) } else { (b, a) };
        Self(format!("d:{first}:{second}").into())
    }

    /// A group's conversation.
    pub fn group(group: &GroupId) -> Self {
        Self(format!("g:{group}").into())
    }

    /// A channel's conversation.
    pub fn channel(channel: &ChannelName) -> Self {
        Self(format!("c:{channel}").into())
    }

    /// A user's inbox.
    pub fn inbox(user: &UserId) -> Self {
        Self(format!("i:{user}").into())
    }

    /// The timeline named by `text`, or INVALID_ARGUMENT when it is no name of one.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let timeline = Self(text.into());
        timeline.try_kind()?;
        Ok(timeline)
    }

    /// What the name says.
    pub fn kind(&self) -> TimelineKind {
        self.try_kind().expect("a Timeline is made from valid ids or by parse")
    }

    /// Whether this is a user's inbox.
    pub fn is_inbox(&self) -> bool {
        self.0.starts_with("i:")
    }

    /// Whether `user` may read it: the own inbox, and the direct conversations one takes part in. Groups and channels
    /// have rules of their own.
    pub fn is_readable_by(&self, user: &UserId) -> bool {
        match self.kind() {
            TimelineKind::Direct(a, b) => a == *user || b == *user,
            TimelineKind::Inbox(owner) => owner == *user,
            TimelineKind::Group(_) | TimelineKind::Channel(_) => false,
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn try_kind(&self) -> Result<TimelineKind, Refusal> {
        let no_name =
            || Refusal::invalid("a timeline is d:{user}:{user}, g:{group}, c:{channel} or i:{user}");
        let (letter, rest) = self.0.split_once(':').ok_or_else(no_name)?;
        match letter {
            "d" => {
                let (a, b) = rest.split_once(':').ok_or_else(no_name)?;
                let (a, b) = (UserId::new(a)?, UserId::new(b)?);
                if a > b {
                    return Err(Refusal::invalid("the users of a direct conversation stand in byte order"));
                }
                Ok(TimelineKind::Direct(a, b))
            }
            "g" => Ok(TimelineKind::Group(GroupId::new(rest)?)),
            "c" => Ok(TimelineKind::Channel(ChannelName::new(rest)?)),
            "i" => Ok(TimelineKind::Inbox(UserId::new(rest)?)),
            _ => Err(no_name()),
        }
    }
}

impl Borrow<str> for Timeline {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn a_direct_conversation_has_one_name() {
        let timeline = Timeline::direct(&user("bob"), &user("alice"));
        assert_eq!(timeline.as_str(), "d:alice:bob");
        assert_eq!(timeline, Timeline::direct(&user("alice"), &user("bob")));
        assert_eq!(Timeline::parse("d:alice:bob").unwrap(), timeline);
        assert!(timeline.is_readable_by(&user("bob")) && !timeline.is_readable_by(&user("eve")));
    }

    #[test]
    fn conversations_sort_before_inboxes() {
        let inbox = Timeline::inbox(&user("0"));
        for conversation in ["c:~", "d:z:z", "g:z"].map(|text| Timeline(text.into())) {
            assert!(conversation < inbox);
        }
    }

    #[test]
    fn what_is_no_name() {
        for text in ["", "x", "d:", "d:a", "d:b:a", "d:a:b:c", "i:", "i:a b", "q:a", "c:", "g:a/b"] {
            assert!(Timeline::parse(text).is_err(), "{text}");
        }
    }
}
