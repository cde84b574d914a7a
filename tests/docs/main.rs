//! What the README and docs/ tell people to type, what they say there is, and what deploy/ ships, held against the program. Python and the
//! browser have theirs in tests/foreign and web-demo/sdk.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test it is the verdict")]

mod deploy;
mod page;
mod program;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use page::{Block, OPERATIONS, PAGES, PROTOCOL, README, blocks, inline_code};
use program::{Place, Server};
use socket::Socket;

#[test]
fn every_snippet_is_of_a_kind_that_is_tested() {
    let tested = ["sh", "toml", "json", "frames"];
    let elsewhere = ["python", "html", "hex"];
    let no_code = "text";
    for block in PAGES.iter().flat_map(blocks) {
        let kind = block.kind.split(' ').next().unwrap();
        let known = tested.contains(&kind) || elsewhere.contains(&kind) || kind == no_code;
        assert!(known, "{block}: nothing tests a block of the kind {kind:?}");
    }
}

#[tokio::test]
async fn configurations_pass_the_check() {
    let place = Place::new();
    let configurations: Vec<Block> = PAGES.iter().flat_map(blocks).of_kind("toml");
    assert!(!configurations.is_empty());
    for block in configurations {
        fs::write(place.path("tidegate.toml"), place.local(&block.text)).unwrap();
        let printed = place.run(&block, "tidegate check --config tidegate.toml").await;
        assert!(printed.starts_with("# users are verified"), "{block}: {printed}");
    }
}

#[tokio::test]
async fn flags_exist_that_pages_and_help_mention() {
    let place = Place::new();
    let helps = helps(&place).await;
    assert!(helps.len() > 14, "{:?}", helps.keys());
    let examples = helps.values().flat_map(|help| help.split("Examples:").nth(1)).flat_map(str::lines);
    let examples = examples.filter_map(|line| Some(&line[line.find("tidegate ")?..])).map(str::to_owned);
    let typed = PAGES.iter().flat_map(blocks).of_kind("sh").into_iter();
    let typed = typed.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    let code = PAGES.iter().flat_map(inline_code).chain(typed).filter(|code| code.starts_with("tidegate "));
    let mentioned: Vec<String> = examples.chain(code).collect();
    assert!(mentioned.len() > 30, "{mentioned:?}");
    for line in mentioned {
        // The longest command that the line begins with.
        let command = helps.keys().filter(|command| format!("{line} ").starts_with(&format!("{command} ")));
        let command =
            command.max_by_key(|command| command.len()).unwrap_or_else(|| panic!("no command: {line}"));
        for flag in line.split_whitespace().filter(|word| word.starts_with("--")) {
            let name = flag.split('=').next().unwrap();
            let is_known = helps[command].split_whitespace().any(|word| word == name);
            assert!(is_known, "{line:?}: {command} has no {name}");
        }
    }
}

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
    let mut tails = Vec::new();
    for block in blocks(&README).of_kind("sh") {
        for line in block.text.lines() {
            let command = line.split(" #").next().unwrap().trim();
            if command == "cargo run --release" || command.starts_with("export PATH=") {
                continue;
            }
            if command.starts_with("tidegate serve") {
                place.serve(command, &[]).await.stop().await;
            } else if command.starts_with("tidegate tail") {
                tails.push(place.tail(server, command).await);
            } else {
                let printed = place.run_with(&block, command, server).await;
                assert!(!printed.trim().is_empty(), "{block}: {command}");
            }
        }
    }
    let mut tail = tails.pop().expect("the README has a tail");
    for _ in 0..2 {
        // One that `tidegate send` sent, one by the API.
        let line = tail.next_line().await;
        assert!(line.contains("alice -> bob  hello"), "{line}");
    }
    tail.stop().await;
}

/// The two WebSocket tools, as the README and section 15 have them.
async fn two_tools(server: &Server) {
    let sent = &blocks(&README).of_kind("json")[0].text;
    let [hand_test, arrives] = &blocks(&PROTOCOL).of_kind("json")[..] else { panic!("two of section 15") };
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
    let [block] = &blocks[..] else { panic!("one of section 17") };
    let (serve, curl) = block.text.trim().split_once('\n').unwrap();
    fs::create_dir_all(place.path("tmp")).unwrap();
    let server = place.serve(&place.local(serve), &[]).await;
    assert!(place.path("tmp/tidegate-test/dev-cert.pem").exists());
    let answer: Value = serde_json::from_str(&place.run_with(block, curl, &server).await).unwrap();
    assert_eq!(answer["user"], json!("alice"));
    server.stop().await;
}

