//! Makes a page of the rows an engine reads: limits, direction, and what to do about a hole. Pure.

use tidegate_proto::timeline::Timeline;
use tracing::error;

use super::{Bounds, Page, PageEntry, Range};
use crate::body::Body;

/// A page in the making. The rows come in the order of the direction: rising for After, falling for Before.
#[derive(Debug)]
pub(super) struct PageBuilder {
    range: Range,
    limit: usize,
    max_bytes: usize,
    bounds: Bounds,
    entries: Vec<(u64, PageEntry)>,
    bytes: usize,
    full: bool,
}

/// What a row says of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) seq: u64,
    /// NULL if there is no such message.
    pub(super) conv_seq: Option<i64>,
    /// NULL if it expired.
    pub(super) encoded: Option<&'a [u8]>,
}

impl Bounds {
    /// A timeline's head and floor from two columns.
    pub(super) fn of_row(head: i64, floor: i64) -> Self {
        Self { head: head.cast_unsigned(), floor: floor.cast_unsigned() }
    }
}

impl Row<'_> {
    fn entry(self, timeline: &Timeline) -> PageEntry {
        let Self { seq, conv_seq, encoded } = self;
        let Some(conv_seq) = conv_seq else {
            error!(%timeline, seq, "an entry leads to no message: served as gone");
            return PageEntry::Gone;
        };
        let Some(encoded) = encoded else { return PageEntry::Gone };
        Body::from_stored(encoded, conv_seq.cast_unsigned()).map_or_else(
            || {
                error!(%timeline, seq, "a stored message cannot be decoded: served as gone");
                PageEntry::Gone
            },
            PageEntry::Msg,
        )
    }
}

impl PageBuilder {
    pub(super) fn new(range: Range, limit: usize, max_bytes: usize) -> Self {
        Self {
            range,
            limit: limit.max(1),
            max_bytes,
            bounds: Bounds::default(),
            entries: Vec::new(),
            bytes: 0,
            full: false,
        }
    }

    /// What the snapshot says of the timeline.
    pub(super) fn bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Adds the entry of a row; whether there is room for another one after it.
    pub(super) fn add_row(&mut self, timeline: &Timeline, row: Row<'_>) -> bool {
        self.add(row.seq, row.entry(timeline))
    }

    /// Adds the rows of an engine that counts bytes too, and sends no more than a page takes.
    pub(super) fn add_rows<'a>(&mut self, timeline: &Timeline, rows: impl IntoIterator<Item = Row<'a>>) {
        let mut bytes = 0;
        for row in rows {
            bytes += row.encoded.map_or(0, <[u8]>::len);
            if !self.add_row(timeline, row) {
                return;
            }
        }
        if bytes > self.max_bytes {
            self.end();
        }
    }

    /// Adds the next entry if it still goes in; whether there is room for another one after it.
    ///
    /// The first always goes in, however large: a page makes progress.
    fn add(&mut self, seq: u64, entry: PageEntry) -> bool {
        let bytes = ENTRY_BYTES
            + match &entry {
                PageEntry::Msg(body) => body.bytes().len(),
                PageEntry::Gone => 0,
            };
        if !self.entries.is_empty() && self.bytes + bytes > self.max_bytes {
            self.full = true;
            return false;
        }
        self.bytes += bytes;
        self.entries.push((seq, entry));
        self.full = self.entries.len() >= self.limit || self.bytes >= self.max_bytes;
        !self.full
    }

    /// The rows end here though the timeline goes on.
    fn end(&mut self) {
        self.full = true;
    }

    /// The page, in rising order.
    pub(super) fn finish(mut self, timeline: &Timeline) -> Page {
        self.fill_holes(timeline);
        if let Range::Before(_) = self.range {
            self.entries.reverse();
        }
        let Bounds { head, floor } = self.bounds;
        let more = match (self.range, self.entries.first(), self.entries.last()) {
            (Range::After(_), _, Some((last, _))) => *last < head,
            (Range::Before(_), Some((first, _)), _) => *first > floor,
            _ => false,
        };
        Page { entries: self.entries, bounds: self.bounds, more }
    }

    /// A timeline is dense (ARCHITECTURE.md invariant 2), so a hole is damage. It cannot be healed by asking again, and
    /// nobody could ever read past an error, so what is missing is served as gone, loudly.
    fn fill_holes(&mut self, timeline: &Timeline) {
        let Bounds { head, floor } = self.bounds;
        let last = self.entries.last().map(|(seq, _)| *seq).filter(|_| self.full);
        let wanted: &mut dyn Iterator<Item = u64> = match self.range {
            Range::After(seq) => &mut (seq.saturating_add(1).max(floor)..=last.unwrap_or(head)),
            Range::Before(seq) => &mut (last.unwrap_or(floor)..=seq.saturating_sub(1).min(head)).rev(),
        };
        let mut found = std::mem::take(&mut self.entries).into_iter().peekable();
        let mut missing = 0;
        for seq in wanted.take(self.limit) {
            let entry = found.next_if(|(next, _)| *next == seq).map(|(_, entry)| entry);
            missing += usize::from(entry.is_none());
            self.entries.push((seq, entry.unwrap_or(PageEntry::Gone)));
        }
        if missing > 0 {
            error!(%timeline, range = ?self.range, missing, "a timeline has a hole: served as gone");
        }
    }
}

