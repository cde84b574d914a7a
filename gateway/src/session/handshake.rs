//! From a connection to a session: Hello in time, the token, the limits before Welcome, and then register, listen, read
//! the store, in this order (ARCHITECTURE.md invariant 9).

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_pipeline::presence::{Registration, Route};
use tidegate_pipeline::store::{Bounds, Inbox};
use tidegate_proto::Refusal;
use tidegate_proto::id::{DeviceId, UserId};
use tidegate_proto::limits::{
    HEARTBEAT, HELLO_TIMEOUT, MAX_AGENT_BYTES, MAX_CONTENT_BYTES, MAX_FRAME_BYTES, MAX_IN_FLIGHT, MAX_LANES,
    MAX_PLATFORM_BYTES, MAX_SIGNAL_BYTES,
};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{
    ClientFrame, CloseCode, Code, Hello, HistoryGone, Limits, Welcome, client_frame, server_frame, start,
};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::Clock;
use super::end::{End, frame};
use super::in_flight::InFlight;
use super::rate::Rate;
use super::subscriptions::Subscriptions;
use super::taking::Taking;
use super::tally::{FeedTally, Tally};
use super::worker::{Guards, Session, expires};
use crate::auth::Identity;
use crate::feed::Feed;
use crate::gateway::{Shared, now_ms, registrar};
use crate::hub::mailbox::{Mailbox, Notice};
use crate::quoted::Quoted;
use crate::transport::{Event, Info, Outgoing, Transport};

/// Makes a session of a connection; or gives the connection back with the way it ends.
pub(super) async fn handshake<T: Transport>(
    gateway: Arc<Shared>,
    mut transport: T,
) -> Result<Box<Session<T>>, Box<(T, End)>> {
    match greet(&gateway, &mut transport).await {
        Ok((greeting, id)) => Ok(Box::new(welcome(gateway, transport, greeting, id))),
        Err(end) => Err(Box::new((transport, end))),
    }
}

/// A Hello that passed every check, registered, with what the store has for it.
struct Greeting {
    hello: Hello,
    identity: Identity,
    device: DeviceId,
    guards: Guards,
    mailbox: Arc<Mailbox>,
    inbox: Inbox,
}

async fn greet<T: Transport>(gateway: &Arc<Shared>, transport: &mut T) -> Result<(Greeting, u32), End> {
    let first = gateway.until_stopping(first_frame(transport)).await;
    let (id, hello) = first.ok_or_else(|| stopping(gateway))??;
    let identity = identify(gateway, &hello, transport.info())?;
    let device = check(&hello, &identity)?;

    let mailbox = Mailbox::new(
        gateway.draw_session(),
        gateway.parts.settings.outbox_bytes,
        gateway.parts.metrics.mailbox.clone(),
    );
    let route = Route {
        gateway: gateway.parts.id.clone(),
        incarnation: gateway.incarnation(),
        session: mailbox.session(),
        attempt: hello.attempt,
        platform: hello.platform.as_str().into(),
        since: now_ms(),
    };
    let round = gateway.registrations.round();
    let confirmed = register(gateway, &identity.user, &device, &route).await?.then_some(round);
    let row = (identity.user.clone(), device.clone(), route);
    let guards = Guards::new(gateway, row, confirmed, mailbox.clone());
    // Whoever joins the hub after all its sessions were told to go would stay until the grace period ends.
    if gateway.is_stopping() {
        return Err(stopping(gateway));
    }
    // A device that comes back within the second goes on where it was, not where the store knows it.
    let unwritten = gateway.cursors.unwritten(&identity.user, &device);
    let mut inbox = gateway.parts.store.inbox(&identity.user, &device).await.map_err(|error| {
        warn!(error = &error as &dyn std::error::Error, "no session without the store");
        End::go_away(CloseCode::Restart, "the store does not answer", 1_000)
    })?;
    inbox.cursor = inbox.cursor.max(unwritten);
    gateway.heads.registered(Timeline::inbox(&identity.user));
    Ok((Greeting { hello, identity, device, guards, mailbox, inbox }, id))
}

