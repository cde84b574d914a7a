//! Channels with rules: rights in the token, what is kept, what is volatile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_client::v1::{Code, Msg};
use tidegate_client::{Event, RequestError, SendError, StartAt, Stored, Transport};
use tidegate_gateway::auth::{Grants, Patterns, Signer};
use tidegate_proto::id::UserId;
use tidegate_proto::pattern::Pattern;

use crate::peer::{Peer, text, within};
use crate::server::Server;

over_each_transport!(
    rights_come_with_the_token_and_go_with_it,
    a_volatile_channel_is_heard_and_not_kept,
    a_rule_says_how_much_is_kept,
);

const RULES: &str = r#"channels=[
    {pattern="news/*", subscribe="granted", publish="granted"},
    {pattern="now/**", stored=false},
    {pattern="short", max_entries=5},
]"#;

impl Server {
    /// A token that grants to subscribe and to publish, by patterns.
    fn granting(&self, user: &str, subscribe: &str, publish: &str) -> String {
        let patterns = |text: &str| Patterns::try_from(vec![Pattern::new(text).unwrap()]).unwrap();
        let grants = Grants { subscribe: patterns(subscribe), publish: patterns(publish) };
        let signer = Signer::open_or_make(&self.data()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let (user, hour) = (UserId::new(user).unwrap(), Duration::from_secs(3600));
        signer.sign_granting(&grants, &user, None, hour, i64::try_from(now).unwrap()).unwrap()
    }
}

async fn publish(peer: &Peer, channel: &str, content: &str) -> Result<Stored, SendError> {
    let msg = Msg { channel: channel.into(), content: content.to_owned().into(), ..Msg::default() };
    within(within(peer.client.send(msg)).await.expect("the client lives").stored()).await
}

fn is_denied<T>(result: Result<T, SendError>) -> bool {
    matches!(result, Err(SendError::Rejected(refusal)) if refusal.code == Code::PermissionDenied)
}

/// The next message of a channel: its seq and its text.
async fn posted(peer: &mut Peer, channel: &str) -> (i64, String) {
    let message = peer.message_over_reconnects().await;
    assert_eq!(message.timeline, format!("c:{channel}"));
    (message.seq, text(&message))
}

async fn rights_come_with_the_token_and_go_with_it(transport: Transport) {
    let server = Server::start_with(&[], &[RULES]).await;
    let token = server.granting("alice", "news/*", "news/sport");
    let mut alice = Peer::connect_by(server.config_by(token, transport, "a")).await;
    let bob = Peer::connect(&server, transport, "bob", "b").await;
    within(alice.client.subscribe("news/sport", StartAt::Head)).await.unwrap();
    within(alice.client.subscribe("free", StartAt::Head)).await.unwrap();
    assert_eq!(publish(&alice, "news/sport", "goal").await.unwrap().conv_seq, 1);
    assert_eq!(posted(&mut alice, "news/sport").await, (1, "goal".to_owned()));
    assert!(is_denied(publish(&alice, "news/weather", "rain").await));
    assert!(is_denied(publish(&bob, "news/sport", "no goal").await));
    let refused = within(bob.client.subscribe("news/sport", StartAt::Head)).await;
    assert!(
        matches!(&refused, Err(RequestError::Refused(refusal)) if refusal.code == Code::PermissionDenied),
        "{refused:?}"
    );

    within(alice.client.refresh(server.granting("alice", "other", "other"))).await.unwrap();
    match alice.event().await {
        Event::Unsubscribed { channel, reason } => {
            assert_eq!(channel, "news/sport");
            assert!(!reason.is_empty());
        }
        other => panic!("still subscribed: {other:?}"),
    }
    assert!(is_denied(publish(&alice, "news/sport", "goal").await));
    publish(&bob, "free", "to all").await.unwrap();
    assert_eq!(posted(&mut alice, "free").await, (1, "to all".to_owned()), "the session lives on");
}

async fn a_volatile_channel_is_heard_and_not_kept(transport: Transport) {
    let server = Server::start_with(&[], &[RULES]).await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    assert_eq!(publish(&alice, "now/room", "unheard").await.unwrap().conv_seq, 0);
    let subscribed = within(bob.client.subscribe("now/room", StartAt::Floor)).await.unwrap();
    assert_eq!((subscribed.head, subscribed.floor), (0, 1));
    for n in 0..20 {
        let stored = publish(&alice, "now/room", &n.to_string()).await.unwrap();
        assert_eq!((stored.seq, stored.conv_seq), (0, 0));
        assert_eq!(posted(&mut bob, "now/room").await, (0, n.to_string()));
    }
    bob.client.drop_connection().await;
    // It is heard again once the new session subscribes.
    let again = async {
        loop {
            publish(&alice, "now/room", "again").await.unwrap();
            match bob.events.try_recv() {
                Some(Event::Message(message)) => return (message.seq, text(&message)),
                Some(Event::Connected(_) | Event::Disconnected(_)) | None => {}
                Some(other) => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(within(again).await, (0, "again".to_owned()));
    let page = within(alice.client.pull("c:now/room", tidegate_client::History::After(0), 0)).await.unwrap();
    assert_eq!((page.entries.len(), page.head), (0, 0));
}

async fn a_rule_says_how_much_is_kept(transport: Transport) {
    let mut server = Server::start_with(&[], &[RULES]).await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    for n in 1..=12 {
        assert_eq!(publish(&alice, "short", &n.to_string()).await.unwrap().conv_seq, n);
    }
    // What is too much is looked for at the start, and then once a minute.
    server.kill().await;
    server.start_again().await;
    let floor = async {
        loop {
            let page = within(alice.client.pull("c:short", tidegate_client::History::After(0), 0)).await;
            match page {
                Ok(page) if page.floor == 8 => return page,
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let page = within(floor).await;
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [8, 9, 10, 11, 12]);
    // Who knows less than is kept is told so. Who knows more than there is knows another life of the data.
    let mut readers = Vec::new();
    for (user, after) in [("bob", 3), ("carol", 10_000)] {
        let mut late = Peer::connect(&server, transport, user, "b").await;
        let subscribed = within(late.client.subscribe("short", StartAt::After(after))).await.unwrap();
        assert_eq!((subscribed.head, subscribed.floor), (12, 8));
        if after < subscribed.floor {
            match late.event().await {
                Event::HistoryGone { timeline, floor } => {
                    assert_eq!((timeline.as_str(), floor), ("c:short", 8));
                }
                other => panic!("not told: {other:?}"),
            }
        }
        for n in 8..=12 {
            assert_eq!(posted(&mut late, "short").await, (n, n.to_string()));
        }
        readers.push(late);
    }
    assert_eq!(publish(&alice, "short", "13").await.unwrap().conv_seq, 13);
    for reader in &mut readers {
        assert_eq!(posted(reader, "short").await, (13, "13".to_owned()));
    }
}
