//! SIGTERM under load: clients are sent away, come back, and nothing that was sent is lost, doubled or out of order.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_client::v1::CloseCode;
use tidegate_client::{Event, Transport};
use tokio::sync::Semaphore;

use crate::peer::{Peer, spawn, text, text_to, within};
use crate::server::Server;

over_each_transport!(sigterm_under_load_loses_nothing, many_clients_are_sent_away_with_times_of_their_own);

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

async fn many_clients_are_sent_away_with_times_of_their_own(transport: Transport) {
    const RECIPIENTS: usize = 24;
    const SENDERS: usize = 4;
    const EACH: i64 = 100;
    let mut server = Server::start().await;
    let arrivals = Arc::new(Semaphore::new(0));
    let mut receiving = Vec::new();
    for number in 0..RECIPIENTS {
        let peer = Peer::connect(&server, transport, &format!("recipient-{number}"), "r").await;
        receiving.push(spawn(receive(peer, EACH, arrivals.clone())));
    }
    let mut sending = Vec::new();
    for number in 0..SENDERS {
        let Peer { client, events, .. } =
            Peer::connect(&server, transport, &format!("sender-{number}"), "s").await;
        // Nobody writes to it.
        drop(events);
        sending.push(spawn(async move {
            let mut handles = Vec::new();
            for text in 1..=EACH {
                for to in (number..RECIPIENTS).step_by(SENDERS) {
                    let msg = text_to(&format!("recipient-{to}"), text.to_string());
                    handles.push((text, within(client.send(msg)).await.unwrap()));
                }
            }
            for (text, mut handle) in handles {
                assert_eq!(within(handle.stored()).await.unwrap().conv_seq, text);
            }
        }));
    }
    let _some = within(arrivals.acquire_many(RECIPIENTS as u32 * EACH as u32 / 4)).await.unwrap();
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
    let log = server.log();
    assert!(log.contains("stopped") && !log.contains("grace period"), "{log}");
    server.start_again().await;

    let mut waits = Vec::new();
    for one in receiving {
        waits.extend(within(one).await.unwrap());
    }
    for one in sending {
        within(one).await.unwrap();
    }
    assert_eq!(waits.len(), RECIPIENTS, "each is told once");
    assert!(waits.iter().all(|wait| (0..=5_000).contains(wait)), "{waits:?}");
    assert!(waits.iter().collect::<HashSet<_>>().len() > RECIPIENTS / 2, "spread: {waits:?}");
    assert!(waits.iter().any(|wait| *wait < 2_500) && waits.iter().any(|wait| *wait > 2_500), "{waits:?}");
}

/// Takes `count` numbers in order, over the stop; the times that it was told to stay away for.
async fn receive(mut peer: Peer, count: i64, arrivals: Arc<Semaphore>) -> Vec<i64> {
    let (mut seen, mut waits) = (0, Vec::new());
    while seen < count || waits.is_empty() {
        match peer.event().await {
            Event::Message(message) => {
                seen += 1;
                assert_eq!((message.seq, text(&message)), (seen, seen.to_string()));
                arrivals.add_permits(1);
            }
            Event::GoAway { reason, retry_after_ms, .. } => {
                assert_eq!(reason, CloseCode::Draining);
                waits.push(retry_after_ms);
            }
            Event::Disconnected(_) | Event::Connected(_) => {}
            other => panic!("{other:?}"),
        }
    }
    within(peer.client.ping()).await.unwrap();
    assert!(!matches!(peer.events.try_recv(), Some(Event::Message(_))), "one too many");
    waits
}
