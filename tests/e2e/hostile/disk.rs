//! A disk that is full, and then is not.

use std::fs;

use tidegate_client::Transport;
use tidegate_proto::v1::{Code, Msg, Pull, Receipt, ReceiptStatus, Send, client_frame, pull, server_frame};

use super::wire::Wire;
use crate::peer::Peer;
use crate::server::Server;

/// The data on a disk of their own, which only the server sees.
const LAUNCHER: [&str; 7] = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"];
const MOUNT: &str =
    "mkdir -p tidegate-data && mount -t tmpfs -o size=16m tidegate tidegate-data && exec \"$@\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mounts of its own (unshare --map-root-user --mount)"]
async fn a_full_disk_is_said_and_passes() {
    let server = Server::start_with(&LAUNCHER, &[]).await;
    let filler = server.data().join("filler");
    fs::write(&filler, vec![1; 8 << 20]).unwrap();
    let mut wire = Wire::welcomed(&server, Transport::WebSocket, "alice", "a").await;
    let mut stored = 0;
    let refused = loop {
        let receipt = send(&mut wire, stored).await;
        match receipt.status() {
            ReceiptStatus::Stored => stored += 1,
            _ => break receipt,
        }
        assert!(stored < 1_000, "the disk has no end");
    };
    assert_eq!((refused.status(), refused.code()), (ReceiptStatus::Rejected, Code::Unavailable));
    assert!(stored > 0);

    // Reads go on: history, and a session that begins.
    let from = Some(pull::From::Before(0));
    wire.send(client_frame::Kind::Pull(Pull { timeline: "d:alice:bob".into(), from, limit: 1 })).await;
    let page = wire.frame().await.unwrap().kind;
    assert!(
        matches!(&page, Some(server_frame::Kind::Page(page)) if page.head == stored && page.entries.len() == 1),
        "{page:?}"
    );
    let mut bob = Peer::connect(&server, Transport::Quic, "bob", "b").await;
    for seq in 1..=stored {
        assert_eq!(bob.message().await.seq, seq);
    }

    // It recovers by itself: the message that was refused is sent again, and is there once.
    fs::remove_file(&filler).unwrap();
    loop {
        let receipt = send(&mut wire, stored).await;
        if receipt.status() == ReceiptStatus::Stored {
            assert_eq!(receipt.conv_seq, stored + 1);
            break;
        }
        assert_eq!(receipt.code(), Code::Unavailable);
    }
    assert_eq!(bob.message().await.seq, stored + 1);
}

/// Sends message number `number`; the last receipt for it.
async fn send(wire: &mut Wire, number: i64) -> Receipt {
    let msg = Msg {
        receiver_id: "bob".into(),
        local_id: number.to_string(),
        content: vec![b'x'; 60_000].into(),
        ..Msg::default()
    };
    wire.send(client_frame::Kind::Send(Send { msg: Some(msg) })).await;
    loop {
        let frame = wire.frame().await.expect("the session lives");
        if let Some(server_frame::Kind::Receipt(receipt)) = frame.kind
            && receipt.status() != ReceiptStatus::Accepted
        {
            return receipt;
        }
    }
}
