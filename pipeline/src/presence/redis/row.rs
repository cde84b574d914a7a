//! A route as text, the way it stands in a field of a user's hash. Pure.
//!
//! `attempt|gateway|incarnation|session|since|platform`: the attempt has all of its 19 digits, so that the scripts on the
//! server compare it as text (their numbers are exact up to 2^53 only); the platform is the client's word and stands
//! last, since it may hold anything.

use crate::presence::Route;

/// The text of a route.
pub(super) fn encode(route: &Route) -> String {
    let Route { attempt, since, platform, .. } = route;
    format!("{attempt:019}|{}|{since}|{platform}", session(route))
}

/// What names a route's session, as it stands within the text.
pub(super) fn session(route: &Route) -> String {
    let Route { gateway, incarnation, session, .. } = route;
    format!("{gateway}|{incarnation}|{session}")
}

/// The route of a text; `None` for one that nobody of us wrote.
pub(super) fn decode(text: &str) -> Option<Route> {
    let mut parts = text.splitn(6, '|');
    let mut part = || parts.next();
    let attempt = part()?.parse().ok()?;
    let gateway = part().filter(|gateway| !gateway.is_empty())?.into();
    let incarnation = part()?.parse().ok()?;
    let session = part()?.parse().ok()?;
    let since = part()?.parse().ok()?;
    let platform = part()?.into();
    Some(Route { gateway, incarnation, session, attempt, platform, since })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_route_comes_back(
            (gateway, platform) in ("[A-Za-z0-9._@+-]{1,64}", ".{0,64}"),
            (incarnation, session) in any::<(u64, u64)>(),
            (attempt, since) in (1..i64::MAX, 0..i64::MAX),
        ) {
            let (gateway, platform) = (gateway.as_str().into(), platform.as_str().into());
            let route = Route { gateway, incarnation, session, attempt, platform, since };
            prop_assert_eq!(decode(&encode(&route)), Some(route));
        }

        #[test]
        fn a_higher_attempt_is_a_greater_text(one in 1..i64::MAX, other in 1..i64::MAX) {
            let text = |attempt| {
                let route = Route {
                    gateway: "g".into(), incarnation: 1, session: 1, attempt, platform: "".into(), since: 0,
                };
                encode(&route)
            };
            prop_assert_eq!(one.cmp(&other), text(one)[..19].cmp(&text(other)[..19]));
        }

        #[test]
        fn damaged_text_never_panics(text in ".{0,80}") {
            let _ = decode(&text);
        }
    }
}
