//! Keeps this gateway in presence: its lease, the routes of its sessions, and what other gateways tell it
//! (ARCHITECTURE.md "Presence and links").

use std::time::Duration;

use futures_util::future::join_all;
use tidegate_pipeline::presence::control::Control;
use tidegate_pipeline::presence::lease::{Lease, State};
use tidegate_pipeline::presence::{Registration, Route, Unreachable};
use tidegate_proto::v1::CloseCode;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Shared;
use super::registrations::Row;
use crate::hub::mailbox::Notice;

/// Works until `stop`; then drops the routes that are left, and the lease.
pub(crate) async fn run(gateway: &Shared, stop: &CancellationToken) {
    tokio::join!(
        stop.run_until_cancelled(keep_lease(gateway)),
        stop.run_until_cancelled(register_due(gateway)),
        stop.run_until_cancelled(hear(gateway)),
        drop_gone(gateway, stop),
    );
    if let Err(error) = gateway.parts.presence.end_lease(&lease(gateway)).await {
        warn!(error = &error as &dyn std::error::Error, "the lease runs out by itself");
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

/// Refreshes the lease. One that is gone was not extended in time, or presence was emptied: whatever was registered may
/// be gone too, and is registered again under a new incarnation.
async fn keep_lease(gateway: &Shared) {
    let presence = &gateway.parts.presence;
    let mut tick = interval(EXTEND_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut begun = false;
    loop {
        tick.tick().await;
        let kept = if begun { presence.extend_lease(&lease(gateway)).await } else { Ok(false) };
        let result = match kept {
            Ok(true) => Ok(()),
            Ok(false) => {
                if begun {
                    info!("the lease was lost: all sessions are registered again");
                    gateway.draw_incarnation();
                }
                begin(gateway).await.inspect(|()| begun = true)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            gateway.parts.metrics.presence_unreachable.inc();
            warn!(error = &error as &dyn std::error::Error, "the lease is not refreshed");
        }
    }
}

async fn begin(gateway: &Shared) -> Result<(), Unreachable> {
    gateway.parts.presence.begin_lease(&lease(gateway)).await?;
    gateway.registrations.register_all(Some(gateway.incarnation()));
    gateway.heads.check_all();
    Ok(())
}

/// What the lease says now.
pub(crate) fn lease(gateway: &Shared) -> Lease {
    let parts = &gateway.parts;
    Lease {
        gateway: parts.id.clone(),
        incarnation: gateway.incarnation(),
        state: if gateway.is_stopping() { State::Draining } else { State::Up },
        address: parts.address.clone(),
        public: parts.public.clone(),
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
            _ = compare.tick() => gateway.registrations.register_all(None),
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
            gateway.heads.registered(user);
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

/// Drops the routes of sessions that are gone; what is left at `stop` is tried once more.
async fn drop_gone(gateway: &Shared, stop: &CancellationToken) {
    loop {
        let stopping = stop.is_cancelled();
        while let Some((user, device, route)) = gateway.registrations.next_gone() {
            if let Err(error) = gateway.parts.presence.drop(&user, &device, &route).await {
                gateway.parts.metrics.presence_unreachable.inc();
                warn!(error = &error as &dyn std::error::Error, %user, "a route is dropped later");
                gateway.registrations.leave((user, device, route));
                if stopping {
                    return;
                }
                let _ = stop.run_until_cancelled(sleep(RETRY_AFTER)).await;
            }
        }
        if stopping {
            return;
        }
        let _ = stop.run_until_cancelled(gateway.registrations.left()).await;
    }
}

/// Does what other gateways say.
async fn hear(gateway: &Shared) {
    loop {
        match gateway.parts.presence.listen(&gateway.parts.id).await {
            Ok(mut controls) => loop {
                let (incarnation, session, notice) = match controls.next().await {
                    Control::Displaced { incarnation, session } => (incarnation, session, replaced()),
                    Control::Kicked { incarnation, session } => (incarnation, session, kicked()),
                };
                if incarnation == gateway.incarnation() {
                    gateway.hub.notify(session, notice);
                }
            },
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

/// A lease lives 10 s.
const EXTEND_EVERY: Duration = Duration::from_secs(3);
const COMPARE_EVERY: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Registrations under way together.
const AT_ONCE: usize = 256;
