//! SIGTERM under load: clients are sent away, come back, and nothing that was sent is lost, doubled or out of order.

use tidegate_client::v1::CloseCode;
use tidegate_client::{Event, Transport};

use crate::peer::{Peer, spawn, text, within};
use crate::server::Server;

over_each_transport!(sigterm_under_load_loses_nothing);

async fn sigterm_under_load_loses_nothing(transport: Transport) {
    const COUNT: i64 = 3_000;
    let mut server = Server::start().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let sending = spawn(async move {
        let mut handles = Vec::new();
        for number in 1..=COUNT {
            handles.push(alice.send("bob", number.to_string()).await);
        }
        for (mut handle, number) in handles.into_iter().zip(1..) {
            let stored = within(handle.stored()).await.unwrap();
            assert_eq!((stored.seq, stored.conv_seq), (number, number));
        }
    });
    let (mut seen, mut sent_away) = (0, 0);
    while seen < COUNT {
        match bob.event().await {
            Event::Message(message) => {
                seen += 1;
                assert_eq!((message.seq, text(&message)), (seen, seen.to_string()));
                if seen == COUNT / 4 {
                    server.terminate();
                }
            }
            Event::GoAway { reason, .. } => {
                assert_eq!(reason, CloseCode::Draining);
                sent_away += 1;
            }
            Event::Disconnected(_) if sent_away == 1 => {
                assert_eq!(server.ended().await.code(), Some(0));
                server.start_again().await;
                sent_away += 1;
            }
            Event::Disconnected(_) | Event::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent_away, 2, "GoAway, and its end");
    within(sending).await.unwrap();
}
