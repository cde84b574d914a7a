//! `tidegate bench` in sizes of seconds: what it says over every transport, against a server of its own and one that
//! runs, and with which code it ends.

mod lossy;

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::Value;

use self::lossy::Lossy;
use crate::peer::within;
use crate::server::Server;

/// One test of a transport.
macro_rules! over {
    ($($wire:ident),+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $wire() {
            Box::pin(every_bench(stringify!($wire))).await;
        })+
    };
}

over!(ws, wss, quic, wt);

async fn every_bench(wire: &str) {
    let server = Server::start().await;
    let own = succeeds(&server, &["direct", "--pairs", "2", "--transport", wire, "--server-cpus", "0"]).await;
    direct(&own, wire);

    let there = running(&server, wire);
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let bench = async |arguments: &[&str]| succeeds(&server, &[arguments, &there].concat()).await;
    closed_loop(&bench(&["direct", "--pairs", "2", "--outstanding", "2"]).await, wire);
    idle(&bench(&["idle", "--connections", "3", "--duration", "200ms"]).await, wire);
    spread(&bench(&["spread", "--users", "4", "--slow", "1"]).await, wire);
    fanout(&bench(&["fanout", "--subs", "5"]).await, wire, "rate");
    fanout(&bench(&["fanout", "--subs", "5", "--outstanding", "4"]).await, wire, "outstanding");
    resume(&bench(&["resume", "--clients", "3", "--messages", "20"]).await, wire);
}

/// The flags for a server that runs.
fn running(server: &Server, wire: &str) -> [String; 8] {
    let address = if wire == "ws" { server.plain } else { server.secure };
    let data = server.data().to_str().unwrap().to_owned();
    let flags = [("--server", address.to_string()), ("--data", data), ("--cert-hash", server.certificate())];
    let [a, b, c] = flags;
    let transport = ("--transport", wire.to_owned());
    [a, b, c, transport].map(|(name, value)| [name.to_owned(), value]).concat().try_into().unwrap()
}

fn direct(report: &Value, wire: &str) {
    has(report, "direct", wire, &[FLOW, &["rate"]].concat());
    flowed(report);
    latencies(report);
    assert_eq!(
        (&report["senders"], &report["recipients"], &report["rate"]),
        (&2.into(), &2.into(), &100.into())
    );
    assert_eq!(report["bytes"], 128);
}

fn closed_loop(report: &Value, wire: &str) {
    has(report, "direct", wire, &[FLOW, &["outstanding"]].concat());
    flowed(report);
    assert_eq!(report["outstanding"], 2);
}

fn spread(report: &Value, wire: &str) {
    has(report, "spread", wire, &[FLOW, &["rate", "slow"]].concat());
    flowed(report);
    latencies(report);
    let slow = &report["slow"];
    assert_eq!((&slow["clients"], &slow["read_bytes_per_second"]), (&1.into(), &1_024.into()));
    latencies(&slow["before"]);
    assert!(report["sent"].as_u64().unwrap() > slow["backlog_bytes"].as_u64().unwrap() / 65_536);
    assert!(slow["server_rss_before_kib"].as_u64() > Some(1_000), "{report}");
}

fn fanout(report: &Value, wire: &str, pace: &str) {
    has(report, "fanout", wire, &[FANOUT, &[pace]].concat());
    let count = |what: &str| report[what].as_u64().unwrap_or_else(|| panic!("{what}: {report}"));
    assert_eq!((count("subscribers"), count("broken"), count("misplaced")), (5, 0, 0));
    assert!(count("published") > 0 && count("deliveries") == 5 * count("published"), "{report}");
    assert!(report["messages_per_write"].as_f64() >= Some(1.0), "{report}");
    assert!(report["delivered_us"]["count"].as_u64() > Some(0), "{report}");
}

/// Everything sent has come.
fn flowed(report: &Value) {
    assert!(report["received"].as_u64() > Some(0), "{report}");
    assert_eq!(report["sent"], report["received"]);
    assert!(report["server_rss_kib"].as_u64() > Some(1_000), "{report}");
}

/// Of what was due in the measured time, however long it took.
fn latencies(report: &Value) {
    for what in ["accepted_us", "stored_us", "delivered_us"] {
        let figures = &report[what];
        let at = |quantile: &str| figures[quantile].as_u64().unwrap_or_else(|| panic!("{what}: {report}"));
        assert!(at("count") > 0, "{report}");
        let rising = ["p50", "p90", "p99", "p999", "max"].map(at);
        assert!(rising[0] > 0 && rising.is_sorted(), "{report}");
    }
    assert!(report["received_per_second"].is_f64(), "{report}");
}

fn idle(report: &Value, wire: &str) {
    has(report, "idle", wire, IDLE);
    assert_eq!((&report["connections"], &report["broken"]), (&3.into(), &0.into()));
    assert!(report["rss_kib"].as_u64() > Some(1_000), "{report}");
}

