//! The set-up of a raw QUIC connection: it is a session's once the client has opened its control stream.

use std::time::Duration;

use quinn::Connection;
use tidegate_proto::v1::CloseCode;
use tokio::time::timeout;

use super::extra::refuse_all;
use super::streams::{Dialect, Streams};
use super::{Counters, Permit, error_code};
use crate::transport::{Info, Kind};

/// Waits for the first bidirectional stream. Keep-alives do not prolong the wait.
pub(super) async fn establish(
    connection: Connection,
    limit: Duration,
    permit: Permit,
    counters: &Counters,
) -> Option<Streams> {
    let Ok(accepted) = timeout(limit, connection.accept_bi()).await else {
        counters.no_session.inc();
        connection.close(error_code(CloseCode::Unauthenticated), b"no control stream in time");
        return None;
    };
    // The client has gone before it said anything.
    let (send, recv) = accepted.ok()?;
    let remote = connection.remote_address();
    let info = Info {
        kind: Kind::Quic,
        remote: (remote.ip().to_canonical(), remote.port()).into(),
        token: None,
        identity: None,
    };
    let rest = refuse_all(connection.clone());
    Some(Streams::new(info, connection, (send, recv), Dialect::default(), Box::pin(rest), permit))
}
