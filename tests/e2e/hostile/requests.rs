//! HTTP and WebSocket as nobody should write them, against the plain and the admin listener of a running server.

use tidegate_client::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::socket::{Socket, message, read_head, upgrade_request};
use super::watch::{WITH_ADMIN, metric, metrics, sessions, sockets, until, value};
use crate::peer::{Peer, within};
use crate::server::Server;

const KEY: &str = "api.keys=[\"a-key-of-the-backend-0123456789\"]";
const CLOSE: &str = "Host: localhost\r\nConnection: close\r\n\r\n";
const BEARER: &str = "Authorization: Bearer a-key-of-the-backend-0123456789";

/// The answer to bytes, up to the end of the connection; the status, or 0 when it ended without one.
async fn status(address: std::net::SocketAddr, request: &[u8]) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    // It may be refused before it is read to its end.
    let _ = within(tcp.write_all(request)).await;
    let mut answer = Vec::new();
    let _ = within(tcp.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.strip_prefix("HTTP/1.1 ").or(answer.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.get(..3)).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), answer)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{CLOSE}")
}

fn post(more: &str, body: &str) -> String {
    let length = if more.to_ascii_lowercase().contains("length") || more.contains("chunked") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    format!(
        "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{BEARER}\r\n{length}{more}\r\n{body}"
    )
}

