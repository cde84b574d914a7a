//! What becomes of sessions when presence forgets them, or says that they are displaced.

use tidegate_pipeline::presence::lease::{Lease, State};
use tidegate_pipeline::presence::{Registration, Route};
use tidegate_proto::id::DeviceId;
use tokio::time::{sleep, timeout};

use super::*;

impl World {
    async fn lease(&self) -> Lease {
        self.eventually(async || self.presence.leases().await.unwrap().pop()).await
    }

    async fn route(&self, user: &str) -> Route {
        let users = [UserId::new(user).unwrap()];
        self.eventually(async || self.presence.lookup(&users).await.unwrap().remove(0).pop()).await.1
    }

    pub(super) async fn eventually<T>(&self, look: impl AsyncFn() -> Option<T>) -> T {
        let found = async {
            loop {
                match look().await {
                    Some(found) => return found,
                    None => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(Duration::from_secs(30), found).await.expect("within 30 s")
    }
}

#[tokio::test]
async fn a_lost_lease_registers_everybody_again_under_a_new_incarnation() {
    let world = World::new().await;
    let old = world.lease().await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    let (mut alice, _) = world.connect("alice", "phone").await;
    let route = world.route("bob").await;
    assert_eq!(route.incarnation, old.incarnation);

    let (user, device) = (UserId::new("bob").unwrap(), DeviceId::new("phone").unwrap());
    world.presence.drop(&user, &device, &route).await.unwrap();
    world.presence.end_lease(&old).await.unwrap();

    let new = world.lease().await;
    assert_ne!(new.incarnation, old.incarnation);
    let again = world.route("bob").await;
    assert_eq!(again, Route { incarnation: new.incarnation, ..route });
    alice.message("bob", "m1", "still here").await;
    alice.stored().await;
    assert_eq!(bob.delivered().await.1.content, "still here");
    drop(bob);
    let users = [user];
    let gone = async || world.presence.lookup(&users).await.unwrap()[0].is_empty().then_some(());
    world.eventually(gone).await;
}

#[tokio::test]
async fn a_session_that_finds_a_higher_attempt_when_it_registers_again_is_replaced() {
    let world = World::new().await;
    let lease = world.lease().await;
    let (mut bob, _) = world.connect("bob", "phone").await;
    let elsewhere = Route { gateway: "elsewhere".into(), attempt: 2, ..world.route("bob").await };
    let (user, device) = (UserId::new("bob").unwrap(), DeviceId::new("phone").unwrap());
    // The word that displaces it is lost.
    let registered = world.presence.register(&user, &device, &elsewhere, 16).await.unwrap();
    assert!(matches!(registered, Registration::Registered { displaced: Some(_) }));
    world.presence.end_lease(&lease).await.unwrap();
    assert_eq!(bob.closed().await, CloseCode::Replaced);
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_and_names_the_others() {
    let world = World::new().await;
    let own = world.lease().await;
    let other = Lease { id: "other".into(), public: "other.example.org:4433".into(), ..own.clone() };
    world.presence.begin_lease(&other).await.unwrap();
    let pipeline = Lease { role: Role::Pipeline, id: "behind".into(), ..other.clone() };
    world.presence.begin_lease(&pipeline).await.unwrap();
    let (mut alice, _) = world.connect("alice", "phone").await;
    let gateway = world.gateway.clone();
    let (told, ()) = tokio::join!(
        async {
            let told = alice.next().await;
            drop(alice);
            told
        },
        gateway.drain(1_000)
    );
    let Kind::GoAway(told) = told else { panic!("no GoAway: {told:?}") };
    assert_eq!(
        (told.reason(), told.alternatives),
        (CloseCode::Draining, vec!["other.example.org:4433".into()])
    );
    let leases = world.presence.leases().await.unwrap();
    let state = |of: &Lease| leases.iter().find(|lease| lease.id == of.id).unwrap().state;
    assert_eq!((state(&own), state(&other)), (State::Draining, State::Up));
}
