//! The split form under faults: real Kafka, Redis and SQL, several gateways and pipelines, users on all of them over
//! each transport, and a checker that knows every message.
//!
//! A scenario is one function over a [`scale::Scale`]; [`at_both_scales`] makes two tests of it: `short`, which CI runs
//! (`scripts/test cluster`), and `full`, which wants a build for release and a machine of its own (`scripts/test
//! faults`). All of them stop and start the servers under them: one at a time, with `--test-threads=1`.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test it is the verdict")]

/// Two tests, one a scale, of each function named: `async fn(Scale)` of the module around it.
macro_rules! at_both_scales {
    ($($scenario:ident),+ $(,)?) => {
        mod short { tests_at!(SHORT: $($scenario),+); }
        mod full { tests_at!(FULL: $($scenario),+); }
    };
}

/// One test of each function, at one scale.
macro_rules! tests_at {
    ($scale:ident: $($scenario:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "needs Kafka, Redis and SQL of its own: run it by `scripts/test cluster` or `scripts/test faults`"]
        async fn $scenario() {
            Box::pin(super::$scenario($crate::scale::$scale)).await;
        })+
    };
}

mod audit;
mod channels;
mod checker;
mod cluster;
mod crew;
#[path = "../shared/database.rs"]
mod database;
mod ledger;
mod process;
mod relay;
mod restless;
mod scale;
mod services;
#[path = "../shared/mod.rs"]
mod shared;
mod slow_reader;
mod trial;

mod backends;
mod bad_input;
mod changes;
mod crowd;
mod kills;
mod links;
mod wanderer;
