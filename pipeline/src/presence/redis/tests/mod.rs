//! On a real Redis: the contract, dead gateways, the control channel, and a connection that breaks.

mod shapes;

use std::time::Duration;

use fred::prelude::KeysInterface as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::contract::{self, lease, route};
use super::super::{Presence as Port, Unreachable};
use super::*;
use crate::presence::lease::State;

/// The server's address; `scripts/services run redis -- …` sets it.
fn url() -> String {
    std::env::var("TIDEGATE_TEST_REDIS").expect("TIDEGATE_TEST_REDIS says where a Redis for tests is")
}

/// A server under a prefix of one's own.
fn own(url: String) -> Settings {
    Settings { url, prefix: format!("tg-test-{:016x}:", rand::random::<u64>()), ca_file: None }
}

fn presence(settings: Settings) -> Port {
    Port::Redis(Presence::connect(settings).unwrap())
}

fn presence_at(url: String) -> Port {
    presence(own(url))
}

fn names() -> (UserId, DeviceId) {
    (UserId::new("alice").unwrap(), DeviceId::new("phone").unwrap())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("within 30 s")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn contract() {
    contract::run(&presence_at(url())).await;
}

#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn an_interest_that_nobody_writes_again_or_asks_for_does_not_stay() {
    let presence = Presence::connect(own(url())).unwrap();
    let channel = ChannelName::new("news/sport").unwrap();
    let interest = Interest { gateway: "gateway-1".into(), incarnation: 7, subscribers: 1 };
    presence.show_interest(&channel, &interest).await.unwrap();
    let left: i64 = presence.0.pool.ttl(presence.0.keys.channel(&channel)).await.unwrap();
    assert!((1..=super::interests::KEPT_FOR_S).contains(&left), "{left}");
}

#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn rows_of_a_dead_gateway_count_no_more_and_refuse_nobody() {
    let presence = presence_at(url());
    let (user, device) = names();
    let old = route("gateway-1", 1, 100);
    presence.begin_lease(&lease("gateway-2")).await.unwrap();
    // Its lease is never begun, as if it had run out.
    presence.register(&user, &device, &old, 1).await.unwrap();
    let other = DeviceId::new("tablet").unwrap();
    let new = route("gateway-2", 1, 1);
    let registered = Registration::Registered { displaced: None };
    assert_eq!(presence.register(&user, &other, &new, 1).await.unwrap(), registered, "the limit is 1");
    assert_eq!(presence.register(&user, &device, &old, 2).await.unwrap(), registered);
    assert_eq!(presence.register(&user, &device, &new, 2).await.unwrap(), registered, "a lower attempt");

    let restarted = Lease { incarnation: 8, ..lease("gateway-2") };
    presence.begin_lease(&restarted).await.unwrap();
    presence.forget("gateway-2");
    assert!(presence.lookup(&[user]).await.unwrap()[0].is_empty(), "another incarnation holds nothing");
}

#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn the_interest_of_a_dead_gateway_counts_no_more_and_goes() {
    let presence = presence_at(url());
    let channel = ChannelName::new("news/sport").unwrap();
    let interest =
        |gateway: &str, incarnation| Interest { gateway: gateway.into(), incarnation, subscribers: 1 };
    presence.begin_lease(&lease("gateway-2")).await.unwrap();
    // No lease, a life before, and the one that lives.
    presence.show_interest(&channel, &interest("gateway-1", 7)).await.unwrap();
    presence.show_interest(&channel, &interest("gateway-2", 6)).await.unwrap();
    let found = async || presence.interests(std::slice::from_ref(&channel)).await.unwrap().remove(0);
    assert!(found().await.is_empty());
    let Port::Redis(redis) = &presence else { unreachable!() };
    let left: i64 = redis.0.pool.hlen(redis.0.keys.channel(&channel)).await.unwrap();
    assert_eq!(left, 0, "whoever meets such a row removes it");
    presence.show_interest(&channel, &interest("gateway-2", 7)).await.unwrap();
    assert_eq!(found().await.into_vec(), [interest("gateway-2", 7)]);
}

/// Of two processes, the one that looks up has just seen the gateway's lease of before.
#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn rows_of_a_gateway_that_has_just_come_back_count_and_stay() {
    let pusher = presence_at(url());
    let Port::Redis(redis) = &pusher else { unreachable!() };
    let gateway = Port::Redis(Presence::connect(redis.0.settings.clone()).unwrap());
    let (user, device) = names();
    let users = [user.clone()];
    for incarnation in [7, 8, 9] {
        // As after SIGTERM, and as after a kill.
        if incarnation == 8 {
            gateway.end_lease(&Lease { incarnation: 7, ..lease("gateway-1") }).await.unwrap();
            pusher.forget("gateway-1");
            assert!(pusher.lookup(&users).await.unwrap()[0].is_empty(), "seen without a lease");
        }
        gateway.begin_lease(&Lease { incarnation, ..lease("gateway-1") }).await.unwrap();
        let own = Route { incarnation, ..route("gateway-1", 1, 1) };
        gateway.register(&user, &device, &own, 16).await.unwrap();
        for _ in 0..2 {
            assert_eq!(pusher.lookup(&users).await.unwrap()[0][0].1, own, "the row counts, and stays");
        }
    }
}

