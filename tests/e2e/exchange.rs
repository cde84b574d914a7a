//! Messages between people who are there: exchange, several devices, repeats, conflicts, signals, history.

use std::time::Duration;

use tidegate_client::v1::{Code, Signal, deliver};
use tidegate_client::{History, RequestError, SendError, Transport};

use crate::peer::{Peer, text, text_to, within};
use crate::server::Server;

over_each_transport!(
    two_people_exchange_messages,
    every_device_gets_everything,
    own_copies_go_to_the_other_devices,
    a_retry_is_the_same_message,
    another_body_is_a_conflict,
    the_sender_is_who_the_token_says,
    signals_arrive_and_are_not_kept,
    history_is_pulled,
);

async fn two_people_exchange_messages(transport: Transport) {
    let server = Server::start().await;
    let mut alice = Peer::connect(&server, transport, "alice", "a").await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    for number in 1..=3 {
        let mut handle = alice.send("bob", format!("question {number}")).await;
        let accepted = within(handle.accepted()).await.unwrap();
        let stored = within(handle.stored()).await.unwrap();
        let message = bob.message().await;
        assert_eq!(text(&message), format!("question {number}"));
        let msg = &message.msg;
        assert_eq!((msg.send_id.as_str(), msg.receiver_id.as_str()), ("alice", "bob"));
        assert_eq!((msg.conversation.as_str(), msg.conv_seq), ("d:alice:bob", stored.conv_seq));
        assert_eq!(msg.local_id, handle.local_id());
        assert_eq!((&msg.server_id, msg.send_time), (&stored.server_id, stored.send_time));
        assert_eq!(accepted.server_id, stored.server_id);

        let answer = bob.store("alice", format!("answer {number}")).await;
        let message = alice.message().await;
        assert_eq!(text(&message), format!("answer {number}"));
        assert_eq!((message.msg.conv_seq, message.msg.conv_seq), (answer.conv_seq, 2 * number));
        // Each inbox has both messages of each turn, the own one by its receipt.
        assert_eq!((stored.seq, answer.seq), (2 * number - 1, 2 * number));
        assert_eq!(message.seq, 2 * number);
    }
}

async fn every_device_gets_everything(transport: Transport) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let mut phone = Peer::connect(&server, transport, "bob", "phone").await;
    let mut laptop = Peer::connect(&server, transport, "bob", "laptop").await;
    for number in 1..=20 {
        alice.send("bob", number.to_string()).await;
    }
    for number in 1..=20 {
        let (first, second) = (phone.message().await, laptop.message().await);
        assert_eq!((text(&first), first.seq), (number.to_string(), number));
        assert_eq!(first.msg, second.msg);
    }
    // A device that was never seen begins at the beginning, whatever the others have acknowledged.
    phone.leave().await;
    let mut tablet = Peer::connect(&server, transport, "bob", "tablet").await;
    for number in 1..=20 {
        assert_eq!(tablet.text().await, number.to_string());
    }
}

async fn own_copies_go_to_the_other_devices(transport: Transport) {
    let server = Server::start().await;
    let mut phone = Peer::connect(&server, transport, "alice", "phone").await;
    let mut laptop = Peer::connect(&server, transport, "alice", "laptop").await;
    let bob = Peer::connect(&server, transport, "bob", "b").await;
    let stored = phone.store("bob", "from the phone").await;
    let copy = laptop.message().await;
    assert_eq!((text(&copy).as_str(), copy.msg.send_id.as_str()), ("from the phone", "alice"));
    assert_eq!((copy.msg.server_id, copy.seq), (stored.server_id, stored.seq));
    // The session that sent has its receipt in place of the message: what it gets next is the answer.
    bob.store("alice", "the answer").await;
    assert_eq!(phone.text().await, "the answer");
    assert_eq!(laptop.text().await, "the answer");
}

async fn a_retry_is_the_same_message(transport: Transport) {
    let server = Server::start().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let msg = tidegate_client::v1::Msg { local_id: "once".to_owned(), ..text_to("bob", "hello") };
    let mut first = alice.client.send(msg.clone()).await.unwrap();
    let first = within(first.stored()).await.unwrap();
    let mut second = alice.client.send(msg.clone()).await.unwrap();
    assert_eq!(within(second.stored()).await.unwrap(), first);
    // From another device and after a while it is still the same.
    alice.store("bob", "between").await;
    let other = Peer::connect(&server, transport, "alice", "other").await;
    let mut third = other.client.send(msg).await.unwrap();
    assert_eq!(within(third.stored()).await.unwrap(), first);
    alice.store("bob", "after").await;
    for expected in ["hello", "between", "after"] {
        assert_eq!(bob.text().await, expected);
    }
}

