//! WebTransport over HTTP/3, the server's side: as much of HTTP/3 as one session needs, on our own QUIC connection.
//!
//! The set-up reads the client's streams side by side, so that one which stays unfinished holds up nothing; once the
//! control stream is there the connection is a [`Streams`] like a raw QUIC one. Nothing here spawns.

mod arrivals;
mod capsule;
mod h3;
mod qpack;
mod reading;

use std::time::Duration;

use bytes::Bytes;
use quinn::{Connecting, Connection, ConnectionError, SendStream, WriteError};
use tidegate_proto::v1::CloseCode;
use tokio::time::timeout;

use self::arrivals::{Arrivals, Refused};
use self::reading::RequestStream;
use super::quic::{Counters, Dialect, OriginCheck, Permit, Streams, error_code};
use super::{Info, Kind};

/// A connection on which our settings are sent.
#[derive(Debug)]
pub(super) struct Opening {
    connection: Connection,
    /// HTTP/3's control stream; it must not end before the connection does.
    settings: SendStream,
}

/// Finishes the handshake, and sends the settings before that: a client needs them before it asks for a session.
pub(super) async fn handshake(connecting: Connecting) -> Result<Opening, ConnectionError> {
    let (connection, confirmed) = match connecting.into_0rtt() {
        Ok((connection, confirmed)) => (connection, Some(confirmed)),
        Err(connecting) => (connecting.await?, None),
    };
    let mut settings = connection.open_uni().await?;
    let sent = settings.write_all(&h3::settings()).await;
    if let Some(confirmed) = confirmed {
        confirmed.await;
    }
    match (sent, connection.close_reason()) {
        (Err(WriteError::ConnectionLost(error)), _) | (_, Some(error)) => Err(error),
        _ => Ok(Opening { connection, settings }),
    }
}

/// Waits for the session and its control stream. Keep-alives do not prolong the wait.
pub(super) async fn establish(
    opening: Opening,
    origin: &OriginCheck,
    limit: Duration,
    permit: Permit,
    counters: &Counters,
) -> Option<Streams> {
    let connection = opening.connection.clone();
    match timeout(limit, session(opening, origin, permit)).await {
        Ok(Ok(streams)) => return Some(streams),
        Ok(Err(refused)) => {
            counters.rejected.inc();
            tracing::debug!(%refused, "no WebTransport session");
            if let Refused::Http3 { code, what } = refused {
                connection.close(code, what.as_bytes());
            }
        }
        Err(_) => {
            counters.no_session.inc();
            connection.close(error_code(CloseCode::Unauthenticated), b"no session in time");
        }
    }
    None
}

async fn session(
    Opening { connection, settings }: Opening,
    origin: &OriginCheck,
    permit: Permit,
) -> Result<Streams, Refused> {
    let mut arrivals = Arrivals::new(connection.clone(), settings);
    let RequestStream { mut send, recv, fields } = arrivals.request().await?;
    let request = h3::request(fields.as_deref())
        .and_then(|request| if origin(request.origin.as_deref()) { Ok(request) } else { Err(h3::FORBIDDEN) });
    let request = match request {
        Ok(request) => request,
        Err(status) => {
            answer(&connection, &mut send, status).await?;
            return Err(Refused::Answered { status });
        }
    };
    send.write_all(&h3::response(h3::OK)).await?;
    let id = reading::stream_id(&send);
    let control = arrivals.control(id).await?;
    let remote = connection.remote_address();
    let info = Info {
        kind: Kind::WebTransport,
        remote: (remote.ip().to_canonical(), remote.port()).into(),
        token: request.token,
        identity: None,
    };
    let dialect = Dialect {
        uni_header: h3::uni_header(id),
        datagram_header: h3::datagram_header(id),
        request: Some(send),
        close_capsule: Some(close_capsule),
    };
    Ok(Streams::new(info, connection, control, dialect, Box::pin(arrivals.rest(recv)), permit))
}

/// Refuses a request. The client has some time to read that and to close by itself, and nothing of HTTP/3 is given up
/// before it has.
async fn answer(connection: &Connection, send: &mut SendStream, status: u16) -> Result<(), Refused> {
    send.write_all(&h3::response(status)).await?;
    // It fails only when the client has stopped the stream.
    let _ = send.finish();
    let _ = timeout(ANSWERED_TIMEOUT, connection.closed()).await;
    connection.close(h3::NO_ERROR, b"");
    Ok(())
}

fn close_capsule(code: CloseCode) -> Bytes {
    capsule::close(code as u32, code.as_str_name())
}

/// How long a client that was refused may keep its connection.
const ANSWERED_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