#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn an_emptied_server_knows_nothing_and_takes_everything_again() {
    let presence = presence_at(url());
    let Port::Redis(redis) = &presence else { unreachable!() };
    let (user, device) = names();
    let (mine, own) = (lease("gateway-1"), route("gateway-1", 1, 1));
    presence.begin_lease(&mine).await.unwrap();
    presence.register(&user, &device, &own, 16).await.unwrap();
    let keys = &redis.0.keys;
    let all = vec![keys.user(&user), keys.lease(Kind::Gateways, "gateway-1"), keys.leases(Kind::Gateways)];
    for key in all {
        use fred::prelude::KeysInterface as _;
        redis.0.pool.del::<(), _>(key).await.unwrap();
    }
    assert!(!presence.extend_lease(&mine).await.unwrap(), "a lease that is gone is not brought back");
    assert!(presence.lookup(std::slice::from_ref(&user)).await.unwrap()[0].is_empty());

    presence.begin_lease(&Lease { incarnation: 8, state: State::Up, ..mine }).await.unwrap();
    let again = Route { incarnation: 8, ..own };
    presence.register(&user, &device, &again, 16).await.unwrap();
    presence.forget("gateway-1");
    assert_eq!(presence.lookup(&[user]).await.unwrap()[0][0].1, again);
}

#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn words_reach_their_gateway_and_do_so_again_after_a_break() {
    let relay = Relay::start().await;
    let presence = presence_at(relay.url());
    let mut controls = within(presence.listen("gateway-1")).await.unwrap();
    let word = |session| Control::Displaced { incarnation: 7, session };
    presence.tell("gateway-2", word(1)).await.unwrap();
    presence.tell("gateway-1", word(2)).await.unwrap();
    assert_eq!(within(controls.next()).await, word(2));

    relay.cut();
    is_heard(&presence, "gateway-1", &mut controls).await;
}

/// Tells a word until it is heard: what is told while nobody listens is lost.
async fn is_heard(presence: &Port, gateway: &str, controls: &mut super::super::Controls) {
    let word = Control::Displaced { incarnation: 7, session: 3 };
    let heard = within(async {
        loop {
            let _ = presence.tell(gateway, word).await;
            if let Ok(heard) = timeout(Duration::from_millis(100), controls.next()).await {
                break heard;
            }
        }
    });
    assert_eq!(heard.await, word);
}

#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-pipeline redis -- --ignored"]
async fn a_server_that_is_away_is_an_error_in_time_and_comes_back_by_itself() {
    let mut relay = Relay::start().await;
    let presence = presence_at(relay.url());
    let (user, _) = names();
    let users = [user];
    within(presence.lookup(&users)).await.unwrap();
    assert!(presence.answers());
    relay.stop();
    let error: Unreachable = within(presence.lookup(&users)).await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert!(!presence.answers());
    relay.restart().await;
    within(async { while presence.lookup(&users).await.is_err() {} }).await;
    assert!(presence.answers());
}

/// A relay in front of the server, so that its connections can be cut.
struct Relay {
    port: u16,
    /// Of the connections there are.
    cut: Arc<parking_lot::Mutex<CancellationToken>>,
    stop: CancellationToken,
}

impl Relay {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let relay = Self { port, cut: Arc::default(), stop: CancellationToken::new() };
        relay.serve(listener);
        relay
    }

    /// The server's URL with this relay's address.
    fn url(&self) -> String {
        let url = url();
        let (before, _) = url.rsplit_once(':').unwrap();
        format!("{before}:{}", self.port)
    }

    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock()).cancel();
    }

    fn stop(&mut self) {
        std::mem::take(&mut self.stop).cancel();
        self.cut();
    }

    async fn restart(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.serve(listener);
    }

    #[expect(clippy::disallowed_methods, reason = "a test's relay is nobody's service")]
    fn serve(&self, listener: TcpListener) {
        let server = url().trim_start_matches("redis://").rsplit('@').next().unwrap().to_owned();
        let server = server.split('/').next().unwrap().to_owned();
        let (stop, cut) = (self.stop.clone(), self.cut.clone());
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, cut) = (server.clone(), cut.lock().clone());
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    let mut server = TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                }));
            }
        }));
    }
}

#[test]
fn settings_show_no_password() {
    let settings =
        Settings { url: "redis://user:secret@localhost".into(), prefix: "tg:".into(), ca_file: None };
    assert!(!format!("{settings:?}").contains("secret"));
}

#[tokio::test]
async fn a_url_that_is_none_is_refused() {
    let settings = Settings { url: "not a url".into(), prefix: "tg:".into(), ca_file: None };
    assert!(Presence::connect(settings).is_err());
}
