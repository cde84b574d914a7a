//! End to end: the real program, started on free ports in a folder of its own, and clients over each transport.
//!
//! A scenario is one function over a transport; [`over_each_transport`] makes three tests of it. With
//! `TIDEGATE_TEST_FORM=split` the server is a gateway and a pipeline on real Kafka, Redis and SQL in place of one
//! process: `scripts/test services` runs so what does not look into that process. Limits of time only end a hang; every
//! second client of a server has lanes. Those that take minutes are ignored: `scripts/test faults` runs them, built for
//! release. To see one test's server log, let the test fail: it is printed then.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test it is the verdict")]

/// Three tests, one a transport, of each function named: `async fn(Transport)` of the module around it.
macro_rules! over_each_transport {
    ($($scenario:ident),+ $(,)?) => {
        mod quic { tests_over!(Quic: $($scenario),+); }
        mod web_transport { tests_over!(WebTransport: $($scenario),+); }
        mod web_socket { tests_over!(WebSocket: $($scenario),+); }
    };
}

/// One test of each function, over one transport.
macro_rules! tests_over {
    ($transport:ident: $($scenario:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $scenario() {
            Box::pin(super::$scenario(tidegate_client::Transport::$transport)).await;
        })+
    };
}

mod behind;
#[path = "../shared/collector.rs"]
mod collector;
#[path = "../shared/database.rs"]
mod database;
mod nat;
mod peer;
mod server;
#[path = "../shared/mod.rs"]
mod shared;

#[cfg(target_os = "linux")]
mod bench;
mod channels;
mod command_line;
mod drain;
mod exchange;
// It looks at the server through /proc.
#[cfg(target_os = "linux")]
mod hostile;
mod kill;
mod lanes;
mod migration;
mod offline;
mod rules;
mod sessions;
#[cfg(target_os = "linux")]
mod slow;
mod traces;
