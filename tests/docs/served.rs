//! What the pages tell people to type, typed against one server, and what they say that it answers.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::page::{self, OPERATIONS, OfKind as _, PROTOCOL, README, blocks};
use crate::program::{Place, Server};
use crate::socket::Socket;

#[tokio::test]
async fn the_pages_against_a_server() {
    let place = Place::new();
    let server = place.serve("", &["api.keys=change-me-to-something-long"]).await;
    the_first_five_minutes(&place, &server).await;
    two_tools(&server).await;
    a_session_in_json(&place, &server).await;
    usual_mistakes(&place, &server).await;
    metrics(&server).await;
    testing_a_client(&place).await;
    back_up_and_restore(&place, server).await;
}

/// Every command of the README in its order, but those that build.
async fn the_first_five_minutes(place: &Place, server: &Server) {
    let configuration = blocks(&README).of_kind("toml");
    fs::write(place.path("tidegate.toml"), place.local(&configuration[0].text)).unwrap();
    let mut followers = Vec::new();
    for block in blocks(&README).of_kind("sh") {
        for line in block.text.lines() {
            let command = line.split(" #").next().unwrap().trim();
            if command == "cargo run --release" || command.starts_with("export PATH=") {
                continue;
            }
            if command.starts_with("tidegate serve") {
                place.serve(command, &[]).await.stop().await;
            } else if ["tidegate tail", "tidegate sub"].iter().any(|runs_on| command.starts_with(runs_on)) {
                followers.push(place.follow(server, command).await);
            } else {
                let printed = place.run_with(&block, command, server).await;
                assert!(!printed.trim().is_empty(), "{block}: {command}");
            }
        }
    }
    let [tail, sub] = &mut followers[..] else { panic!("the README has a tail and a sub") };
    for _ in 0..2 {
        // One that `tidegate send` sent, one by the API.
        let line = tail.next_line().await;
        assert!(line.contains("alice -> bob  hello"), "{line}");
    }
    let line = sub.next_line().await;
    assert!(line.contains("#1  alice -> news/sport  goal"), "{line}");
    for follower in followers {
        follower.stop().await;
    }
}

/// The two WebSocket tools, as the README and section 16 have them.
async fn two_tools(server: &Server) {
    let sent = &blocks(&README).of_kind("json")[0].text;
    let [hand_test, arrives] = &blocks(&PROTOCOL).of_kind("json")[..] else { panic!("two of section 16") };
    let documented: Value = serde_json::from_str(&arrives.text).unwrap();
    let mut second = Socket::open(&server.http, "/ws/124/conn/321", None).await;
    let mut first = Socket::open(&server.http, "/ws/123/conn/321", None).await;
    for text in [sent, &hand_test.text] {
        first.send(text.trim()).await;
        let mut got = second.next().await.expect("a message");
        for drawn in ["local_id", "server_id", "send_time", "seq", "conv_seq"] {
            assert!(!got[drawn].is_null() && got[drawn] != json!(0) && got[drawn] != json!(""), "{got}");
            got[drawn] = documented[drawn].clone();
        }
        assert_eq!(got, documented, "{text}");
        let receipt = first.next().await.expect("a receipt");
        assert_eq!(receipt["msg_type"], json!(24), "{receipt}");
    }
}

/// The session of section 6.4: what the client writes is sent as it stands, and each answer is of the kind shown.
async fn a_session_in_json(place: &Place, server: &Server) {
    let session = &blocks(&PROTOCOL).of_kind("frames")[0];
    let token = place.program("tidegate token --user alice").await;
    let mut alice = Socket::open(&server.http, "/ws", Some("tidegate.v1.json")).await;
    let mut served = 0;
    for line in session.text.lines() {
        if let Some(frame) = line.strip_prefix("> ") {
            let mut frame: Value =
                serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error}: {frame}"));
            if let Some(hello) = frame.get_mut("hello") {
                hello["token"] = json!(token.trim());
                // The README's session has sent as alice: only what comes from now on is of interest.
                hello["start"] = json!({ "head": true });
            }
            // Hers are after what she sent before.
            if let Some(ack) = frame.get_mut("ack") {
                *ack = json!({ "cursor": alice.seq });
            }
            alice.send(&frame.to_string()).await;
        } else if let Some(shown) = line.strip_prefix("< ") {
            if shown.contains("\"deliver\"") {
                let command = "tidegate send --as bob --to alice answer";
                place.run_with(session, command, server).await;
            }
            let frame = alice.next().await.unwrap_or_else(|| panic!("closed before {shown}"));
            let kind = shown.split('"').nth(3).unwrap();
            assert!(frame[kind].is_object(), "{kind} is shown, {frame} came");
            for status in ["ACCEPTED", "STORED", "REJECTED", "CONFLICT", "UNIMPLEMENTED", "CLOSE_CODE_NORMAL"]
            {
                let word = format!("\"{status}\"");
                assert_eq!(frame.to_string().contains(&word), shown.contains(&word), "{shown}: {frame}");
            }
            for name in shown.split('"').filter(|word| word.contains('_') && word.chars().all(is_name)) {
                assert!(frame.to_string().contains(&format!("\"{name}\"")), "{name} is shown: {frame}");
            }
            if kind == "welcome" {
                let (_, limits) = session.text.split_once("\"limits\":").unwrap();
                let limits = &limits[..=limits.find('}').unwrap()];
                let shown: Value = serde_json::from_str(&limits.replace('\n', "")).unwrap();
                assert_eq!(frame["welcome"]["limits"], shown);
            }
            served += 1;
        }
    }
    assert!(session.text.contains("(close 4100)"));
    assert_eq!(alice.close_code().await, 4100);
    assert!(served >= 8, "{served} answers are shown");
}

