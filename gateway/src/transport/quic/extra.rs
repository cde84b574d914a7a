//! Streams nobody asked for: refused unread, up to a budget. The same loop learns that the connection has ended.

use quinn::{Connection, RecvStream, SendStream, VarInt};
use tidegate_proto::v1::CloseCode;

use super::error_code;
use super::streams::Ended;

/// How many streams beyond the needed ones a client may open in the life of a connection. Opening and resetting costs
/// it little and us some microseconds each; an honest client opens none.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    /// A full budget.
    pub(crate) fn new() -> Self {
        Self(MAX_EXTRA_STREAMS)
    }

    /// Takes one stream; false when the budget is spent.
    pub(crate) fn spend(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Refuses a bidirectional stream without reading it.
pub(crate) fn refuse(code: VarInt, mut send: SendStream, mut recv: RecvStream) {
    // Both fail only when the client was faster.
    let _ = send.reset(code);
    let _ = recv.stop(code);
}

/// Refuses all further streams of a raw QUIC connection until it ends.
pub(super) async fn refuse_all(connection: Connection) -> Ended {
    let code = error_code(CloseCode::ProtocolError);
    let mut budget = Budget::new();
    loop {
        let accepted = tokio::select! {
            stream = connection.accept_bi() => stream.map(|(send, recv)| refuse(code, send, recv)),
            stream = connection.accept_uni() => stream.map(|mut recv| {
                let _ = recv.stop(code);
            }),
        };
        match accepted {
            Err(error) => return Ended::lost(&error),
            Ok(()) if budget.spend() => {}
            Ok(()) => return Ended::Violation("too many streams were opened"),
        }
    }
}

const MAX_EXTRA_STREAMS: u32 = 64;
