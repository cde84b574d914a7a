//! What arrives, in tables and in random order.

use super::*;
use proptest::prelude::*;

const EPOCH: &str = "first";

fn fresh(start: i64, head: i64) -> Inbox {
    let mut inbox = Inbox::default();
    assert!(!inbox.welcome(EPOCH, start, head));
    inbox
}

#[test]
fn the_first_welcome_decides_where_it_starts() {
    assert_eq!(Inbox::default().position(), None);
    assert_eq!(fresh(7, 9).position(), Some(Position { epoch: EPOCH.into(), cursor: 7 }));
}

#[test]
fn out_of_order_counts_once_and_moves_the_cursor_when_contiguous() {
    let mut inbox = fresh(0, 0);
    for (seq, arrival, cursor) in [
        (2, Arrival::New, 0),
        (4, Arrival::New, 0),
        (2, Arrival::Known, 0),
        (1, Arrival::New, 2),
        (1, Arrival::Known, 2),
        (3, Arrival::New, 4),
        (4, Arrival::Known, 4),
    ] {
        assert_eq!((inbox.arrive(seq), inbox.cursor()), (arrival, cursor), "seq {seq}");
    }
}

#[test]
fn a_resume_keeps_what_was_applied() {
    let mut inbox = fresh(0, 0);
    inbox.arrive(1);
    inbox.arrive(3);
    assert!(!inbox.welcome(EPOCH, 1, 5));
    assert_eq!(inbox.arrive(3), Arrival::Known);
    assert_eq!(inbox.arrive(2), Arrival::New);
    assert_eq!(inbox.cursor(), 3);
}

#[test]
fn another_epoch_or_a_head_below_the_cursor_voids_it() {
    let mut inbox = Inbox::resumed(Position { epoch: EPOCH.into(), cursor: 10 });
    inbox.arrive(12);
    assert!(inbox.welcome("second", 0, 20));
    assert_eq!(inbox.position(), Some(Position { epoch: "second".into(), cursor: 0 }));
    assert_eq!(inbox.arrive(12), Arrival::New);

    let mut inbox = Inbox::resumed(Position { epoch: EPOCH.into(), cursor: 10 });
    assert!(inbox.welcome(EPOCH, 0, 9));
    assert_eq!(inbox.arrive(1), Arrival::New);
}

#[test]
fn the_floor_takes_the_cursor_along() {
    let mut inbox = fresh(0, 0);
    inbox.arrive(5);
    inbox.arrive(6);
    inbox.arrive(9);
    inbox.history_gone(5);
    assert_eq!(inbox.cursor(), 6);
    inbox.history_gone(2);
    assert_eq!(inbox.cursor(), 6);
    assert!(!inbox.welcome(EPOCH, 8, 20));
    assert_eq!(inbox.cursor(), 9);
}

#[test]
fn figures_at_the_edge_do_no_harm() {
    let mut inbox = fresh(i64::MAX - 1, i64::MAX);
    assert_eq!(inbox.arrive(i64::MAX), Arrival::New);
    assert_eq!(inbox.arrive(i64::MAX), Arrival::Known);
    inbox.history_gone(i64::MIN);
    assert_eq!(inbox.cursor(), i64::MAX);
    let mut inbox = fresh(i64::MIN, 0);
    assert_eq!(inbox.arrive(i64::MAX), Arrival::New);
    inbox.history_gone(i64::MAX);
    assert_eq!(inbox.cursor(), i64::MAX);
}

#[test]
fn the_set_is_bounded_and_the_hole_can_still_be_filled() {
    let mut inbox = fresh(0, 0);
    let last = 1 + MAX_APPLIED_ABOVE_CURSOR as i64;
    for seq in 2..=last {
        assert_eq!(inbox.arrive(seq), Arrival::New);
    }
    assert_eq!(inbox.arrive(last + 1), Arrival::TooFar);
    assert_eq!(inbox.arrive(1), Arrival::New);
    assert_eq!(inbox.cursor(), last);
    assert_eq!(inbox.arrive(last + 1), Arrival::New);
}

/// What a server with lanes does to one client: each conversation in order, conversations in any order, and at a
/// reconnect everything after the client's cursor once more.
fn lanes_of(seqs: std::ops::RangeInclusive<i64>, lanes: i64) -> Vec<Vec<i64>> {
    (0..lanes).map(|lane| seqs.clone().filter(|seq| seq % lanes == lane).rev().collect()).collect()
}

proptest! {
    #[test]
    fn everything_is_applied_exactly_once_and_in_order_per_conversation(
        count in 1i64..100,
        lanes in 1i64..6,
        choices in prop::collection::vec((0usize..6, 0u8..20), 1..300),
    ) {
        let mut inbox = fresh(0, count);
        let mut applied: Vec<i64> = Vec::new();
        let mut waiting = lanes_of(1..=count, lanes);
        let mut resent: i64 = 0;
        for (lane, chance) in choices.into_iter().chain((0..lanes as usize).cycle().map(|lane| (lane, 1)).take(count as usize * 6)) {
            if chance == 0 {
                // The connection breaks; the server starts again after the cursor.
                let start = inbox.cursor();
                prop_assert!(!inbox.welcome(EPOCH, start, count));
                waiting = lanes_of(start + 1..=count, lanes);
                resent += 1;
            }
            let lane = lane % waiting.len();
            if let Some(seq) = waiting[lane].pop() && inbox.arrive(seq) == Arrival::New {
                applied.push(seq);
            }
            let cursor = inbox.cursor();
            let covered = applied.iter().filter(|seq| **seq <= cursor).count();
            prop_assert_eq!(covered as i64, cursor, "the cursor covers a hole");
        }
        prop_assert!(waiting.iter().all(Vec::is_empty), "after {} reconnects", resent);
        prop_assert_eq!(inbox.cursor(), count);
        prop_assert!(inbox.above.is_empty());
        for lane in 0..lanes {
            let order: Vec<i64> = applied.iter().copied().filter(|seq| seq % lanes == lane).collect();
            prop_assert!(order.is_sorted_by(|a, b| a < b));
        }
        applied.sort_unstable();
        prop_assert_eq!(applied, (1..=count).collect::<Vec<_>>());
    }
}
