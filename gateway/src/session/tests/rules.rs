//! Channels with rules: who may, who may no longer, how often.

use tidegate_pipeline::channels::{Access, Rate, Rule, Rules};
use tidegate_proto::pattern::Pattern;
use tidegate_proto::v1::Unsubscribed;

use super::channels::{hears, publish_all};
use super::*;
use crate::auth::{Grants, Patterns};

pub(super) fn rules(rules: &[(&str, Rule)]) -> Settings {
    let channels: Rules =
        rules.iter().map(|(pattern, rule)| (Pattern::new(pattern).unwrap(), *rule)).collect();
    Settings { channels, message_burst: 10_000, ..Settings::default() }
}

fn granted() -> Rule {
    Rule { subscribe: Access::Granted, publish: Access::Granted, ..Rule::default() }
}

impl World {
    fn granting(&self, user: &str, subscribe: &[&str], publish: &[&str]) -> String {
        let patterns = |texts: &[&str]| {
            let patterns: Vec<_> = texts.iter().map(|text| Pattern::new(text).unwrap()).collect();
            Patterns::try_from(patterns).unwrap()
        };
        let grants = Grants { subscribe: patterns(subscribe), publish: patterns(publish) };
        let (user, ttl) = (UserId::new(user).unwrap(), Duration::from_secs(600));
        self.signer.sign_granting(&grants, &user, None, ttl, now_ms()).unwrap()
    }

    async fn connect_granted(&self, user: &str, subscribe: &[&str], publish: &[&str]) -> Client {
        let token = self.granting(user, subscribe, publish);
        self.connect_with(Hello { token, ..self.hello(user, "phone") }).await.0
    }
}

impl Client {
    async fn pull(&mut self, timeline: &str) {
        let pull = Pull { timeline: timeline.into(), from: Some(pull::From::After(0)), limit: 0 };
        self.send(from_client::Kind::Pull(pull)).await;
    }

    async fn refresh(&mut self, token: String) {
        self.send(from_client::Kind::Refresh(Refresh { token })).await;
    }
}

#[tokio::test]
async fn a_token_opens_what_the_rule_leaves_to_it() {
    let closed = Rule { publish: Access::Nobody, ..Rule::default() };
    let world = World::with(rules(&[("news/**", granted()), ("@ops", closed), ("**", closed)])).await;
    let mut editor = world.connect_granted("editor", &["news/*"], &["news/sport"]).await;
    let mut reader = world.connect_granted("reader", &["news/**"], &[]).await;
    let (mut anybody, _) = world.connect("anybody", "phone").await;
    reader.subscribed("news/sport", None).await;
    publish_all(&mut editor, "news/sport", 1..=3).await;
    hears(&mut reader, "news/sport", 1..=3).await;
    for (client, channels) in [
        (&mut editor, &["news/weather"][..]),
        (&mut reader, &["news/sport"]),
        (&mut anybody, &["room", "@ops", "@other"]),
    ] {
        for channel in channels {
            client.publish(channel, "x", "x").await;
            assert_eq!(client.receipt().await.code(), Code::PermissionDenied, "{channel}");
        }
    }
    for channel in ["news/sport", "@other"] {
        anybody.subscribe(channel, None).await;
        assert_eq!(anybody.refused().await, Code::PermissionDenied, "{channel}");
        anybody.pull(&format!("c:{channel}")).await;
        assert_eq!(anybody.refused().await, Code::PermissionDenied, "the history is read by the same right");
    }
    for channel in ["room", "@ops", "@all"] {
        anybody.subscribed(channel, None).await;
    }
    publish_all(&mut editor, "@all", 1..=1).await;
    hears(&mut anybody, "@all", 1..=1).await;
}

#[tokio::test]
async fn a_token_that_grants_less_ends_subscriptions() {
    let world = World::with(rules(&[("news/*", granted())])).await;
    let all = ["news/*"];
    let mut alice = world.connect_granted("alice", &all, &all).await;
    for channel in ["news/a", "news/b", "free"] {
        alice.subscribed(channel, None).await;
    }
    alice.refresh(world.granting("alice", &["news/b"], &["news/b"])).await;
    match alice.next().await {
        Kind::Unsubscribed(Unsubscribed { channel, reason }) => {
            assert_eq!(channel, "news/a");
            assert!(reason.contains("the token grants no right"), "{reason}");
        }
        other => panic!("not unsubscribed: {other:?}"),
    }
    alice.publish("news/a", "x", "x").await;
    assert_eq!(alice.receipt().await.code(), Code::PermissionDenied);
    let mut editor = world.connect_granted("editor", &all, &all).await;
    publish_all(&mut editor, "news/a", 1..=2).await;
    publish_all(&mut editor, "news/b", 1..=2).await;
    hears(&mut alice, "news/b", 1..=2).await;
    publish_all(&mut editor, "free", 1..=1).await;
    hears(&mut alice, "free", 1..=1).await;

    alice.subscribe("news/a", None).await;
    assert_eq!(alice.refused().await, Code::PermissionDenied);
    alice.refresh(world.granting("alice", &all, &[])).await;
    assert_eq!(alice.subscribed("news/a", Some(0)).await.head, 2);
    hears(&mut alice, "news/a", 1..=2).await;
}

#[tokio::test]
async fn a_subscription_that_is_being_opened_is_refused() {
    let world = World::with(rules(&[("news/*", granted())])).await;
    let mut alice = world.connect_granted("alice", &["news/*"], &[]).await;
    // Both are read before the store has answered; if it was faster, the subscription ends all the same.
    alice.subscribe("news/a", None).await;
    alice.refresh(world.token("alice", Duration::from_secs(600))).await;
    match alice.next().await {
        Kind::Error(error) => assert_eq!(error.code(), Code::PermissionDenied),
        Kind::Subscribed(_) => assert!(matches!(alice.next().await, Kind::Unsubscribed(_))),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        world.gateway.shared().channels.count(&tidegate_proto::id::ChannelName::new("news/a").unwrap()),
        0
    );
}

#[tokio::test]
async fn a_rule_has_a_rate_of_its_own() {
    let rate = Some(Rate { per_second: 1, burst: 3 });
    let world = World::with(rules(&[("slow/*", Rule { rate, ..Rule::default() })])).await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    // All channels of the rule together: none of them comes to its burst alone.
    for n in 0..40 {
        alice.publish(&format!("slow/{n}"), &n.to_string(), "x").await;
    }
    let (mut accepted, mut limited) = (0, 0);
    while accepted + limited < 40 {
        let receipt = alice.receipt().await;
        match receipt.status() {
            ReceiptStatus::Accepted => accepted += 1,
            ReceiptStatus::Rejected => {
                assert_eq!(receipt.code(), Code::RateLimited);
                assert!((1..=1_000).contains(&receipt.retry_after_ms), "{receipt:?}");
                limited += 1;
            }
            ReceiptStatus::Stored | ReceiptStatus::Unspecified => {}
        }
    }
    assert!(accepted >= 3 && limited > 0, "{accepted} accepted, {limited} limited");
    let (mut bob, _) = world.connect("bob", "phone").await;
    publish_all(&mut bob, "fast", 1..=10).await;
    publish_all(&mut bob, "slow/1000", 1..=1).await;
}