/// What goes wrong in the first hour: each says what, where, and what to do.
async fn usual_mistakes(place: &Place, server: &Server) {
    let another = "0".repeat(64);
    let mut cases = vec![
        ("--token abc".to_owned(), "see whether the token is good"),
        ("--token abc".to_owned(), "UNAUTHENTICATED (4101)"),
        (format!("--transport ws --server {}", server.http), "that port speaks no TLS"),
        ("--transport ws --server nobody.invalid:1 --token x".to_owned(), "nobody knows the name"),
        ("--ca etc/tidegate/fullchain.pem".to_owned(), "the certificate is not believed"),
    ];
    for transport in ["quic", "wt", "ws"] {
        let flags = format!("--transport {transport} --cert-hash {another}");
        cases.push((flags, "the server's certificate is not the one that is believed"));
    }
    for (flags, expected) in cases {
        let command = format!("tidegate send --as alice --to bob {flags} hello");
        let complaint = place.fails_with(&command, server).await;
        assert!(complaint.contains(expected), "{command}: {complaint}");
    }
    let command = format!("tidegate serve --data other --set listen.http={}", server.http);
    let complaint = place.fails(&command).await;
    assert!(complaint.contains("stop what listens there, or choose another address"), "{complaint}");
    let large = format!("tidegate send --as alice --to bob {}", "x".repeat(70_000));
    let printed = place.fails_with(&large, server).await;
    assert!(printed.contains("TOO_LARGE: content has 70000 bytes, over the limit of 65536"), "{printed}");
    let url = format!("http://{}/nothing", server.http);
    assert!(place.program(&format!("curl --silent {url}")).await.contains("there is nothing at this path"));
}

/// The tables of docs/OPERATIONS.md and what a server shows that has had sessions: the same names, and no other labels.
async fn metrics(server: &Server) {
    let shown = server.metrics().await;
    let names: BTreeSet<String> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE tidegate_")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    let section = OPERATIONS.section("## Metrics");
    let documented: BTreeSet<String> =
        page::metrics().keys().map(|name| name.trim_end_matches("_total").to_owned()).collect();
    assert_eq!(names, documented, "what a server shows and what docs/OPERATIONS.md has");
    let lines = shown.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    for line in lines.filter(|line| line.contains('{')) {
        let (name, rest) = line.strip_prefix("tidegate_").unwrap().split_once('{').unwrap();
        let (label, value) = rest.split_once("=\"").unwrap();
        let value = value.split('"').next().unwrap();
        assert!(section.contains(&format!("`{name}{{{label}}}`")), "{name}{{{label}}} is not documented");
        // Close codes and codes stand in docs/PROTOCOL.md, and gateways are called as they like.
        let is_told = ["code", "gateway"].contains(&label) || section.contains(&format!("`{value}`"));
        assert!(is_told, "docs/OPERATIONS.md does not have {label}={value} of {name}");
    }
}

/// Section 17: a server for a client's tests, and a token for them.
async fn testing_a_client(place: &Place) {
    let blocks = blocks(&PROTOCOL).of_kind("sh");
    let [block] = &blocks[..] else { panic!("one of section 18") };
    let (serve, curl) = block.text.trim().split_once('\n').unwrap();
    fs::create_dir_all(place.path("tmp")).unwrap();
    let server = place.serve(&place.local(serve), &[]).await;
    assert!(place.path("tmp/tidegate-test/dev-cert.pem").exists());
    let answer: Value = serde_json::from_str(&place.run_with(block, curl, &server).await).unwrap();
    assert_eq!(answer["user"], json!("alice"));
    server.stop().await;
}

/// The API's examples, a back-up while the server runs, and the restore.
async fn back_up_and_restore(place: &Place, server: Server) {
    let blocks = blocks(&OPERATIONS);
    let [api, publish, back_up, restore] = &blocks.clone().of_kind("sh")[..] else { panic!("four of them") };
    let answer: Value = serde_json::from_str(&place.run_with(api, api.text.trim(), &server).await).unwrap();
    let documented: Value = serde_json::from_str(&blocks.of_kind("json")[0].text).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&answer), names(&documented));
    assert_eq!(answer["server_id"], documented["server_id"]);
    let published = place.run_with(publish, publish.text.trim(), &server).await;
    assert_eq!(names(&serde_json::from_str(&published).unwrap()), names(&documented), "{published}");
    place.run(back_up, back_up.text.trim()).await;
    place.run_with(api, "tidegate send --as alice --to bob 'after the back-up'", &server).await;
    server.stop().await;

    let printed = place.run(restore, &restore.text).await;
    let server = place.serve("", &[]).await;
    let token = place.program("tidegate token --user bob").await;
    let mut bob = Socket::open(&server.http, "/ws", Some("tidegate.v1.json")).await;
    let hello = json!({ "token": token.trim(), "device_id": "new", "attempt": 1 });
    bob.send(&json!({ "id": 1, "hello": hello }).to_string()).await;
    let welcome = bob.next().await.unwrap();
    assert_eq!(welcome["welcome"]["epoch"], json!(printed.trim()));
    let head = welcome["welcome"]["head"].as_u64().unwrap();
    let mut contents = Vec::new();
    while bob.seq < head {
        contents.push(bob.next().await.unwrap()["deliver"]["msg"]["content"].to_string());
    }
    assert!(contents.contains(&"\"on its way\"".to_owned()), "{contents:?}");
    assert!(!contents.contains(&"\"after the back-up\"".to_owned()), "{contents:?}");
    server.stop().await;
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter == '_'
}
