//! `tidegate send` and `tidegate tail` against a server on the same machine, as a person uses them.

use std::process::{Output, Stdio};
use std::time::Duration;

use tidegate_client::Transport;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::peer::{Peer, within};
use crate::server::Server;

over_each_transport!(
    what_is_sent_is_printed_with_its_receipts,
    tail_goes_on_where_it_left_off,
    lines_are_sent_in_order,
    a_refusal_is_said_and_ends_with_1,
);

async fn what_is_sent_is_printed_with_its_receipts(transport: Transport) {
    let server = Server::start().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let printed = succeeds(&server, transport, &["send", "--as", "alice", "--to", "bob", "hello"]).await;
    let message = bob.message().await;
    assert_eq!((&message.msg.content[..], message.msg.send_id.as_str()), (&b"hello"[..], "alice"));
    let lines: Vec<&str> = printed.lines().collect();
    let ids = format!("server_id={}  local_id={}", message.msg.server_id, message.msg.local_id);
    assert!(lines[0].starts_with(&format!("ACCEPTED  {ids}  send_time=")), "{printed}");
    assert!(lines[1].starts_with(&format!("STORED    {ids}  send_time=")), "{printed}");
    assert!(lines[1].ends_with("  seq=1  conv_seq=1"), "{printed}");
    assert_eq!(lines.len(), 2);
    // The same again under its name is the same message.
    let again = ["send", "--as", "alice", "--to", "bob", "--local-id", &message.msg.local_id, "hello"];
    assert!(succeeds(&server, transport, &again).await.contains("  seq=1  conv_seq=1"));
}

async fn tail_goes_on_where_it_left_off(transport: Transport) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    for turn in 0..3 {
        alice.store("bob", format!("waiting {turn}")).await;
        let arguments: &[&str] = if turn == 1 { &["--json"] } else { &[] };
        let mut tail = start(&server, transport, &[&["tail", "--as", "bob"], arguments].concat());
        let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        let mut line = async || within(lines.next_line()).await.unwrap().expect("a line");
        let first = line().await;
        if turn == 1 {
            let msg: serde_json::Value = serde_json::from_str(&first).unwrap();
            assert_eq!((&msg["content"], &msg["seq"]), (&"waiting 1".into(), &3.into()));
        } else {
            assert!(
                first.ends_with(&format!("  #{}  alice -> bob  waiting {turn}", 2 * turn + 1)),
                "{first}"
            );
        }
        // And live.
        alice.store("bob", format!("live {turn}")).await;
        assert!(line().await.contains(&format!("live {turn}")));
        let pid = rustix::process::Pid::from_raw(tail.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        assert_eq!(within(tail.wait()).await.unwrap().code(), Some(0));
    }
}

async fn lines_are_sent_in_order(transport: Transport) {
    let server = Server::start().await;
    let mut send = start(&server, transport, &["send", "--as", "alice", "--to", "bob"]);
    let text: String = (1..=200).map(|number| format!("{number}\n")).collect();
    let mut input = send.stdin.take().unwrap();
    within(input.write_all(text.as_bytes())).await.unwrap();
    drop(input);
    let output = within(send.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().filter(|line| line.starts_with("STORED")).count(), 200);
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    for number in 1..=200 {
        assert_eq!(bob.text().await, number.to_string());
    }
}

async fn a_refusal_is_said_and_ends_with_1(transport: Transport) {
    let server = Server::start().await;
    let send = |text| ["send", "--as", "alice", "--to", "bob", "--local-id", "once", text];
    succeeds(&server, transport, &send("one")).await;
    let output = run(&server, transport, &send("another")).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("REJECTED  local_id=once  CONFLICT: "),
        "{output:?}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "tidegate: the message was refused\n");
    let cases: [(&[&str], &str); 3] = [
        (&["--token", "bad"], "see whether the token is good"),
        (
            &["--data", "elsewhere"],
            "the server's certificate is not in elsewhere: give its data folder by --data",
        ),
        (
            &["--token", &server.token("carol", Duration::from_secs(60))],
            "the token is for carol: use --as carol",
        ),
    ];
    for (flags, expected) in cases {
        let output = run(&server, transport, &[&send("one")[..], flags].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said.starts_with("tidegate: ") && said.contains(expected), "{expected:?} is not in {said:?}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

async fn succeeds(server: &Server, transport: Transport, arguments: &[&str]) -> String {
    let output = run(server, transport, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn run(server: &Server, transport: Transport, arguments: &[&str]) -> Output {
    within(start(server, transport, arguments).wait_with_output()).await.unwrap()
}

/// Starts the program in the server's folder, so that it finds the data there.
fn start(server: &Server, transport: Transport, arguments: &[&str]) -> Child {
    let name = match transport {
        Transport::Quic => "quic",
        Transport::WebTransport => "wt",
        Transport::WebSocket => "ws",
    };
    let mut command: Command = server.program();
    command.args(arguments).args(["--transport", name, "--server", &server.secure.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}
