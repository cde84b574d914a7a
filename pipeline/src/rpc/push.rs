//! PushService: backends hand over what is for the moment, to whoever is online.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_proto::id::UserId;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use tracing::warn;

use super::gateways::Gateways;
use super::security::Security;
use super::server::MAX_REQUEST_BYTES;
use super::status;
use super::v1::push_service_server::{PushService, PushServiceServer};
use super::v1::{PushSingleMsgResponse, SendMsgRequest, SendMsgToUserRequest};
use super::volatile::Volatile;
use crate::body::Body;
use crate::presence::Presence;
use crate::submit::now_ms;

/// The sessions of this process's gateway. Not an enum, since the gateway's crate stands above this one.
pub trait Sessions: fmt::Debug + Send + Sync {
    /// Hands a message that is stored nowhere to the user's sessions; how many took it. Does not wait.
    fn pass(&self, user: &UserId, body: &Body) -> u32;
}

/// This process's gateway: its id in presence, and its sessions.
#[derive(Debug, Clone)]
pub struct Own {
    /// As in the lease.
    pub gateway: Arc<str>,
    /// Reached without a call.
    pub sessions: Arc<dyn Sessions>,
}

/// Finds a user's gateways by presence.
#[derive(Debug)]
pub struct Push {
    presence: Presence,
    gateways: Gateways,
    own: Option<Own>,
}

/// The service, for [`super::Server::with`]; `own` is this process's gateway, if it has one.
pub fn service(presence: Presence, security: Security, own: Option<Own>) -> PushServiceServer<Push> {
    let gateways = Gateways::new(presence.clone(), security);
    PushServiceServer::new(Push { presence, gateways, own }).max_decoding_message_size(MAX_REQUEST_BYTES)
}

#[tonic::async_trait]
impl PushService for Push {
    async fn push_single_msg(
        &self,
        request: Request<SendMsgRequest>,
    ) -> Result<Response<PushSingleMsgResponse>, Status> {
        let msg = request.into_inner().msg.unwrap_or_default();
        let volatile = Volatile::new(msg, now_ms()).map_err(|refusal| status::refused(&refusal))?;
        // Nobody gets it twice: when it is not known who is where, nobody gets it.
        let others = self.others(&volatile.recipient).await?;
        let own = self.own.as_ref();
        let here = own.map_or(0, |own| own.sessions.pass(&volatile.recipient, &volatile.body));
        let answers = join_all(others.iter().map(|gateway| self.ask(gateway, &volatile))).await;
        let there = answers.iter().flatten().sum::<u32>();
        let unreachable = answers.iter().filter(|answer| answer.is_none()).count();
        Ok(Response::new(PushSingleMsgResponse {
            sessions: here + there,
            unreachable: u32::try_from(unreachable).unwrap_or(u32::MAX),
        }))
    }
}

impl Push {
    /// The other gateways that hold sessions of the user.
    async fn others(&self, user: &UserId) -> Result<BTreeSet<Arc<str>>, Status> {
        let found = self.presence.lookup(std::slice::from_ref(user)).await;
        let routes = found.map_err(|error| {
            warn!(error = &error as &dyn std::error::Error, "gRPC: routes are not known");
            status::unavailable("presence does not answer; nobody got the message")
        })?;
        let own = self.own.as_ref().map(|own| &*own.gateway);
        let gateways = routes.into_iter().flatten().map(|(_, route)| route.gateway);
        Ok(gateways.filter(|gateway| Some(&**gateway) != own).collect())
    }

    /// How many sessions of that gateway took it; `None` if it did not answer.
    async fn ask(&self, gateway: &str, volatile: &Volatile) -> Option<u32> {
        let user = volatile.recipient.as_str().to_owned();
        let request = SendMsgToUserRequest { user, msg: Some(volatile.msg()) };
        let asked = timeout(ASK_TIMEOUT, async {
            let mut client = self.gateways.find(gateway).await.ok()??;
            let failed = |status: &Status| warn!(gateway, %status, "gRPC: a gateway did not take a message");
            client.send_msg_to_user(request).await.inspect_err(failed).ok()
        });
        Some(asked.await.ok()??.into_inner().sessions)
    }
}

/// How long a gateway is waited for.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