fn stopping(gateway: &Shared) -> End {
    let (code, message) = (CloseCode::Draining, "the gateway is stopping");
    End::notice(&Notice { code, message, retry_after_ms: 1_000 }, &gateway.alternatives)
}

async fn first_frame<T: Transport>(transport: &mut T) -> Result<(u32, Hello), End> {
    let deadline = Instant::now() + HELLO_TIMEOUT;
    loop {
        match timeout_at(deadline, transport.next(true)).await {
            Ok(Event::Frame(ClientFrame { id, kind: Some(client_frame::Kind::Hello(hello)) })) => {
                return Ok((id, hello));
            }
            Ok(Event::Frame(_) | Event::Datagram(_)) => {
                return Err(End::protocol_error("the first frame must be Hello"));
            }
            Ok(Event::Bad(bad)) => return Err(End::bad(&bad, bad.close.unwrap_or(CloseCode::ProtocolError))),
            Ok(Event::Written) => {}
            Ok(Event::Gone(_)) => return Err(End::Gone),
            Err(_) => {
                let message = format!("no Hello within {} s", HELLO_TIMEOUT.as_secs());
                return Err(End::unauthenticated(message));
            }
        }
    }
}

fn identify(gateway: &Shared, hello: &Hello, info: &Info) -> Result<Identity, End> {
    if let Some(identity) = &info.identity {
        return Ok(identity.clone());
    }
    let token = if hello.token.is_empty() { info.token.as_deref().unwrap_or_default() } else { &hello.token };
    gateway.parts.auth.verify(token, now_ms()).map_err(|refusal| refused(&refusal))
}

fn refused(refusal: &Refusal) -> End {
    let close = if refusal.code == Code::TooLarge { CloseCode::TooLarge } else { CloseCode::Unauthenticated };
    End::refused(close, refusal)
}

fn check(hello: &Hello, identity: &Identity) -> Result<DeviceId, End> {
    let invalid = |refusal: &Refusal| End::refused(CloseCode::ProtocolError, refusal);
    let device = DeviceId::new(&hello.device_id).map_err(|refusal| invalid(&refusal))?;
    if identity.device.as_ref().is_some_and(|only| *only != device) {
        return Err(End::unauthenticated("the token is for another device"));
    }
    let wrong = if hello.attempt <= 0 {
        "attempt must be positive"
    } else if hello.platform.len() > MAX_PLATFORM_BYTES || hello.agent.len() > MAX_AGENT_BYTES {
        "platform or agent is too long"
    } else if hello.lanes > MAX_LANES {
        "there are at most 8 lanes"
    } else if matches!(&hello.start, Some(start) if position_is_negative(start.from.as_ref())) {
        "a cursor must be at least 0"
    } else {
        return Ok(device);
    };
    Err(invalid(&Refusal::invalid(wrong)))
}

fn position_is_negative(from: Option<&start::From>) -> bool {
    matches!(from, Some(start::From::Position(position)) if position.cursor < 0)
}

/// Whether presence has confirmed the route. Without presence the session is served, and registered later.
async fn register(gateway: &Shared, user: &UserId, device: &DeviceId, route: &Route) -> Result<bool, End> {
    if !gateway.parts.presence.answers() {
        return Ok(false);
    }
    let max_devices = gateway.parts.settings.max_devices;
    match gateway.parts.presence.register(user, device, route, max_devices).await {
        Ok(Registration::Registered { displaced }) => {
            if let Some(old) = displaced {
                registrar::displace(gateway, &old).await;
            }
            Ok(true)
        }
        Ok(Registration::Superseded) => Err(End::replaced()),
        Ok(Registration::Full) => {
            let message = format!("at most {max_devices} devices of a user may be connected");
            Err(End::refused(CloseCode::Limit, &Refusal::new(Code::Limit, message)))
        }
        Err(error) => {
            warn!(error = &error as &dyn std::error::Error, %user, "served without presence");
            gateway.parts.metrics.presence_unreachable.inc();
            Ok(false)
        }
    }
}