async fn another_body_is_a_conflict(transport: Transport) {
    let server = Server::start().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let named = |text: &str| tidegate_client::v1::Msg { local_id: "once".to_owned(), ..text_to("bob", text) };
    let mut first = alice.client.send(named("one")).await.unwrap();
    within(first.stored()).await.unwrap();
    for _ in 0..2 {
        let mut other = alice.client.send(named("another")).await.unwrap();
        let refused = within(other.stored()).await;
        assert!(
            matches!(&refused, Err(SendError::Rejected(refusal)) if refusal.code == Code::Conflict),
            "{refused:?}"
        );
    }
    alice.store("bob", "after").await;
    for expected in ["one", "after"] {
        assert_eq!(bob.text().await, expected);
    }
}

async fn the_sender_is_who_the_token_says(transport: Transport) {
    let server = Server::start().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let claimed = tidegate_client::v1::Msg {
        send_id: "carol".to_owned(),
        conversation: "d:bob:carol".to_owned(),
        seq: 77,
        conv_seq: 77,
        ..text_to("bob", "hello")
    };
    let mut sent = alice.client.send(claimed).await.unwrap();
    within(sent.stored()).await.unwrap();
    let msg = bob.message().await.msg;
    assert_eq!((msg.send_id.as_str(), msg.conversation.as_str()), ("alice", "d:alice:bob"));
    assert_eq!((msg.seq, msg.conv_seq), (1, 1));
}

async fn signals_arrive_and_are_not_kept(transport: Transport) {
    let server = Server::start().await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let typing =
        Signal { user: "bob".into(), kind: "typing".into(), content: "x".into(), ..Signal::default() };
    // A signal may be lost: it is sent until one is there.
    let mut again = tokio::time::interval(Duration::from_millis(200));
    let signal = {
        let mut heard = std::pin::pin!(bob.signal());
        loop {
            tokio::select! {
                signal = &mut heard => break signal,
                _ = again.tick() => { alice.client.signal(typing.clone()); }
            }
        }
    };
    assert_eq!(
        (signal.from.as_str(), signal.kind.as_str(), &signal.content[..]),
        ("alice", "typing", &b"x"[..])
    );
    alice.store("bob", "a message").await;
    let mut later = Peer::connect(&server, transport, "bob", "later").await;
    assert_eq!(later.text().await, "a message");
}

async fn history_is_pulled(transport: Transport) {
    let server = Server::start().await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    for number in 1..=25 {
        alice.store("bob", number.to_string()).await;
    }
    let pull = |timeline: &'static str, from, limit| within(alice.client.pull(timeline, from, limit));
    let seqs =
        |page: &tidegate_client::v1::Page| page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    let first = pull("d:alice:bob", History::After(0), 10).await.unwrap();
    assert_eq!((seqs(&first), first.head, first.floor, first.more), ((1..=10).collect(), 25, 1, true));
    for (entry, number) in first.entries.iter().zip(1..) {
        let Some(deliver::Entry::Msg(msg)) = &entry.entry else { panic!("{entry:?}") };
        assert_eq!((msg.content.to_vec(), msg.conv_seq), (number.to_string().into_bytes(), number));
    }
    let rest = pull("d:alice:bob", History::After(20), 10).await.unwrap();
    assert_eq!((seqs(&rest), rest.more), ((21..=25).collect(), false));
    let newest = pull("d:alice:bob", History::Before(0), 5).await.unwrap();
    assert_eq!((seqs(&newest), newest.more), ((21..=25).collect(), true));
    let inbox = pull("", History::After(3), 4).await.unwrap();
    assert_eq!(seqs(&inbox), (4..=7).collect::<Vec<_>>());
    // Somebody else's, and one that is not there, look the same.
    let refusal = |timeline| async move {
        match pull(timeline, History::After(0), 1).await {
            Err(RequestError::Refused(refusal)) => (refusal.code, refusal.message),
            other => panic!("{other:?}"),
        }
    };
    let (code, _) = refusal("i:bob").await;
    assert_eq!(code, Code::PermissionDenied);
    assert_eq!(refusal("d:bob:carol").await.0, Code::PermissionDenied);
}
