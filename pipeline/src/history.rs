//! A page of a timeline as a client or a backend asks for it and gets it: the checks and the answer. Who may read what
//! is the caller's to know. No IO.

use tidegate_proto::Refusal;
use tidegate_proto::limits::MAX_PULL_ENTRIES;
use tidegate_proto::v1::{self, Deliver, Gone, Pull, deliver, pull};

use crate::store::{Page, PageEntry, Range};

/// Which part of its timeline a Pull asks for, and how many entries at most.
pub fn range(pull: &Pull) -> Result<(Range, usize), Refusal> {
    let position =
        |seq: i64| u64::try_from(seq).map_err(|_| Refusal::invalid("after and before must be at least 0"));
    let range = match pull.from {
        Some(pull::From::After(seq)) => Range::After(position(seq)?),
        Some(pull::From::Before(0)) => Range::Before(u64::MAX >> 1),
        Some(pull::From::Before(seq)) => Range::Before(position(seq)?),
        None => return Err(Refusal::invalid("exactly one of after and before must be set")),
    };
    let limit = match pull.limit {
        0 => DEFAULT_ENTRIES,
        1..=MAX_PULL_ENTRIES => pull.limit.unsigned_abs() as usize,
        _ => return Err(Refusal::invalid(format!("limit must be 0 to {MAX_PULL_ENTRIES}"))),
    };
    Ok((range, limit))
}

/// The page as it travels, for the `timeline` that was asked for.
pub fn page(timeline: String, page: Page) -> v1::Page {
    v1::Page {
        timeline,
        entries: page.entries.into_iter().map(|(seq, entry)| entry_of(seq, &entry)).collect(),
        head: page.bounds.head.cast_signed(),
        floor: page.bounds.floor.cast_signed(),
        more: page.more,
    }
}

fn entry_of(seq: u64, entry: &PageEntry) -> Deliver {
    let entry = match entry {
        PageEntry::Msg(body) => deliver::Entry::Msg(body.msg(0)),
        PageEntry::Gone => deliver::Entry::Gone(Gone {}),
    };
    Deliver { timeline: String::new(), seq: seq.cast_signed(), entry: Some(entry) }
}

/// What a Pull without a limit gets.
const DEFAULT_ENTRIES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_checked() {
        let pull = |from, limit| Pull { from, limit, ..Pull::default() };
        let after = |seq| Some(pull::From::After(seq));
        let before = |seq| Some(pull::From::Before(seq));
        assert_eq!(range(&pull(after(0), 0)), Ok((Range::After(0), DEFAULT_ENTRIES)));
        assert_eq!(range(&pull(before(7), 1_000)), Ok((Range::Before(7), 1_000)));
        let from_the_head = range(&pull(before(0), 1)).unwrap();
        assert_eq!(from_the_head, (Range::Before(i64::MAX.unsigned_abs()), 1));
        for wrong in [
            pull(None, 1),
            pull(after(-1), 1),
            pull(before(-1), 1),
            pull(after(0), 1_001),
            pull(after(0), -1),
        ] {
            assert!(range(&wrong).is_err(), "{wrong:?}");
        }
    }
}