/// What is no request that is served, and the statuses that may answer it.
fn no_requests() -> Vec<(Vec<u16>, String)> {
    let long = "x".repeat(64 * 1024);
    vec![
        (vec![400], "\0\0\0\0\r\n\r\n".into()),
        (vec![0, 400], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        (vec![400], "GET\r\n\r\n".into()),
        (vec![400], "GET / HTTP/9.9\r\n\r\n".into()),
        (vec![400], "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n".into()),
        (vec![400], "GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n".into()),
        (vec![400], "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".into()),
        (vec![400], "GET /\u{1}\u{ff} HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (vec![404], get("/../../etc/passwd")),
        (vec![404], get("/%2e%2e/%2e%2e/etc/passwd")),
        (vec![404], get("//etc/passwd")),
        (vec![404], get("/%00")),
        (vec![404], get("/ws/a/conn/b/c/d")),
        (vec![404], get("/metrics")),
        (vec![404], get("/assets/../index.html/..")),
        (vec![426], get("/ws")),
        (vec![431, 414], get(&format!("/ws?token={long}"))),
        (vec![431, 414], get(&format!("/ws/eve/conn/{long}/d"))),
        (vec![405], format!("TRACE / HTTP/1.1\r\n{CLOSE}")),
        (vec![405, 404], format!("CONNECT example.com:443 HTTP/1.1\r\n{CLOSE}")),
        (vec![405, 404], format!("OPTIONS * HTTP/1.1\r\n{CLOSE}")),
        (vec![405], format!("{} /api/v1/messages HTTP/1.1\r\n{CLOSE}", "X".repeat(200))),
        // Two lengths, or a length beside chunks: what a proxy before us reads otherwise.
        (vec![400], post("Content-Length: 2\r\nContent-Length: 40\r\n", "{}")),
        (vec![400], post("Content-Length: +2\r\n", "{}")),
        (vec![400], post("Content-Length: 2, 3\r\n", "{}")),
        (vec![400], post("Content-Length: 99999999999999999999\r\n", "{}")),
        (vec![400], post("Transfer-Encoding: chunked, identity\r\n", "2\r\n{}\r\n0\r\n\r\n")),
        (vec![400, 413], post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        (vec![400, 413], post("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n")),
        (vec![413], post("Content-Length: 9223372036854775807\r\n", "{}")),
        (vec![400], post("", "")),
        (vec![400], post("", "[]")),
        (vec![400], post("", "nonsense")),
        (vec![400], post("", &"[".repeat(100_000))),
        (vec![400], post("", &format!("{}1{}", r#"{"x":"#.repeat(20_000), "}".repeat(20_000)))),
        (vec![400], post("", r#"{"receiver_id":7}"#)),
        (vec![400], post("", r#"{"receiver_id":"bob","receiver_id":"eve"}"#)),
        (vec![400], post("", "{\"receiver_id\":\"\u{0}\"}")),
        (vec![400], post("", r#"{"receiver_id":"bob","create_time":1e400}"#)),
        (vec![400], post("", r#"{"receiver_id":"bob","content":"a","content_base64":"YQ=="}"#)),
        (vec![400], post("", r#"{"receiver_id":"bob","content_base64":"*"}"#)),
        (vec![400], post("", r#"{"receiver_id":"bob","send_id":"@system/../x"}"#)),
        (vec![400], post("", "{\"receiver_id\":\"bob\",\"content\":\"\\ud800\"}")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_none_are_refused() {
    let server = Server::start_with(&[], &[WITH_ADMIN, KEY]).await;
    let honest = Peer::connect(&server, Transport::WebSocket, "honest", "h").await;
    let before = sockets(&server);
    for (expected, request) in no_requests() {
        let (status, answer) = status(server.plain, request.as_bytes()).await;
        let shown: String = request.chars().take(120).collect();
        assert!(expected.contains(&status), "{shown:?}: {answer}");
        assert!(answer.len() < 1_000, "{shown:?}: {answer}");
    }
    // The same on the operators' listener, which shows nothing else.
    for request in [get("/"), get("/ws"), get("/api/v1/messages"), get("/demo/token?user=eve")] {
        let (status, answer) = status(server.admin.unwrap(), request.as_bytes()).await;
        assert_eq!(status, 404, "{answer}");
    }
    let text = metrics(&server).await;
    for reason in ["http", "not_found", "handshake", "invalid_argument", "too_large"] {
        let name = format!("http_refused_total{{reason=\"{reason}\"}}");
        assert!(value(&text, &name) > 0, "{name}: {text}");
    }
    until(async || sockets(&server) <= before).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
    honest.store("honest", "still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_request_hidden_in_the_first_is_not_served() {
    let server = Server::start_with(&[], &[WITH_ADMIN, KEY]).await;
    let hidden = "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for head in [
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", hidden.len() + 5),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
    ] {
        let request = format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n{BEARER}\r\n{head}\r\n0\r\n\r\n{hidden}"
        );
        let (_, answer) = status(server.plain, request.as_bytes()).await;
        let answers = answer.matches("HTTP/1.1 ").count();
        // Where the first is served as chunks, the second is an honest one behind it; but never with a length beside.
        assert!(answers <= 1, "{head:?}: {answer}");
    }
}

/// Bytes after the upgrade, and the code of the close frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_no_websocket_get_its_codes() {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let honest = Peer::connect(&server, Transport::WebSocket, "honest", "h").await;
    let before = sockets(&server);
    let masked = |head: &[u8], payload: &[u8]| [head, &[0; 4], payload].concat();
    let cases: Vec<(u32, Vec<u8>)> = vec![
        (1002, vec![0x82, 0x01, 0x00]),
        (1002, masked(&[0xc2, 0x81], &[0])),
        (1002, masked(&[0xa2, 0x81], &[0])),
        (1002, masked(&[0x92, 0x81], &[0])),
        (1002, masked(&[0x83, 0x80], &[])),
        (1002, masked(&[0x8b, 0x80], &[])),
        // Control frames: in fragments, too long.
        (1002, masked(&[0x09, 0x80], &[])),
        (1002, masked(&[0x89, 0xfe, 0, 126], &[0; 126])),
        (1002, masked(&[0x88, 0x81], &[3])),
        (1002, masked(&[0x88, 0x82], &[0, 1])),
        (1002, masked(&[0x88, 0x82], &[0x03, 0xed])),
        (1007, masked(&[0x88, 0x83], &[0x03, 0xe8, 0xff])),
        // A continuation of nothing, a message within a message.
        (1002, masked(&[0x80, 0x80], &[])),
        (1002, [masked(&[0x02, 0x80], &[]), masked(&[0x82, 0x80], &[])].concat()),
        // Lengths: not the shortest form, with the highest bit, 2^63 - 1, 16 MiB.
        (1002, masked(&[0x82, 0xfe, 0, 1], &[0])),
        (1002, masked(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1], &[0])),
        (1009, vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (1009, vec![0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0]),
        (1007, masked(&[0x81, 0x82], &[0xc0, 0x80])),
        (1007, masked(&[0x81, 0x83], &[0xed, 0xa0, 0x80])),
    ];
    for (code, bytes) in cases {
        for subprotocol in ["tidegate.v1", "tidegate.v1.json"] {
            let mut socket = Socket::upgrade(server.plain, "/ws", subprotocol).await;
            socket.write_raw(&bytes).await;
            while within(socket.read_message()).await.is_some() {}
            let closed = within(socket.closed()).await;
            assert_eq!(closed, code, "{subprotocol} {:02x?}", &bytes[..bytes.len().min(16)]);
        }
    }
    // A length of 2^63 is either: too large, or no length.
    let mut socket = Socket::upgrade(server.plain, "/ws", "tidegate.v1").await;
    socket.write_raw(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]).await;
    while within(socket.read_message()).await.is_some() {}
    assert!([1002, 1009].contains(&within(socket.closed()).await));
    until(async || sockets(&server) <= before && sessions(&server).await == 1).await;
    honest.store("honest", "still here").await;
}

/// Pings and fragments are no frames of ours, so nothing of ours limits them: they cost no memory and starve nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_and_of_empty_fragments_disturbs_nobody() {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let mut honest = Peer::connect(&server, Transport::WebSocket, "honest", "h").await;
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    let mut flood = message(9, b"ping").repeat(2_000);
    flood.extend_from_slice(&[0x02, 0x80, 0, 0, 0, 0]);
    flood.extend_from_slice(&[0x00, 0x80, 0, 0, 0, 0].repeat(2_000));
    flood.extend_from_slice(&[0x80, 0x80, 0, 0, 0, 0]);
    let mut deaf = Socket::upgrade(server.plain, "/ws", "tidegate.v1").await;
    for round in 0..20 {
        // It reads nothing, so at some time it is held up, and only it.
        let written =
            tokio::time::timeout(std::time::Duration::from_secs(1), deaf.tcp.write_all(&flood)).await;
        alice.send("honest", round.to_string()).await;
        assert_eq!(honest.text().await, round.to_string());
        if !matches!(written, Ok(Ok(()))) {
            break;
        }
    }
    drop(deaf);
    until(async || sessions(&server).await == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_from_a_foreign_page_or_with_an_offer_of_compression() {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let request = upgrade_request(server.plain, "/ws", "tidegate.v1");
    for (line, expected) in [
        ("Origin: https://evil.example", "403"),
        ("Origin: null", "403"),
        ("Origin: ", "403"),
        ("Origin: http://localhost.evil.example", "403"),
        ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits", "101"),
    ] {
        let mut tcp = TcpStream::connect(server.plain).await.unwrap();
        let with_line = request.replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
        tcp.write_all(with_line.as_bytes()).await.unwrap();
        let head = within(read_head(&mut tcp)).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{line}: {head}");
        assert!(!head.to_ascii_lowercase().contains("extensions"), "{head}");
    }
    assert_eq!(metric(&server, "http_refused_total{reason=\"origin\"}").await, 4);
}
