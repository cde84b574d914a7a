//! What every engine must do, as tests over a `Store` that know nothing of the engine.
//!
//! An engine gives a `Place` and writes `contract_tests!(its_place());`. Engines that are servers write
//! `server_tests!` too. A second argument says why the tests are ignored unless asked for.

mod append;
mod channels;
mod concurrent;
mod cursors;
pub(super) mod database;
mod faults;
mod fixture;
mod guard;
mod look;
pub(super) mod model;
mod pages;
mod retention;
mod writers;

pub(super) use append::*;
pub(super) use channels::*;
pub(super) use concurrent::*;
pub(super) use cursors::*;
pub(super) use faults::*;
pub(super) use fixture::*;
pub(super) use guard::*;
pub(super) use look::*;
pub(super) use pages::*;
pub(super) use retention::*;
pub(super) use writers::*;

use super::Store;

/// Where a test has its data: empty at first, and there as long as the place is.
pub(super) trait Place {
    /// Opens the data, for the first time or again.
    async fn open(&self) -> Store;
}

/// Every test of the contract, on a fresh place each.
macro_rules! contract_tests {
    ($($args:tt)+) => {
        $crate::store::contract::tests_on! { ($($args)+)
            a_direct_message_has_three_entries
            a_message_to_oneself_has_two_entries
            a_channel_message_is_in_its_conversation_only
            a_group_nobody_is_in_refuses
            a_repeat_is_answered_like_the_first
            another_body_is_a_conflict
            a_message_is_found_by_its_name
            seqs_follow_the_order_of_the_batch
            a_large_batch
            ids_are_compared_byte_by_byte
            an_empty_batch
            after_goes_up
            before_goes_down
            a_page_keeps_to_its_limits
            a_missing_timeline_is_empty
            what_expired_is_gone
            expired_bodies_take_no_room
            heads_come_in_the_order_asked_for
            many_heads
            cursors_only_grow
            cursors_belong_to_a_device
            many_cursors
            unused_cursors_are_dropped
            retention_by_age
            retention_by_count
            retention_by_both_leaves_nothing_behind
            retention_is_done_in_steps
            names_outlive_their_messages
            a_name_that_is_old_goes_with_its_message
            a_clock_ahead_does_not_stop_retention
            channels_are_kept_by_their_rules
            channels_are_cut_in_steps
            the_epoch_stays_until_a_new_one_is_drawn
            appenders_and_readers_beside_each_other
            a_dropped_append_leaves_nothing_half_done
            a_closed_store_says_so
        }
    };
}
pub(super) use contract_tests;

/// The tests for engines that are servers: writers beside each other, and what a server does to us. The place is a
/// `Database`.
macro_rules! server_tests {
    ($($args:tt)+) => {
        $crate::store::contract::tests_on! { ($($args)+)
            writers_of_overlapping_timelines
            writers_of_equal_pairs
            writers_of_pairs_with_different_bodies
            writers_beside_retention
            writers_of_cursors
            connections_that_are_cut
            a_rule_against_one_message
            a_database_that_is_not_fit_is_waited_for
            a_number_that_is_taken
            a_head_that_another_holds
            a_deadlock
            retention_waits_its_turn
            what_is_damaged_is_served_as_gone
            a_damaged_name_harms_no_other
            several_make_the_schema_at_once
            a_newer_schema_is_refused
            a_look_changes_nothing
            a_look_at_a_newer_schema
            who_must_be_alone_is
            a_guard_that_lost_its_connection_takes_the_lock_again
            random_schedules_agree_with_a_model
        }
    };
}
pub(super) use server_tests;

/// A test for each name.
macro_rules! tests_on {
    ($args:tt $($name:ident)+) => {
        $($crate::store::contract::tests_on! { @one $args $name })+
    };
    (@one ($place:expr) $name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $crate::store::contract::$name(&$place).await;
        }
    };
    (@one ($place:expr, $ignored:literal) $name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = $ignored]
        async fn $name() {
            $crate::store::contract::$name(&$place).await;
        }
    };
}
pub(super) use tests_on;