fn resume(report: &Value, wire: &str) {
    has(report, "resume", wire, RESUME);
    assert_eq!((&report["clients"], &report["messages"]), (&3.into(), &20.into()));
    assert_eq!((&report["session_us"]["count"], &report["complete_us"]["count"]), (&3.into(), &3.into()));
    assert!(report["sessions_per_second"].as_f64() > Some(0.0), "{report}");
}

const FAULTS: [&str; 3] = ["lost", "doubled", "reordered"];
const FLOW: &[&str] = &[
    "bench",
    "transport",
    "senders",
    "recipients",
    "bytes",
    "seconds",
    "sent",
    "received",
    "received_per_second",
    "server_cpu_us_per_message",
    "client_cpu_us_per_message",
    "server_rss_kib",
    "accepted_us",
    "stored_us",
    "delivered_us",
    "rejected",
    "reconnects",
    "lost",
    "doubled",
    "reordered",
];
const FANOUT: &[&str] = &[
    "bench",
    "transport",
    "subscribers",
    "bytes",
    "seconds",
    "published",
    "deliveries",
    "deliveries_per_second",
    "deliveries_per_server_cpu_second",
    "server_cpu_us_per_delivery",
    "client_cpu_us_per_delivery",
    "messages_per_write",
    "delivered_us",
    "stored_us",
    "server_rss_kib",
    "rejected",
    "broken",
    "misplaced",
    "lost",
    "doubled",
    "reordered",
];
const IDLE: &[&str] = &[
    "bench",
    "transport",
    "connections",
    "seconds",
    "rss_before_kib",
    "rss_kib",
    "kib_per_connection",
    "cpu_us_per_second_per_connection",
    "connect_cpu_us_per_connection",
    "broken",
];
const RESUME: &[&str] = &[
    "bench",
    "transport",
    "clients",
    "messages",
    "sessions_seconds",
    "sessions_per_second",
    "complete_seconds",
    "server_cpu_us_per_session",
    "client_cpu_us_per_session",
    "server_rss_kib",
    "session_us",
    "complete_us",
    "failed_attempts",
    "lost",
    "doubled",
    "reordered",
];

/// The report is of this bench, has these fields with a value and no others, and nothing went wrong.
fn has(report: &Value, bench: &str, wire: &str, fields: &[&str]) {
    assert_eq!((&report["bench"], &report["transport"]), (&bench.into(), &wire.into()));
    let there = report.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
    let there: BTreeSet<&str> = there.map(|(name, _)| name.as_str()).collect();
    assert_eq!(there, fields.iter().copied().collect());
    for fault in FAULTS.into_iter().filter(|fault| there.contains(fault)) {
        assert_eq!(report[fault], 0, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_message_is_counted_and_ends_it_with_1() {
    let server = Server::start().await;
    let lossy = Lossy::start(server.plain).await;
    let address = lossy.address.to_string();
    let data = server.data();
    let flags = ["--server", &address, "--data", data.to_str().unwrap(), "--wait", "2s"];
    let output = run(&server, &[&["direct", "--pairs", "1", "--transport", "ws"], &flags[..]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = json(&output);
    let dropped = lossy.dropped();
    assert!(dropped > 0);
    assert_eq!(report["lost"].as_u64(), Some(dropped));
    assert_eq!(report["received"].as_u64().unwrap() + dropped, report["sent"].as_u64().unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("tidegate: Faults {{ lost: {dropped}, ")), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_measured_ends_it_without_figures() {
    let server = Server::start().await;
    let mut flags = running(&server, "quic");
    let there: Vec<&str> = flags.iter().map(String::as_str).collect();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["direct", "--server", "127.0.0.1:1"], 2, "--data"),
        (&["direct", "--server", "127.0.0.1:1", "--data", "nowhere"], 1, "does a server run from there?"),
        (&["spread", "--users", "2", "--slow", "2"], 1, "--slow must be less than --users"),
        (&[&["direct", "--server-cpus", "0"], &there[..]].concat(), 2, "--server-cpus"),
    ];
    for (arguments, code, expected) in cases {
        refused(&run(&server, arguments).await, code, expected);
    }
    // The hash of another certificate.
    flags[5] = "00".repeat(32);
    let there: Vec<&str> = flags.iter().map(String::as_str).collect();
    refused(
        &run(&server, &[&["idle", "--connections", "1"], &there[..]].concat()).await,
        1,
        "cannot connect",
    );
}

fn refused(output: &Output, code: i32, expected: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*output.stdout), (Some(code), &b""[..]), "{said}");
    assert!(said.contains(expected), "{expected:?} is not in {said:?}");
}

/// The report of a run that found nothing wrong.
async fn succeeds(server: &Server, arguments: &[&str]) -> Value {
    let output = run(server, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    json(&output)
}

/// The one line on standard output.
fn json(output: &Output) -> Value {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(text).unwrap()
}

/// With a small and short load where the bench has one.
async fn run(server: &Server, arguments: &[&str]) -> Output {
    let mut command = server.program();
    command.arg("bench").args(arguments);
    if matches!(arguments[0], "direct" | "spread" | "fanout") {
        command.args(["--rate", "100", "--duration", "500ms", "--warm-up", "100ms"]);
    }
    within(command.output()).await.unwrap()
}
