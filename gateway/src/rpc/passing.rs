//! Messages that are stored nowhere, handed to whichever sessions of a user are on this gateway.

use tidegate_pipeline::body::Body;
use tidegate_pipeline::rpc::push::Sessions;
use tidegate_pipeline::rpc::status;
use tidegate_pipeline::rpc::v1::{SendMsgRequest, SendMsgToUserRequest, TakenBySessions};
use tidegate_pipeline::rpc::volatile::Volatile;
use tidegate_proto::id::UserId;
use tonic::Status;

use crate::gateway::{Gateway, now_ms};
use crate::hub::Hub;

impl Sessions for Gateway {
    fn pass(&self, user: &UserId, body: &Body) -> u32 {
        self.hub().pass(user, body)
    }
}

/// `MsgService.SendMessage`: for the recipient.
pub(super) fn send_message(hub: &Hub, request: SendMsgRequest) -> Result<TakenBySessions, Status> {
    let volatile = Volatile::forwarded(request.msg.unwrap_or_default(), now_ms());
    let volatile = volatile.map_err(|refusal| status::refused(&refusal))?;
    Ok(TakenBySessions { sessions: hub.pass(&volatile.recipient, &volatile.body) })
}

/// `MsgService.SendMsgToUser`: for whoever is named.
pub(super) fn send_msg_to_user(hub: &Hub, request: SendMsgToUserRequest) -> Result<TakenBySessions, Status> {
    let user = UserId::new(&request.user).map_err(|refusal| status::refused(&refusal))?;
    let volatile = Volatile::forwarded(request.msg.unwrap_or_default(), now_ms());
    let volatile = volatile.map_err(|refusal| status::refused(&refusal))?;
    Ok(TakenBySessions { sessions: hub.pass(&user, &volatile.body) })
}
