//! Cursors in the order they are locked. Pure.

use crate::store::CursorUpdate;

/// Each device once, with the greatest of its cursors, in the order of the table's key: whoever writes many locks them
/// in this order.
pub(in crate::store) fn merged(cursors: &[CursorUpdate]) -> Vec<(&CursorUpdate, u64)> {
    let mut rows: Vec<(&CursorUpdate, u64)> = cursors.iter().map(|update| (update, update.cursor)).collect();
    let key = |(update, cursor): &(&CursorUpdate, u64)| {
        (update.user.as_str().to_owned(), update.device.as_str().to_owned(), std::cmp::Reverse(*cursor))
    };
    rows.sort_by_cached_key(key);
    rows.dedup_by(|next, kept| (&next.0.user, &next.0.device) == (&kept.0.user, &kept.0.device));
    rows
}

/// The day of a time, ms since 1970: an index over it changes once a day where one over the time would with each use.
pub(in crate::store) fn day(time_ms: i64) -> i64 {
    time_ms.div_euclid(24 * 3600 * 1000)
}

/// Cursors of one transaction.
pub(in crate::store) const CURSORS_AT_ONCE: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{device, user};

    #[test]
    fn each_once_with_the_greatest() {
        let update = |on: &str, cursor| CursorUpdate { user: user("bob"), device: device(on), cursor };
        let given = [update("b", 1), update("a", 9), update("B", 3), update("a", 10), update("a", 2)];
        let merged: Vec<_> =
            merged(&given).into_iter().map(|(update, cursor)| (update.device.to_string(), cursor)).collect();
        assert_eq!(merged, [("B".to_owned(), 3), ("a".to_owned(), 10), ("b".to_owned(), 1)]);
    }
}
