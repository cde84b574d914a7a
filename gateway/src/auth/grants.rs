//! What a token grants of channels.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use tidegate_proto::id::ChannelName;
use tidegate_proto::pattern::Pattern;

/// The channels that a token opens where a rule wants it to, by patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// `subscribe`: those that may be subscribed to and read.
    pub subscribe: Patterns,
    /// `publish`: those that may be published to.
    pub publish: Patterns,
}

/// At most 64 patterns. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Option<Arc<[Pattern]>>);

impl Patterns {
    /// Whether one of them matches.
    pub fn cover(&self, channel: &ChannelName) -> bool {
        self.iter().any(|pattern| pattern.matches(channel))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().flat_map(|patterns| patterns.iter())
    }
}

impl TryFrom<Vec<Pattern>> for Patterns {
    type Error = TooMany;

    fn try_from(patterns: Vec<Pattern>) -> Result<Self, TooMany> {
        match patterns.len() {
            0 => Ok(Self(None)),
            1..=MAX_PATTERNS => Ok(Self(Some(patterns.into()))),
            _ => Err(TooMany),
        }
    }
}

/// More patterns than a token may have of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token grants at most {MAX_PATTERNS} patterns each to subscribe and to publish")]
pub struct TooMany;

/// A claim: a list of texts, of which each must be a pattern.
pub(super) fn claimed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Patterns, D::Error> {
    use serde::de::Error as _;
    let texts = Vec::<String>::deserialize(deserializer)?;
    let patterns = texts.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>, _>>();
    Patterns::try_from(patterns.map_err(D::Error::custom)?).map_err(D::Error::custom)
}

/// Each is looked at for each message to a channel that asks for a grant.
const MAX_PATTERNS: usize = 64;
