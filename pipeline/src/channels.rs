//! What holds for which channel, by its name. Pure.

use std::sync::Arc;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use tidegate_proto::id::{ChannelName, EVERYBODYS};
use tidegate_proto::pattern::Pattern;

/// Which clients may do something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Any signed-in user.
    #[default]
    Everybody,
    /// Whoever's token grants it.
    Granted,
    /// No client.
    Nobody,
}

/// What holds for the channels of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Who may subscribe, and read the history.
    pub subscribe: Access,
    /// Who may publish.
    pub publish: Access,
    /// What is kept of its messages; `None`: they are stored nowhere.
    pub kept: Option<Kept>,
    /// What one session may publish to all of them.
    pub rate: Option<Rate>,
}

/// How much is kept of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Beyond this many entries the oldest are removed; `None`: at no count.
    pub max_entries: Option<u64>,
    /// Entries older than this are removed; `None`: at no age.
    pub max_age_ms: Option<u64>,
}

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// The rules, in order: of those whose pattern matches a name the first one holds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Rules(Arc<[(Pattern, Rule)]>);

impl Rules {
    /// The rule of a channel, and its place among the rules; `None`: one of those that hold without any.
    pub fn of(&self, channel: &ChannelName) -> (Option<usize>, &Rule) {
        let place = self.0.iter().position(|(pattern, _)| pattern.matches(channel));
        let rule = match place {
            Some(place) => &self.0[place].1,
            None if is_the_systems(channel) => &SYSTEM,
            None => &DEFAULT,
        };
        (place, rule)
    }

    /// Whether its messages are stored nowhere.
    pub fn is_volatile(&self, channel: &ChannelName) -> bool {
        self.of(channel).1.kept.is_none()
    }

    /// How much is kept of it. What an earlier rule has stored of a channel that keeps nothing goes by and by.
    pub fn kept(&self, channel: &ChannelName) -> Kept {
        self.of(channel).1.kept.unwrap_or_default()
    }
}

impl FromIterator<(Pattern, Rule)> for Rules {
    fn from_iter<I: IntoIterator<Item = (Pattern, Rule)>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Default for Rule {
    fn default() -> Self {
        *DEFAULT
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self { max_entries: Some(MAX_ENTRIES), max_age_ms: Some(MAX_AGE_MS) }
    }
}

/// Of those of the system one is everybody's.
fn is_the_systems(channel: &ChannelName) -> bool {
    channel.as_str().starts_with('@') && channel.as_str() != EVERYBODYS
}

/// What is kept of a channel that no rule says otherwise of.
pub const MAX_ENTRIES: u64 = 1_000;
/// For how long.
pub const MAX_AGE_MS: u64 = 24 * 3_600 * 1_000;

static DEFAULT: LazyLock<Rule> = LazyLock::new(|| Rule {
    subscribe: Access::Everybody,
    publish: Access::Everybody,
    kept: Some(Kept::default()),
    rate: None,
});
static SYSTEM: LazyLock<Rule> =
    LazyLock::new(|| Rule { subscribe: Access::Nobody, publish: Access::Nobody, ..*DEFAULT });

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    #[test]
    fn the_first_that_matches_holds() {
        let rule = |publish| Rule { publish, ..Rule::default() };
        let rules: Rules = [
            ("news/breaking", rule(Access::Nobody)),
            ("news/**", Rule { kept: None, ..rule(Access::Granted) }),
            ("**", Rule { subscribe: Access::Granted, ..rule(Access::Everybody) }),
            ("@ops/*", rule(Access::Granted)),
        ]
        .into_iter()
        .map(|(pattern, rule)| (Pattern::new(pattern).unwrap(), rule))
        .collect();
        let of = |channel: &str| {
            let (place, rule) = rules.of(&name(channel));
            (place, rule.subscribe, rule.publish)
        };
        assert_eq!(of("news/breaking"), (Some(0), Access::Everybody, Access::Nobody));
        assert_eq!(of("news/sport"), (Some(1), Access::Everybody, Access::Granted));
        assert_eq!(of("room"), (Some(2), Access::Granted, Access::Everybody));
        assert_eq!(of("@ops/1"), (Some(3), Access::Everybody, Access::Granted));
        assert_eq!(of("@else"), (None, Access::Nobody, Access::Nobody), "a wildcard does not open it");
        assert_eq!(of("@all"), (None, Access::Everybody, Access::Everybody));
        assert!(rules.is_volatile(&name("news/sport")) && !rules.is_volatile(&name("room")));
        assert_eq!(rules.kept(&name("news/sport")), Kept::default(), "what was stored before goes");
    }

    #[test]
    fn without_rules() {
        let rules = Rules::default();
        assert_eq!(rules.of(&name("news")), (None, &Rule::default()));
        let kept = Kept { max_entries: Some(1_000), max_age_ms: Some(86_400_000) };
        assert_eq!(rules.kept(&name("@x")), kept);
    }
}