/// What an entry takes on the wire beside its body, about.
const ENTRY_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(range: Range, limit: usize, seqs: &[u64]) -> Page {
        let mut builder = PageBuilder::new(range, limit, 1_000);
        builder.bounds(Bounds { head: 9, floor: 3 });
        for &seq in seqs {
            if !builder.add(seq, PageEntry::Gone) {
                break;
            }
        }
        builder.finish(&Timeline::parse("c:x").unwrap())
    }

    #[test]
    fn where_the_engine_cut_there_is_no_hole() {
        let mut builder = PageBuilder::new(Range::After(2), 9, 1_000);
        builder.bounds(Bounds { head: 9, floor: 3 });
        builder.add(3, PageEntry::Gone);
        builder.end();
        let page = builder.finish(&Timeline::parse("c:x").unwrap());
        assert_eq!((seqs(&page), page.more), (vec![3], true));
    }

    fn seqs(page: &Page) -> Vec<u64> {
        page.entries.iter().map(|(seq, _)| *seq).collect()
    }

    #[test]
    fn both_directions_rise_and_say_whether_there_is_more() {
        let after = page(Range::After(0), 3, &[3, 4, 5, 6]);
        assert_eq!((seqs(&after), after.more), (vec![3, 4, 5], true));
        let after = page(Range::After(7), 3, &[8, 9]);
        assert_eq!((seqs(&after), after.more), (vec![8, 9], false));
        let before = page(Range::Before(u64::MAX), 3, &[9, 8, 7, 6]);
        assert_eq!((seqs(&before), before.more), (vec![7, 8, 9], true));
        let before = page(Range::Before(5), 3, &[4, 3]);
        assert_eq!((seqs(&before), before.more), (vec![3, 4], false));
        for range in [Range::After(9), Range::Before(3), Range::Before(0)] {
            assert_eq!((seqs(&page(range, 3, &[])), page(range, 3, &[]).more), (vec![], false));
        }
    }

    #[test]
    fn a_hole_is_served_as_gone() {
        assert_eq!(seqs(&page(Range::After(3), 9, &[4, 7, 8])), [4, 5, 6, 7, 8, 9]);
        assert_eq!(seqs(&page(Range::Before(9), 9, &[7, 5])), [3, 4, 5, 6, 7, 8]);
        assert_eq!(seqs(&page(Range::After(7), 9, &[])), [8, 9], "a page makes progress");
        assert_eq!(seqs(&page(Range::After(0), 2, &[8])), [3, 4], "never over the limit");
    }
}
