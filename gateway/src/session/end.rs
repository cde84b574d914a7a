//! How a session ends, and the last frame that says so: some stacks lose the close code (docs/PROTOCOL.md "Errors and
//! closing").

use std::fmt;

use tidegate_proto::Refusal;
use tidegate_proto::v1::{CloseCode, Code, Error, GoAway, ServerFrame, server_frame};

use crate::gateway::drain::Alternatives;
use crate::hub::mailbox::Notice;
use crate::transport::Bad;

/// How a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The connection is gone already.
    Gone,
    /// The gateway closes it, with a last frame.
    Close { code: CloseCode, last: Box<ServerFrame> },
}

impl End {
    /// Closed for something the client did or lacks.
    pub(super) fn refused(close: CloseCode, refusal: &Refusal) -> Self {
        let error = Error {
            code: refusal.code as i32,
            message: refusal.message.clone(),
            close: close as i32,
            retry_after_ms: refusal.retry_after_ms,
            id: 0,
        };
        Self::Close { code: close, last: Box::new(frame(server_frame::Kind::Error(error))) }
    }

    pub(super) fn protocol_error(message: impl Into<String>) -> Self {
        Self::refused(CloseCode::ProtocolError, &Refusal::new(Code::ProtocolError, message))
    }

    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::refused(CloseCode::Unauthenticated, &Refusal::new(Code::Unauthenticated, message))
    }

    pub(super) fn replaced() -> Self {
        Self::go_away(CloseCode::Replaced, "another connection of this device is newer", 0)
    }

    pub(super) fn bad(bad: &Bad, close: CloseCode) -> Self {
        Self::refused(close, &Refusal::new(bad.code, bad.message.clone()))
    }

    /// As the notice says; whoever goes because the gateway stops is told of others.
    pub(super) fn notice(notice: &Notice, alternatives: &Alternatives) -> Self {
        let go_away = GoAway {
            reason: notice.code as i32,
            retry_after_ms: notice.retry_after_ms,
            alternatives: if notice.code == CloseCode::Draining { alternatives.draw() } else { Vec::new() },
            message: notice.message.to_owned(),
        };
        Self::Close { code: notice.code, last: Box::new(frame(server_frame::Kind::GoAway(go_away))) }
    }

    pub(super) fn go_away(code: CloseCode, message: &'static str, retry_after_ms: i64) -> Self {
        Self::notice(&Notice { code, message, retry_after_ms }, &Alternatives::default())
    }

    /// Its name as a metric's label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Gone => "GONE",
            Self::Close { code, .. } => code.name(),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the connection is gone"),
            Self::Close { code, .. } => f.write_str(code.name()),
        }
    }
}

/// A frame that answers nothing.
pub(super) fn frame(kind: server_frame::Kind) -> ServerFrame {
    ServerFrame { id: 0, kind: Some(kind) }
}

/// A refusal that is not a receipt, as the answer to frame `id`.
pub(super) fn error_frame(id: u32, refusal: Refusal) -> ServerFrame {
    let Refusal { code, message, retry_after_ms } = refusal;
    let error = Error { code: code as i32, message, id, retry_after_ms, close: 0 };
    ServerFrame { id, kind: Some(server_frame::Kind::Error(error)) }
}