/// The API's example, a back-up while the server runs, and the restore.
async fn back_up_and_restore(place: &Place, server: Server) {
    let blocks = blocks(&OPERATIONS);
    let [api, back_up, restore] = &blocks.clone().of_kind("sh")[..] else { panic!("three of them") };
    let answer: Value = serde_json::from_str(&place.run_with(api, api.text.trim(), &server).await).unwrap();
    let documented: Value = serde_json::from_str(&blocks.of_kind("json")[0].text).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&answer), names(&documented));
    assert_eq!(answer["server_id"], documented["server_id"]);
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

#[test]
fn limits_are_those_of_the_code() {
    use tidegate_gateway::auth::MAX_TOKEN_BYTES;
    use tidegate_proto::limits::*;
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
    assert!(PROTOCOL.section("## 12 Heartbeat").contains(&heartbeat));
    let hello = format!("within {} s of the connection's start", HELLO_TIMEOUT.as_secs());
    assert!(PROTOCOL.section("## 7 A session").contains(&hello));
}

/// Whatever a server logs at `warn` and `error` stands in docs/OPERATIONS.md with what to do.
#[test]
fn every_warning_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let section = OPERATIONS.section("## Log");
    let mut found = BTreeSet::new();
    for folder in
        ["gateway/src", "pipeline/src", "certs/src", "src/serve", "src/descriptors.rs", "src/traces.rs"]
    {
        for file in rust_files(&root.join(folder)) {
            for message in warnings(&fs::read_to_string(&file).unwrap()) {
                assert!(section.contains(&format!("`{message}`")), "{}: {message:?}", file.display());
                found.insert(message);
            }
        }
    }
    let table = section.split("\n\n").find(|part| part.starts_with("| at `warn`")).unwrap();
    let cells = table.lines().skip(2).map(|line| line.split('|').nth(1).unwrap());
    for message in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        assert!(found.contains(message), "nothing logs {message:?}, which docs/OPERATIONS.md explains");
    }
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !path.ends_with("tests") && !path.ends_with("tests.rs"));
    entries
        .flat_map(|path| rust_files(&path))
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The texts of `warn!` and `error!`: the last string of each.
fn warnings(code: &str) -> Vec<String> {
    let calls = ["warn!(", "error!("]
        .into_iter()
        .flat_map(|name| code.match_indices(name).map(move |(start, _)| &code[start + name.len()..]));
    calls.filter_map(|call| strings_of_call(call).pop()).collect()
}

/// The strings up to the parenthesis that closes a call. None of ours holds an escaped quote.
fn strings_of_call(call: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut depth = 1;
    for (place, part) in call.split('"').enumerate() {
        if place % 2 == 1 {
            strings.push(part.to_owned());
            continue;
        }
        for letter in part.chars() {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            if depth == 0 {
                return strings;
            }
        }
    }
    strings
}

/// The program and all its subcommands, as the help lists them, with the help of each.
async fn helps(place: &Place) -> BTreeMap<String, String> {
    let mut helps = BTreeMap::new();
    let mut due = vec!["tidegate".to_owned()];
    while let Some(command) = due.pop() {
        let help = place.program(&format!("{command} --help")).await;
        assert!(help.contains("Usage:"), "{command}: {help}");
        let list = help.split("Commands:\n").nth(1).unwrap_or_default();
        let names = list
            .lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next());
        due.extend(names.filter(|name| *name != "help").map(|name| format!("{command} {name}")));
        helps.insert(command, help);
    }
    helps
}

/// With a comma before each three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let (first, rest) = digits.split_at(digits.len() % 3);
    let groups = [first].into_iter().filter(|first| !first.is_empty()).map(str::to_owned);
    let rest = rest.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    groups.chain(rest).collect::<Vec<_>>().join(",")
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter == '_'
}

/// The blocks of one kind.
trait OfKind {
    fn of_kind(self, kind: &str) -> Vec<Block>;
}

impl<T: IntoIterator<Item = Block>> OfKind for T {
    fn of_kind(self, kind: &str) -> Vec<Block> {
        self.into_iter().filter(|block| block.kind == kind).collect()
    }
}
