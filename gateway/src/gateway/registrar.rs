//! Keeps this gateway in presence: its lease, the routes of its sessions, and what other gateways tell it
//! (ARCHITECTURE.md "Presence and links").

use std::time::Duration;

use futures_util::future::join_all;
use tidegate_pipeline::presence::control::Control;
use tidegate_pipeline::presence::keeper::{EXTEND_EVERY, Holder, keep};
use tidegate_pipeline::presence::lease::{Lease, State};
use tidegate_pipeline::presence::{Registration, Route, Unreachable};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::CloseCode;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Shared;
use super::registrations::Row;
use crate::hub::mailbox::Notice;

/// Works until `stop`; then drops the routes that are left, the interests, and the lease.
pub(crate) async fn run(gateway: &Shared, stop: &CancellationToken) {
    tokio::join!(
        stop.run_until_cancelled(keep(&gateway.parts.presence, gateway)),
        stop.run_until_cancelled(register_due(gateway)),
        stop.run_until_cancelled(hear(gateway)),
        stop.run_until_cancelled(drop_gone(gateway)),
    );
    let left = async {
        // What cannot be dropped now counts for nobody without the lease.
        let _ = drop_all(gateway).await;
        gateway.channels.drop_all(gateway).await;
        gateway.parts.presence.end_lease(&lease(gateway)).await
    };
    match timeout(END_LIMIT, left).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(error = &error as &dyn std::error::Error, "the lease runs out by itself");
        }
        Err(_) => warn!("the lease runs out by itself"),
    }
}

/// Closes the session of a route that a newer one of its device has displaced, here or on another gateway.
pub(crate) async fn displace(gateway: &Shared, old: &Route) {
    if old.gateway == gateway.parts.id {
        if old.incarnation == gateway.incarnation() {
            gateway.hub.notify(old.session, replaced());
        }
        return;
    }
    let word = Control::Displaced { incarnation: old.incarnation, session: old.session };
    if let Err(error) = gateway.parts.presence.tell(&old.gateway, word).await {
        // It finds out by comparing its sessions with presence.
        warn!(
            error = &error as &dyn std::error::Error,
            gateway = &*old.gateway,
            "not told of a displaced session"
        );
    }
}

/// With a lost lease, whatever was registered may be gone too: it is registered again under the new incarnation.
impl Holder for Shared {
    fn lease(&self) -> Lease {
        lease(self)
    }

    fn lost(&self) {
        self.draw_incarnation();
    }

    fn begun(&self) {
        // Only the first time.
        let _ = self.leased.set(());
        self.registrations.register_all(Some(self.incarnation()));
        self.channels.show_all();
        self.heads.check_all();
    }

    fn unanswered(&self) {
        self.parts.metrics.presence_unreachable.inc();
    }
}

/// What the lease says now.
pub(crate) fn lease(gateway: &Shared) -> Lease {
    let parts = &gateway.parts;
    Lease {
        incarnation: gateway.incarnation(),
        state: if gateway.is_stopping() { State::Draining } else { State::Up },
        public: parts.public.clone(),
        demo: parts.demo.clone(),
        ..Lease::new(parts.role, parts.id.clone(), parts.address.clone())
    }
}

/// Registers what presence could not be asked for, and once a minute everything: that is the comparison by which a
/// session learns that it was displaced, should the word be lost.
async fn register_due(gateway: &Shared) {
    let mut compare = interval(COMPARE_EVERY);
    compare.tick().await;
    loop {
        tokio::select! {
            () = gateway.registrations.due() => {}
            () = sleep(EXTEND_EVERY) => {}
            _ = compare.tick() => {
                gateway.registrations.register_all(None);
                gateway.channels.show_all();
            }
        }
        loop {
            let rows = gateway.registrations.unconfirmed(AT_ONCE);
            if rows.is_empty() {
                break;
            }
            let registered = join_all(rows.iter().map(|row| register(gateway, row))).await;
            if let Some(error) = registered.into_iter().find_map(Result::err) {
                gateway.parts.metrics.presence_unreachable.inc();
                warn!(error = &error as &dyn std::error::Error, "sessions are registered later");
                break;
            }
        }
    }
}

