//! The numbers of docs/PROTOCOL.md "Ids and limits" are those of the code.

use tidegate_gateway::auth::MAX_TOKEN_BYTES;
use tidegate_proto::limits::*;

use crate::page::PROTOCOL;

#[test]
fn limits_are_those_of_the_code() {
    let kib = |bytes: usize| {
        assert_eq!(bytes % 1024, 0);
        format!("{} KiB", bytes / 1024)
    };
    let rows = [
        format!(
            "| frame | {} ({} bytes), before Welcome {} |",
            kib(MAX_FRAME_BYTES),
            grouped(MAX_FRAME_BYTES),
            kib(MAX_HELLO_BYTES)
        ),
        format!("| `Msg.content` | {} |", kib(MAX_CONTENT_BYTES)),
        format!("| `Msg.related_id` | {MAX_RELATED_ID_BYTES} bytes |"),
        format!("| `Msg.nickname`, `Msg.said_at` | {MAX_NICKNAME_BYTES} bytes |"),
        format!(
            "| signal | content {} bytes, `kind` {MAX_SIGNAL_KIND_BYTES} bytes |",
            grouped(MAX_SIGNAL_BYTES)
        ),
        format!("| datagram | {} bytes |", grouped(MAX_DATAGRAM_BYTES)),
        format!("| `Hello.platform`, `Hello.agent` | {MAX_PLATFORM_BYTES}, {MAX_AGENT_BYTES} bytes |"),
        format!("| token | {} |", kib(MAX_TOKEN_BYTES)),
        format!("| sends in flight | {MAX_IN_FLIGHT}: "),
        format!("| lanes | {MAX_LANES} |"),
        format!(
            "| `Pull.limit` | {} entries; a Page has at most {}, or one entry |",
            grouped(usize::try_from(MAX_PULL_ENTRIES).unwrap()),
            kib(MAX_PAGE_BYTES)
        ),
        format!("| seqs kept above the cursor | {} |", grouped(MAX_APPLIED_ABOVE_CURSOR)),
        format!("| user, group, device id | 1–{MAX_ID_BYTES} bytes "),
        format!("| channel name | 1–{MAX_CHANNEL_BYTES} bytes "),
        format!("| `local_id` | 1–{MAX_LOCAL_ID_BYTES} bytes "),
    ];
    let section = PROTOCOL.section("## 2 Ids and limits");
    for row in rows {
        assert!(section.contains(&row), "docs/PROTOCOL.md does not say {row}");
    }
    let heartbeat = format!("every `heartbeat_ms` ({} s)", HEARTBEAT.as_secs());
    assert!(PROTOCOL.section("## 13 Heartbeat").contains(&heartbeat));
    let hello = format!("within {} s of the connection's start", HELLO_TIMEOUT.as_secs());
    assert!(PROTOCOL.section("## 7 A session").contains(&hello));
}

/// With a comma before each three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let (first, rest) = digits.split_at(digits.len() % 3);
    let groups = [first].into_iter().filter(|first| !first.is_empty()).map(str::to_owned);
    let rest = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    groups.chain(rest).collect::<Vec<_>>().join(",")
}
