//! AdminService: what operators see of the gateways, and whom they send away.

use std::sync::Arc;

use tidegate_pipeline::presence::control::Control;
use tidegate_pipeline::presence::{Route, Routes, Unreachable};
use tidegate_pipeline::rpc::registry;
use tidegate_pipeline::rpc::server::MAX_REQUEST_BYTES;
use tidegate_pipeline::rpc::status;
use tidegate_pipeline::rpc::v1::admin_service_server::{AdminService, AdminServiceServer};
use tidegate_pipeline::rpc::v1::{
    DrainRequest, DrainResponse, GetStatusRequest, GetStatusResponse, KickRequest, KickResponse,
    ListSessionsRequest, ListSessionsResponse, SessionInfo, kick_request,
};
use tidegate_proto::id::{DeviceId, UserId};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::gateway::registrations::Row;
use crate::gateway::{Gateway, Shared, registrar};

/// A gateway as operators reach it.
#[derive(Debug)]
pub struct Admin {
    gateway: Arc<Shared>,
    drain: CancellationToken,
}

/// The service, for the pipeline's `rpc::Server::with`. Cancels `drain` when the process is to stop as by SIGTERM.
pub fn service(gateway: &Gateway, drain: CancellationToken) -> AdminServiceServer<Admin> {
    let admin = Admin { gateway: gateway.shared().clone(), drain };
    AdminServiceServer::new(admin).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(GetStatusResponse {
            gateway: Some(registry::instance(&registrar::lease(&self.gateway))),
            sessions: self.live(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.gateway.parts.epoch.to_string(),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let ListSessionsRequest { user, limit, page_token } = request.into_inner();
        if user.is_empty() {
            return self.page(limit, &page_token).map(Response::new);
        }
        let user = parse(&user)?;
        let mut routes = self.routes(&user).await.map_err(|error| unknown(&error))?;
        routes.sort_by_key(|(_, route)| route.since);
        let sessions = routes.into_iter().map(|(device, route)| session_info(&(user.clone(), device, route)));
        Ok(Response::new(ListSessionsResponse {
            sessions: sessions.collect(),
            next_page_token: String::new(),
        }))
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        let sessions = match request.into_inner().who {
            Some(kick_request::Who::User(user)) => self.kick_user(&parse(&user)?).await?,
            Some(kick_request::Who::SessionId(id)) => self.kick_session(&SessionId::parse(&id)?).await?,
            None => return Err(status::invalid("one of user and session_id must be set")),
        };
        Ok(Response::new(KickResponse { sessions }))
    }

    async fn drain(&self, _: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        info!("an operator stops the process");
        let sessions = self.live();
        self.drain.cancel();
        Ok(Response::new(DrainResponse { sessions }))
    }
}

impl Admin {
    fn live(&self) -> i64 {
        i64::try_from(self.gateway.hub.live()).unwrap_or(i64::MAX)
    }

    fn page(&self, limit: u32, token: &str) -> Result<ListSessionsResponse, Status> {
        let limit = match limit {
            0 => DEFAULT_SESSIONS,
            1..=MAX_SESSIONS => limit as usize,
            _ => return Err(status::invalid(format!("limit must be 0 to {MAX_SESSIONS}"))),
        };
        let no_token = |_| status::invalid("page_token must be the next_page_token of a page, or empty");
        let after = if token.is_empty() { 0 } else { token.parse().map_err(no_token)? };
        let rows = self.gateway.registrations.rows_after(after, limit);
        let last = rows.last().filter(|_| rows.len() == limit).map(|(_, _, route)| route.session.to_string());
        Ok(ListSessionsResponse {
            sessions: rows.iter().map(session_info).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    async fn routes(&self, user: &UserId) -> Result<Routes, Unreachable> {
        let found = self.gateway.parts.presence.lookup(std::slice::from_ref(user)).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Those here whatever presence knows of them, those elsewhere by their gateways' control channels.
    async fn kick_user(&self, user: &UserId) -> Result<u32, Status> {
        let here = self.gateway.hub.notify_user(user, &registrar::kicked());
        let mut told = u32::try_from(here).unwrap_or(u32::MAX);
        let routes = self.routes(user).await.map_err(|error| unknown(&error))?;
        for (_, route) in routes.iter().filter(|(_, route)| route.gateway != self.gateway.parts.id) {
            self.tell(&route.gateway, route.incarnation, route.session).await?;
            told += 1;
        }
        info!(%user, sessions = told, "an operator kicked a user");
        Ok(told)
    }

    async fn kick_session(&self, id: &SessionId<'_>) -> Result<u32, Status> {
        let SessionId { gateway, incarnation, session } = *id;
        info!(gateway, session, "an operator kicks a session");
        if gateway == &*self.gateway.parts.id {
            let is_here = incarnation == self.gateway.incarnation()
                && self.gateway.hub.notify(session, registrar::kicked());
            return Ok(u32::from(is_here));
        }
        let leases = self.gateway.parts.presence.leases().await.map_err(|error| unknown(&error))?;
        if !leases.iter().any(|lease| &*lease.id == gateway && lease.incarnation == incarnation) {
            return Ok(0);
        }
        self.tell(gateway, incarnation, session).await?;
        Ok(1)
    }

    async fn tell(&self, gateway: &str, incarnation: u64, session: u64) -> Result<(), Status> {
        let word = Control::Kicked { incarnation, session };
        self.gateway.parts.presence.tell(gateway, word).await.map_err(|error| unknown(&error))
    }
}

/// The `session_id` of a Welcome: `{gateway}-{incarnation in hex}-{session}`.
struct SessionId<'a> {
    gateway: &'a str,
    incarnation: u64,
    session: u64,
}

impl<'a> SessionId<'a> {
    fn parse(text: &'a str) -> Result<Self, Status> {
        let parse = || {
            let (rest, session) = text.rsplit_once('-')?;
            let (gateway, incarnation) = rest.rsplit_once('-')?;
            let incarnation = u64::from_str_radix(incarnation, 16).ok()?;
            Some(Self { gateway, incarnation, session: session.parse().ok()? })
        };
        parse().ok_or_else(|| status::invalid("session_id must be one of a Welcome or of ListSessions"))
    }
}

fn parse(user: &str) -> Result<UserId, Status> {
    UserId::new(user).map_err(|refusal| status::refused(&refusal))
}

fn unknown(error: &Unreachable) -> Status {
    warn!(error = error as &dyn std::error::Error, "gRPC: other gateways are not known");
    status::unavailable("presence does not answer; what other gateways hold is not known")
}

fn session_info((user, device, route): &Row) -> SessionInfo {
    let (user, device): (&UserId, &DeviceId) = (user, device);
    let Route { gateway, incarnation, session, attempt, platform, since } = route;
    SessionInfo {
        session_id: format!("{gateway}-{incarnation:x}-{session}"),
        user: user.as_str().to_owned(),
        device_id: device.as_str().to_owned(),
        gateway: gateway.to_string(),
        attempt: *attempt,
        platform: platform.to_string(),
        since: *since,
    }
}

/// The most sessions of a page.
const MAX_SESSIONS: u32 = 500;
/// Those of a page for which no limit is given.
const DEFAULT_SESSIONS: usize = 100;