async fn register(gateway: &Shared, row: &Row) -> Result<(), Unreachable> {
    let (user, device, route) = row;
    let max_devices = gateway.parts.settings.max_devices;
    match gateway.parts.presence.register(user, device, route, max_devices).await? {
        Registration::Registered { displaced } => {
            if !gateway.registrations.confirm(route) {
                gateway.registrations.leave(row.clone());
            }
            gateway.heads.registered(Timeline::inbox(user));
            if let Some(old) = displaced {
                displace(gateway, &old).await;
            }
        }
        Registration::Superseded => close(gateway, route, replaced()),
        Registration::Full => {
            let message = "the user has too many devices connected";
            close(gateway, route, Notice { code: CloseCode::Limit, message, retry_after_ms: 0 });
        }
    }
    Ok(())
}

/// It has no row and will get none.
fn close(gateway: &Shared, route: &Route, notice: Notice) {
    gateway.registrations.confirm(route);
    gateway.hub.notify(route.session, notice);
}

/// Drops the routes of sessions that are gone.
async fn drop_gone(gateway: &Shared) {
    loop {
        if drop_all(gateway).await.is_err() {
            sleep(RETRY_AFTER).await;
        } else {
            gateway.registrations.left().await;
        }
    }
}

/// Drops what is to be dropped now, many together: a gateway that stops has as many rows as sessions. What presence
/// does not take, and what is under way when the future is dropped, is left for the next time.
async fn drop_all(gateway: &Shared) -> Result<(), Unreachable> {
    loop {
        let mut dropping = Dropping { gateway, rows: gateway.registrations.gone(AT_ONCE) };
        if dropping.rows.is_empty() {
            return Ok(());
        }
        let drops = dropping
            .rows
            .iter()
            .map(|(user, device, route)| gateway.parts.presence.drop(user, device, route));
        let dropped = join_all(drops).await;
        let mut errors = Vec::new();
        let mut dropped = dropped.into_iter();
        dropping.rows.retain(|_| {
            dropped.next().is_some_and(|dropped| dropped.map_err(|error| errors.push(error)).is_err())
        });
        if let Some(error) = errors.pop() {
            gateway.parts.metrics.presence_unreachable.inc();
            let routes = dropping.rows.len();
            warn!(error = &error as &dyn std::error::Error, routes, "a route is dropped later");
            return Err(error);
        }
    }
}

/// Rows on their way out of presence; those that did not get there wait again.
struct Dropping<'a> {
    gateway: &'a Shared,
    rows: Vec<Row>,
}

impl Drop for Dropping<'_> {
    fn drop(&mut self) {
        self.rows.drain(..).for_each(|row| self.gateway.registrations.leave(row));
    }
}

/// Does what other gateways say.
async fn hear(gateway: &Shared) {
    loop {
        match gateway.parts.presence.listen(&gateway.parts.id).await {
            Ok(mut controls) => {
                // Only the first time.
                let _ = gateway.hears.set(());
                loop {
                    let (incarnation, session, notice) = match controls.next().await {
                        Control::Displaced { incarnation, session } => (incarnation, session, replaced()),
                        Control::Kicked { incarnation, session } => (incarnation, session, kicked()),
                    };
                    if incarnation == gateway.incarnation() {
                        gateway.hub.notify(session, notice);
                    }
                }
            }
            Err(error) => warn!(error = &error as &dyn std::error::Error, "other gateways are not heard"),
        }
        sleep(RETRY_AFTER).await;
    }
}

/// What a session is told that an operator closes.
pub(crate) fn kicked() -> Notice {
    Notice { code: CloseCode::Kicked, message: "closed by the operator", retry_after_ms: 0 }
}

fn replaced() -> Notice {
    let message = "another connection of this device is newer";
    Notice { code: CloseCode::Replaced, message, retry_after_ms: 0 }
}

const COMPARE_EVERY: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// For the routes and the lease at the stop: less than links are waited for (`tidegate_pipeline::rpc::Server`).
const END_LIMIT: Duration = Duration::from_secs(2);
/// Registrations or drops under way together.
const AT_ONCE: usize = 256;
