//! `[[channels]]`: what holds for which channel, by its name.

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use tidegate_pipeline::channels::{self, Access, Kept, Rate};
use tidegate_proto::id::{ChannelName, EVERYBODYS};
use tidegate_proto::pattern::{Pattern, PatternError};

use super::section::{Invalid, in_range};

/// The rules, in the order of the file: of those whose pattern matches a channel the first one holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Channels(Vec<Rule>);

/// What holds for the channels that a pattern matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// `*` within a segment, `**` as the last one.
    pattern: Name,
    /// Who may subscribe and read the history: everybody, granted, nobody.
    #[serde(default)]
    subscribe: Access,
    /// Which clients may publish.
    #[serde(default)]
    publish: Access,
    /// Whether messages are stored; if not, they reach whoever subscribes at the moment.
    #[serde(default = "yes")]
    stored: bool,
    /// Beyond this many entries the oldest are removed; 0: at no count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_entries: Option<u64>,
    /// Older messages are removed; 0: at no age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_age_hours: Option<u32>,
    /// What one session may publish to all channels of the rule; above it RATE_LIMITED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages_per_second: Option<u32>,
    /// How much of that may come at once after a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages_burst: Option<u32>,
}

/// A pattern that is written as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Name(Pattern);

impl Channels {
    /// The rules as the program goes by them.
    pub(crate) fn rules(&self) -> channels::Rules {
        self.0.iter().map(|rule| (rule.pattern.0.clone(), rule.rule())).collect()
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        in_range(KEY, self.0.len() as u64, 0..=MAX_RULES)
            .map_err(|Invalid { problem, .. }| Invalid::new(KEY, problem.context("the number of rules")))?;
        for (place, rule) in self.0.iter().enumerate() {
            let which = || format!("rule {}, {}", place + 1, rule.pattern.0);
            rule.validate()
                .and_then(|()| match self.0[..place].iter().position(|one| one.pattern == rule.pattern) {
                    Some(first) => Err(anyhow!(
                        "it never holds, since rule {} has the same pattern; remove one of them",
                        first + 1
                    )),
                    None => Ok(()),
                })
                .with_context(which)
                .map_err(|problem| Invalid::new(KEY, problem))?;
        }
        Ok(())
    }
}

impl Rule {
    fn rule(&self) -> channels::Rule {
        let hours = |hours: u32| u64::from(hours) * 3_600 * 1_000;
        let kept = Kept {
            max_entries: limit(self.max_entries, channels::MAX_ENTRIES),
            max_age_ms: limit(self.max_age_hours.map(hours), channels::MAX_AGE_MS),
        };
        let rate = self
            .messages_per_second
            .map(|per_second| Rate { per_second, burst: self.messages_burst.unwrap_or(per_second) });
        channels::Rule {
            subscribe: self.subscribe,
            publish: self.publish,
            kept: self.stored.then_some(kept),
            rate,
        }
    }

    fn validate(&self) -> anyhow::Result<()> {
        let ranges = [
            ("max_entries", self.max_entries, i64::MAX.unsigned_abs()),
            ("max_age_hours", self.max_age_hours.map(u64::from), HOURS_MAX),
            ("messages_per_second", self.messages_per_second.map(u64::from), RATE_MAX),
            ("messages_burst", self.messages_burst.map(u64::from), RATE_MAX),
        ];
        for (what, value, max) in ranges {
            let min = u64::from(what.starts_with("messages"));
            if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
                return Err(anyhow!("{what}: {value} is out of range, it must be {min} to {max}"));
            }
        }
        if !self.stored && (self.max_entries.is_some() || self.max_age_hours.is_some()) {
            return Err(anyhow!(
                "with stored = false nothing is kept: remove max_entries and max_age_hours, or set stored = true"
            ));
        }
        if !self.stored && self.pattern.0.matches(&ChannelName::everybodys()) {
            return Err(anyhow!("{EVERYBODYS} is a numbered log and always stored: remove stored = false"));
        }
        if self.messages_burst.is_some() && self.messages_per_second.is_none() {
            return Err(anyhow!("messages_burst: set messages_per_second too"));
        }
        Ok(())
    }
}

/// A limit that is not set is the usual one, and 0 is none.
fn limit(set: Option<u64>, usual: u64) -> Option<u64> {
    Some(set.unwrap_or(usual)).filter(|limit| *limit > 0)
}

fn yes() -> bool {
    true
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let said = |error: PatternError| format!("{text:?}: {error}");
        Pattern::new(&text).map(Self).map_err(said)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_str().to_owned()
    }
}

const KEY: &str = "channels";
/// Each may be looked at for each message.
const MAX_RULES: u64 = 256;
/// A hundred years.
const HOURS_MAX: u64 = 876_600;
const RATE_MAX: u64 = 1_000_000;
