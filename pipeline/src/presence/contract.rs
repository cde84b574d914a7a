//! What every variant of presence does; run on each.

use tidegate_proto::id::{DeviceId, UserId};

use super::{Presence, Registration, Route};

/// A route of a session for tests.
pub(crate) fn route(gateway: &str, session: u64, attempt: i64) -> Route {
    Route { gateway: gateway.into(), incarnation: 7, session, attempt, platform: "test".into(), since: 1 }
}

/// Runs the whole suite; `presence` is empty before.
pub(crate) async fn run(presence: &Presence) {
    the_higher_attempt_wins(presence).await;
    a_drop_removes_only_its_own_row(presence).await;
    devices_are_limited(presence).await;
    ids_that_differ_by_case_are_two(presence).await;
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
