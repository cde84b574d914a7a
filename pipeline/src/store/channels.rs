//! What is too much or too old of channels, each by its own rule, within a budget. Pure.

use std::collections::{BTreeMap, HashMap};

use tidegate_proto::id::ChannelName;

use super::Bounds;
use super::age::{Age, Aged};
use crate::channels::{Kept, Rules};

/// A channel as a walk over the names of timelines finds it.
#[derive(Debug)]
pub(super) struct Channel {
    timeline: i64,
    kept: Kept,
    bounds: Bounds,
    /// When its first entry was sent; ms since 1970.
    first: i64,
}

/// To where floors may rise, by timelines.
pub(super) type Floors = BTreeMap<i64, u64>;

impl Channel {
    /// The channel whose timeline has this name; `None` if that is none of a channel, or nothing is left of it.
    pub(super) fn new(
        (timeline, name): (i64, &str),
        bounds: Bounds,
        first: i64,
        rules: &Rules,
    ) -> Option<Self> {
        let name = ChannelName::new(name.strip_prefix(BEFORE)?).ok()?;
        let kept = rules.kept(&name);
        (bounds.floor <= bounds.head).then_some(Self { timeline, kept, bounds, first })
    }

    /// Its timeline and floor.
    pub(super) fn begins(&self) -> (i64, u64) {
        (self.timeline, self.bounds.floor)
    }

    fn entries(&self) -> u64 {
        self.bounds.head + 1 - self.bounds.floor
    }
}

/// What channels have beyond the number of entries they may have: at most `budget` together.
pub(super) fn too_many(channels: &[Channel], budget: usize) -> Floors {
    let mut left = budget as u64;
    let mut floors = Floors::new();
    for channel in channels {
        let most = channel.kept.max_entries.unwrap_or(u64::MAX);
        let excess = channel.entries().saturating_sub(most).min(left);
        if excess > 0 {
            floors.insert(channel.timeline, channel.bounds.floor + excess);
            left -= excess;
        }
    }
    floors
}

/// Where what is too old may be, with the age that each channel goes by: of each the same number of its first entries, at
/// most `budget` together. Only the entries themselves say it.
pub(super) fn maybe_old(channels: &[Channel], now_ms: i64, budget: usize) -> (Floors, HashMap<i64, Age>) {
    let aged = |channel: &Channel| {
        let age = Age::new(channel.kept.max_age_ms?, now_ms);
        (age.of(channel.first) != Aged::Current).then_some(age)
    };
    let old: Vec<_> = channels.iter().filter_map(|channel| Some((channel, aged(channel)?))).collect();
    let share = (budget / old.len().max(1)).max(1) as u64;
    let floors = old.iter().map(|(channel, _)| {
        let looked_at = channel.entries().min(share);
        (channel.timeline, channel.bounds.floor + looked_at)
    });
    (floors.collect(), old.iter().map(|(channel, age)| (channel.timeline, *age)).collect())
}

/// Before a channel's name in that of its timeline.
const BEFORE: &str = "c:";
/// Below the names of all channels' timelines.
pub(super) const FIRST: &str = BEFORE;

#[cfg(test)]
mod tests {
    use tidegate_proto::pattern::Pattern;

    use super::*;
    use crate::channels::Rule;

    fn rules() -> Rules {
        let few =
            Rule { kept: Some(Kept { max_entries: Some(2), max_age_ms: Some(100) }), ..Rule::default() };
        let all = Rule { kept: Some(Kept { max_entries: None, max_age_ms: None }), ..Rule::default() };
        let rules = [("few/*", few), ("all", all)];
        rules.map(|(pattern, rule)| (Pattern::new(pattern).unwrap(), rule)).into_iter().collect()
    }

    fn channel(timeline: i64, name: &str, (floor, head): (u64, u64), first: i64) -> Option<Channel> {
        Channel::new((timeline, name), Bounds { head, floor }, first, &rules())
    }

    #[test]
    fn each_goes_by_its_rule() {
        let channels: Vec<_> = [
            channel(1, "c:few/1", (1, 9), 850),
            channel(2, "c:few/2", (3, 4), 950),
            channel(3, "c:all", (1, 90_000), 1),
            channel(4, "c:other", (1, 1_003), 950),
            channel(5, "c:few/3", (2, 5), 1_200),
        ]
        .map(Option::unwrap)
        .into();
        assert_eq!(too_many(&channels, 100), [(1, 8), (4, 4), (5, 4)].into());
        assert_eq!(too_many(&channels, 8), [(1, 8), (4, 2)].into());
        let (floors, ages) = maybe_old(&channels, 1_000, 6);
        assert_eq!(floors, [(1, 4), (5, 5)].into(), "old, or with a clock that was ahead");
        assert_eq!((ages[&1].cutoff(), ages.len()), (900, 2));
        assert_eq!(maybe_old(&channels, 1_000, 1).0, [(1, 2), (5, 3)].into(), "each makes progress");
        assert_eq!(maybe_old(&channels, 1_000, 100).0, [(1, 10), (5, 6)].into(), "not beyond the head");
    }

    #[test]
    fn what_has_nothing_or_is_none_is_left_alone() {
        for (name, bounds) in
            [("c:a", (1, 0)), ("c:a", (8, 7)), ("i:a", (1, 1)), ("c:a b", (1, 1)), ("c:", (1, 1))]
        {
            assert!(channel(1, name, bounds, 1).is_none(), "{name}");
        }
    }
}
