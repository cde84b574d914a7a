//! What every variant of presence does; run on each.

use tidegate_proto::id::{ChannelName, DeviceId, UserId};

use super::control::Control;
use super::interest::Interest;
use super::lease::{Lease, Role, State};
use super::{Presence, Registration, Route};

/// The lease of a gateway for tests; routes of [`route`] count under it.
pub(crate) fn lease(gateway: &str) -> Lease {
    Lease { incarnation: 7, ..Lease::new(Role::Gateway, gateway.into(), "127.0.0.1:1".into()) }
}

/// A route of a session for tests.
pub(crate) fn route(gateway: &str, session: u64, attempt: i64) -> Route {
    Route { gateway: gateway.into(), incarnation: 7, session, attempt, platform: "test".into(), since: 1 }
}

/// Runs the whole suite; `presence` is empty before.
pub(crate) async fn run(presence: &Presence) {
    for gateway in ["gateway-1", "gateway-2"] {
        presence.begin_lease(&lease(gateway)).await.unwrap();
    }
    the_higher_attempt_wins(presence).await;
    a_drop_removes_only_its_own_row(presence).await;
    devices_are_limited(presence).await;
    ids_that_differ_by_case_are_two(presence).await;
    attempts_are_compared_to_their_last_digit(presence).await;
    nobody_asked_nobody_found(presence).await;
    the_last_of_many_has_the_device(presence).await;
    a_lease_is_its_incarnations(presence).await;
    a_pipeline_is_found_and_is_no_gateway(presence).await;
    an_interest_is_its_incarnations(presence).await;
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn routes(presence: &Presence, name: &str) -> Vec<Route> {
    let mut found = presence.lookup(&[user(name)]).await.unwrap();
    found.remove(0).into_iter().map(|(_, route)| route).collect()
}

async fn register(presence: &Presence, name: &str, on: &str, route: &Route) -> Registration {
    presence.register(&user(name), &device(on), route, 3).await.unwrap()
}

async fn the_higher_attempt_wins(presence: &Presence) {
    let (old, new) = (route("gateway-1", 1, 10), route("gateway-2", 1, 11));
    assert_eq!(
        register(presence, "alice", "phone", &old).await,
        Registration::Registered { displaced: None }
    );
    let displaced = Some(old.clone());
    assert_eq!(register(presence, "alice", "phone", &new).await, Registration::Registered { displaced });
    assert_eq!(register(presence, "alice", "phone", &old).await, Registration::Superseded);
    assert_eq!(
        register(presence, "alice", "phone", &new).await,
        Registration::Registered { displaced: None }
    );
    assert_eq!(routes(presence, "alice").await, [new]);
}

async fn a_drop_removes_only_its_own_row(presence: &Presence) {
    let (old, new) = (route("gateway-1", 2, 20), route("gateway-1", 3, 21));
    register(presence, "bob", "phone", &old).await;
    register(presence, "bob", "phone", &new).await;
    presence.drop(&user("bob"), &device("phone"), &old).await.unwrap();
    assert_eq!(routes(presence, "bob").await, std::slice::from_ref(&new), "the late drop of an old session");
    presence.drop(&user("bob"), &device("phone"), &new).await.unwrap();
    assert!(routes(presence, "bob").await.is_empty());
}

async fn devices_are_limited(presence: &Presence) {
    for number in 0..3u64 {
        let answer =
            register(presence, "carol", &number.to_string(), &route("gateway-1", 10 + number, 1)).await;
        assert_eq!(answer, Registration::Registered { displaced: None });
    }
    assert_eq!(register(presence, "carol", "3", &route("gateway-1", 20, 1)).await, Registration::Full);
    let displaced = Some(route("gateway-1", 10, 1));
    let again = register(presence, "carol", "0", &route("gateway-1", 21, 2)).await;
    assert_eq!(again, Registration::Registered { displaced }, "a device that is there may come again");
}

async fn ids_that_differ_by_case_are_two(presence: &Presence) {
    register(presence, "dave", "phone", &route("gateway-1", 30, 1)).await;
    register(presence, "Dave", "phone", &route("gateway-1", 31, 1)).await;
    assert_eq!(routes(presence, "dave").await.len(), 1);
    assert_eq!(routes(presence, "Dave").await.len(), 1);
}

async fn attempts_are_compared_to_their_last_digit(presence: &Presence) {
    let (lower, higher) = (route("gateway-1", 40, i64::MAX - 1), route("gateway-2", 40, i64::MAX));
    register(presence, "erin", "phone", &higher).await;
    assert_eq!(register(presence, "erin", "phone", &lower).await, Registration::Superseded);
}

async fn nobody_asked_nobody_found(presence: &Presence) {
    assert!(presence.lookup(&[]).await.unwrap().is_empty());
    let found = presence.lookup(&[user("nobody"), user("erin"), user("nobody-2")]).await.unwrap();
    assert_eq!(found.iter().map(|routes| routes.len()).collect::<Vec<_>>(), [0, 1, 0]);
}

/// Two gateways fight for one device: whoever lost hears of it, by the answer or as the displaced one.
async fn the_last_of_many_has_the_device(presence: &Presence) {
    let attempts = 1..=60_i64;
    let fighters = attempts.clone().map(|attempt| async move {
        let gateway = if attempt % 2 == 0 { "gateway-1" } else { "gateway-2" };
        let answer =
            register(presence, "frank", "phone", &route(gateway, attempt.unsigned_abs(), attempt)).await;
        (attempt, answer)
    });
    let mut out = Vec::new();
    for (attempt, answer) in futures_util::future::join_all(fighters).await {
        match answer {
            Registration::Registered { displaced } => out.extend(displaced.map(|route| route.attempt)),
            Registration::Superseded => out.push(attempt),
            Registration::Full => panic!("one device only"),
        }
    }
    out.sort_unstable();
    assert_eq!(out, (1..60).collect::<Vec<_>>(), "each but the last is out, once");
    assert_eq!(routes(presence, "frank").await[0].attempt, 60);
}

async fn an_interest_is_its_incarnations(presence: &Presence) {
    let (sport, none) = (ChannelName::new("news/sport").unwrap(), ChannelName::new("@all").unwrap());
    let interest = |gateway: &str, incarnation, subscribers| Interest {
        gateway: gateway.into(),
        incarnation,
        subscribers,
    };
    let found = async || {
        let mut found = presence.interests(&[none.clone(), sport.clone()]).await.unwrap();
        assert_eq!((found.len(), found[0].len()), (2, 0));
        found[1].sort_by(|one, other| one.gateway.cmp(&other.gateway));
        found.remove(1).into_vec()
    };
    assert!(presence.interests(&[]).await.unwrap().is_empty());
    presence.show_interest(&sport, &interest("gateway-1", 7, 1)).await.unwrap();
    presence.show_interest(&sport, &interest("gateway-1", 7, 9)).await.unwrap();
    presence.show_interest(&sport, &interest("gateway-2", 7, 2)).await.unwrap();
    assert_eq!(found().await, [interest("gateway-1", 7, 9), interest("gateway-2", 7, 2)]);
    presence.drop_interest(&sport, &interest("gateway-1", 6, 9)).await.unwrap();
    assert_eq!(found().await.len(), 2, "the late drop of a life before");
    presence.drop_interest(&sport, &interest("gateway-1", 7, 0)).await.unwrap();
    assert_eq!(found().await, [interest("gateway-2", 7, 2)]);
    presence.drop_interest(&sport, &interest("gateway-2", 7, 0)).await.unwrap();
    assert!(found().await.is_empty());
}

async fn a_lease_is_its_incarnations(presence: &Presence) {
    let old = lease("gateway-3");
    let new = Lease { incarnation: 8, ..old.clone() };
    assert!(!presence.extend_lease(&old).await.unwrap(), "it has not begun");
    presence.begin_lease(&old).await.unwrap();
    let draining = Lease { state: State::Draining, ..old.clone() };
    assert!(presence.extend_lease(&draining).await.unwrap());
    assert!(presence.leases().await.unwrap().contains(&draining));
    presence.begin_lease(&new).await.unwrap();
    assert!(!presence.extend_lease(&old).await.unwrap(), "it is another's by now");
    presence.end_lease(&old).await.unwrap();
    assert!(presence.leases().await.unwrap().contains(&new), "who ends late ends only his own");
    presence.forget("gateway-3");
    assert_eq!(presence.lease(&new.id).await.unwrap().as_ref(), Some(&new));
    presence.end_lease(&new).await.unwrap();
    presence.forget("gateway-3");
    assert_eq!(presence.lease(&new.id).await.unwrap(), None);
    assert!(!presence.leases().await.unwrap().iter().any(|lease| *lease.id == *"gateway-3"));
    presence.tell("gateway-3", Control::Displaced { incarnation: 8, session: 1 }).await.unwrap();
}

/// Though it may have the id of one.
async fn a_pipeline_is_found_and_is_no_gateway(presence: &Presence) {
    let gateway = Lease { role: Role::Serve, ..lease("process-1") };
    let pipeline = Lease { role: Role::Pipeline, address: "127.0.0.1:2".into(), ..lease("process-1") };
    let alone = Lease { role: Role::Pipeline, ..lease("process-0") };
    for lease in [&alone, &pipeline, &gateway] {
        presence.begin_lease(lease).await.unwrap();
    }
    let found = async || {
        let mut found = presence.instances().await.unwrap();
        found.retain(|lease| lease.id.starts_with("process-"));
        found
    };
    assert_eq!(found().await, [alone.clone(), gateway.clone(), pipeline.clone()]);
    let gateways = presence.leases().await.unwrap();
    assert!(gateways.contains(&gateway) && gateways.iter().all(|lease| lease.role.has_gateway()));
    assert_eq!(presence.lease(&pipeline.id).await.unwrap().as_ref(), Some(&gateway));
    assert_eq!(presence.lease(&alone.id).await.unwrap(), None, "nothing leads to a pipeline");

    let draining = Lease { state: State::Draining, ..pipeline };
    assert!(presence.extend_lease(&draining).await.unwrap());
    assert_eq!(found().await, [alone.clone(), gateway.clone(), draining.clone()]);
    presence.end_lease(&draining).await.unwrap();
    assert_eq!(found().await, [alone.clone(), gateway.clone()]);
    // A route names an id; the pipeline's lease does not bring it to life.
    let row = Route { incarnation: alone.incarnation, ..route(&alone.id, 50, 1) };
    register(presence, "grace", "phone", &row).await;
    if let Presence::Redis(_) = presence {
        assert!(routes(presence, "grace").await.is_empty());
    }
    for lease in [alone, gateway] {
        presence.end_lease(&lease).await.unwrap();
    }
    assert!(found().await.is_empty());
}