/// Where the inbox is read from: (the cursor to start after, the position was of another life of the data).
fn start(hello: &Hello, inbox: &Inbox, epoch: &str) -> u64 {
    let Bounds { head, floor } = inbox.bounds;
    let from_floor = floor - 1;
    match hello.start.as_ref().and_then(|start| start.from.as_ref()) {
        Some(start::From::Position(position)) => {
            let cursor = position.cursor.unsigned_abs();
            if position.epoch == epoch && cursor <= head { cursor } else { from_floor }
        }
        Some(start::From::Head(true)) => head,
        Some(start::From::Floor(true)) => from_floor,
        Some(start::From::Head(false) | start::From::Floor(false)) | None => {
            inbox.cursor.filter(|cursor| *cursor <= head).unwrap_or(from_floor)
        }
    }
}

fn welcome<T: Transport>(gateway: Arc<Shared>, mut transport: T, greeting: Greeting, id: u32) -> Session<T> {
    let Greeting { hello, identity, device, guards, mailbox, inbox } = greeting;
    let Bounds { head, floor } = inbox.bounds;
    let start = start(&hello, &inbox, &gateway.parts.epoch);
    let settings = &gateway.parts.settings;
    let mut answer = frame(server_frame::Kind::Welcome(Welcome {
        session_id: format!("{}-{:x}-{}", gateway.parts.id, gateway.incarnation(), mailbox.session()),
        user_id: identity.user.as_str().to_owned(),
        device_id: device.as_str().to_owned(),
        epoch: gateway.parts.epoch.to_string(),
        start: start.cast_signed(),
        head: head.cast_signed(),
        floor: floor.cast_signed(),
        server_time: now_ms(),
        heartbeat_ms: i64::try_from(HEARTBEAT.as_millis()).unwrap_or(i64::MAX),
        limits: Some(limits(settings)),
        gateway: gateway.parts.id.to_string(),
    }));
    answer.id = id;
    transport.send(Outgoing::Frame(answer));
    transport.open(MAX_FRAME_BYTES, hello.lanes, hello.datagrams);
    if start + 1 < floor {
        let gone = HistoryGone { timeline: String::new(), floor: floor.cast_signed() };
        transport.send(Outgoing::Frame(frame(server_frame::Kind::HistoryGone(gone))));
    }
    debug!(user = %identity.user, %device, agent = %Quoted(&hello.agent), start, head, "session began");
    Session {
        tally: Tally::new(gateway.clone(), transport.info().kind),
        feed_tally: FeedTally::new(gateway.clone()),
        feed: Feed::new(start.max(floor - 1), head),
        sends: InFlight::default(),
        messages: Rate::new(settings.messages_per_second, settings.message_burst),
        signals: Rate::new(settings.signals_per_second, settings.signal_burst),
        refreshes: Rate::new(REFRESHES_PER_SECOND, REFRESH_BURST),
        subscribes: Rate::new(SUBSCRIBES_PER_SECOND, SUBSCRIBE_BURST),
        subscriptions: Subscriptions::default(),
        publishes: BTreeMap::new(),
        clock: Clock::start(),
        expires: expires(&identity, 0),
        acked: 0,
        page: None,
        pull: None,
        append: None,
        taking: Taking::default(),
        leaving: None,
        gateway,
        transport,
        mailbox,
        identity,
        device,
        guards,
    }
}

fn limits(settings: &crate::settings::Settings) -> Limits {
    Limits {
        max_frame_bytes: MAX_FRAME_BYTES as i64,
        max_content_bytes: MAX_CONTENT_BYTES as i64,
        max_in_flight: MAX_IN_FLIGHT as i64,
        max_signal_bytes: MAX_SIGNAL_BYTES as i64,
        max_subscriptions: i64::try_from(settings.max_subscriptions).unwrap_or(i64::MAX),
        messages_per_second: i64::from(settings.messages_per_second),
        message_burst: i64::from(settings.message_burst),
    }
}

/// To verify a token takes 0.1 ms and more; an honest client sends one in minutes.
const REFRESHES_PER_SECOND: u32 = 1;
/// How many tokens may come at once.
const REFRESH_BURST: u32 = 10;
/// Whoever browses through channels; each costs a look at the store.
const SUBSCRIBES_PER_SECOND: u32 = 50;
/// All that a session may have, twice: whoever comes back subscribes to everything at once.
const SUBSCRIBE_BURST: u32 = 400;
