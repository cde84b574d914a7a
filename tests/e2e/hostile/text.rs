//! JSON and the plain `Msg` mode with texts that are none of ours.

use serde_json::{Value, json};
use tidegate_client::Transport;

use super::socket::{Socket, message};
use super::watch::{WITH_ADMIN, sessions, until};
use crate::peer::{Peer, within};
use crate::server::Server;

/// A session that speaks JSON.
async fn json_session(server: &Server) -> Socket {
    let mut socket = Socket::upgrade(server.plain, "/ws", "tidegate.v1.json").await;
    let token = server.token("eve", std::time::Duration::from_secs(600));
    let hello = json!({ "id": 1, "hello": { "token": token, "device_id": "e", "attempt": 1 } });
    socket.write_raw(&message(1, hello.to_string().as_bytes())).await;
    let welcome = next(&mut socket).await;
    assert!(welcome["welcome"].is_object(), "{welcome}");
    socket
}

async fn next(socket: &mut Socket) -> Value {
    let text = within(socket.read_message()).await.expect("the session lives");
    serde_json::from_slice(&text).unwrap()
}

fn texts() -> Vec<String> {
    let deep = |open: &str, close: &str, depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    vec![
        String::new(),
        "\0".to_owned(),
        "null".to_owned(),
        "7".to_owned(),
        "\"hello\"".to_owned(),
        "{".to_owned(),
        deep("[", "]", 60_000),
        deep("{\"a\":", "}", 20_000),
        deep("{\"send\":", "}", 10_000),
        "{\"id\":-1,\"ping\":{}}".to_owned(),
        "{\"id\":4294967296,\"ping\":{}}".to_owned(),
        "{\"ping\":7}".to_owned(),
        "{\"ping\":{}} {\"ping\":{}}".to_owned(),
        "{\"ping\":{},\"ping\":{}}".to_owned(),
        "{\"ping\":{},\"bye\":{}}".to_owned(),
        "{\"pull\":{\"after\":5,\"before\":3,\"limit\":1}}".to_owned(),
        "{\"send\":{\"msg\":{\"receiver_id\":\"\\ud800\"}}}".to_owned(),
        "{\"send\":{\"msg\":{\"create_time\":1e999}}}".to_owned(),
        "{\"send\":{\"msg\":{\"create_time\":9223372036854775808}}}".to_owned(),
        "{\"send\":{\"msg\":{\"content\":7}}}".to_owned(),
        "{\"send\":{\"msg\":{\"content_base64\":\"****\"}}}".to_owned(),
        format!("{{\"pull\":{{\"limit\":\"{}\"}}}}", "x".repeat(50_000)),
        format!("{{\"send\":{{\"msg\":{{\"{}\":{{}}}}}}", "k".repeat(50_000)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_no_frame_is_refused_and_the_session_lives() {
    let server = Server::start().await;
    let mut socket = json_session(&server).await;
    for text in texts() {
        socket.write_raw(&message(1, text.as_bytes())).await;
        let answer = next(&mut socket).await;
        let shown: String = text.chars().take(80).collect();
        let said = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{shown}: {answer}"));
        assert!(said.len() <= 400, "{shown}: {said}");
    }
    socket.write_raw(&message(1, br#"{"id":9,"ping":{}}"#)).await;
    assert_eq!(next(&mut socket).await["id"], 9);
    // Too long, and not a text at all.
    socket.write_raw(&message(1, &[b' '; 128 * 1024 + 1])).await;
    while within(socket.read_message()).await.is_some() {}
    assert_eq!(within(socket.closed()).await, 1009);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_mode_forgives_texts_and_pongs_that_lie() {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    let path = format!("/ws/eve/conn/{}/e", server.token("eve", std::time::Duration::from_secs(600)));
    let mut socket = Socket::upgrade(server.plain, &path, "").await;
    for text in texts() {
        socket.write_raw(&message(1, text.as_bytes())).await;
        let receipt = next(&mut socket).await;
        let shown: String = text.chars().take(80).collect();
        assert_eq!(
            (&receipt["msg_type"], &receipt["content_type"]),
            (&json!(24), &json!(9)),
            "{shown}: {receipt}"
        );
    }
    // Pongs that nobody asked for, and that claim what was never sent.
    let pongs = ["", "1", "9223372036854775807", "18446744073709551616", "-1", "x", "1 ", "\u{661}"];
    let pongs: Vec<u8> = pongs.iter().flat_map(|pong| message(10, pong.as_bytes())).collect();
    socket.write_raw(&[pongs, message(1, b"x")].concat()).await;
    // With the answer to the text they are read.
    assert_eq!(next(&mut socket).await["content_type"], 9);
    alice.store("eve", "one").await;
    assert_eq!(next(&mut socket).await["content"], "one");
    drop(socket);
    until(async || sessions(&server).await == 1).await;
    // It was never acknowledged, so it comes again.
    let mut socket = Socket::upgrade(server.plain, &path, "").await;
    assert_eq!(next(&mut socket).await["content"], "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_route_takes_names_that_are_names() {
    let server = Server::start().await;
    let long = "x".repeat(65);
    let token = server.token("eve", std::time::Duration::from_secs(600));
    for path in [
        "/ws/%00/conn/e".to_owned(),
        "/ws/eve/conn/%0a".to_owned(),
        "/ws/%ff/conn/e".to_owned(),
        "/ws/e%2fve/conn/e".to_owned(),
        format!("/ws/{long}/conn/e"),
        format!("/ws/eve/conn/{long}"),
        format!("/ws/bob/conn/{token}/e"),
        format!("/ws/eve/conn/{token}x/e"),
        format!("/ws/eve/conn/{token}/%20"),
    ] {
        let request = super::socket::upgrade_request(server.plain, &path, "");
        let mut tcp = tokio::net::TcpStream::connect(server.plain).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, request.as_bytes()).await.unwrap();
        let head = within(super::socket::read_head(&mut tcp)).await;
        assert!(head.starts_with("HTTP/1.1 40"), "{path}: {head}");
    }
}
