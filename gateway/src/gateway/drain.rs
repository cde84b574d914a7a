//! A gateway that is about to stop: it says so to the others, and names them to its clients
//! (docs/PROTOCOL.md "Errors and closing").

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use tidegate_pipeline::presence::lease::{Lease, State};
use tokio::time::timeout;
use tracing::warn;

use super::{Shared, registrar};

/// Where clients of this gateway may go instead; nowhere until it stops.
#[derive(Debug, Default)]
pub(crate) struct Alternatives(OnceLock<Vec<Arc<str>>>);

impl Alternatives {
    /// A few of them, others each time, so that the clients spread over all.
    pub(crate) fn draw(&self) -> Vec<String> {
        let all = self.0.get().map(Vec::as_slice).unwrap_or_default();
        all.choose_multiple(&mut rand::rng(), NAMED).map(|address| address.to_string()).collect()
    }
}

/// Writes the lease as DRAINING and looks who else is there. Presence is waited for a moment only: without it clients
/// come back to their own address.
pub(super) async fn announce(gateway: &Shared) {
    let presence = &gateway.parts.presence;
    let announced = timeout(LIMIT, async {
        presence.extend_lease(&registrar::lease(gateway)).await?;
        presence.leases().await
    });
    match announced.await {
        Ok(Ok(leases)) => {
            let others = others(leases, &gateway.parts.id).into_iter().map(|lease| lease.public);
            let _ = gateway.alternatives.0.set(others.collect());
        }
        Ok(Err(error)) => {
            warn!(error = &error as &dyn std::error::Error, "no other gateways are named to clients");
        }
        Err(_) => warn!("no other gateways are named to clients"),
    }
}

/// The gateways to which clients may go now; none, if presence does not say so in a moment.
pub(super) async fn elsewhere(gateway: &Shared) -> Vec<Lease> {
    let Ok(Ok(leases)) = timeout(LIMIT, gateway.parts.presence.leases()).await else { return Vec::new() };
    others(leases, &gateway.parts.id)
}

/// The gateways that take new sessions and say where.
fn others(mut leases: Vec<Lease>, own: &str) -> Vec<Lease> {
    leases.retain(|lease| &*lease.id != own && lease.state == State::Up && !lease.public.is_empty());
    leases
}

/// As many as clients try.
const NAMED: usize = 8;
/// Of the grace period.
const LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tidegate_pipeline::presence::lease::Role;

    use super::*;

    #[test]
    fn only_who_takes_sessions_and_says_where_is_an_alternative() {
        let lease = |id: &str, state, public: &str| Lease {
            state,
            public: public.into(),
            ..Lease::new(Role::Gateway, id.into(), "h:1".into())
        };
        let leases = vec![
            lease("own", State::Up, "own:1"),
            lease("other", State::Up, "other:1"),
            lease("leaving", State::Draining, "leaving:1"),
            lease("silent", State::Up, ""),
        ];
        let named: Vec<_> = others(leases, "own").into_iter().map(|lease| lease.public).collect();
        assert_eq!(named, ["other:1".into()]);
    }

    #[test]
    fn clients_of_many_gateways_are_spread_over_all() {
        let alternatives = Alternatives::default();
        assert!(alternatives.draw().is_empty());
        alternatives.0.set((0..30).map(|number| number.to_string().into()).collect()).unwrap();
        let drawn: Vec<_> = (0..300).map(|_| alternatives.draw()).collect();
        assert!(drawn.iter().all(|few| few.len() == NAMED));
        let first: std::collections::HashSet<_> = drawn.iter().map(|few| &few[0]).collect();
        assert_eq!(first.len(), 30);
    }
}
