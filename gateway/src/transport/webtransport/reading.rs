//! Reads the beginning of one stream of the client, as far as needed to tell what it is.

use quinn::{ReadExactError, RecvStream, SendStream, VarInt};

use super::arrivals::Refused;
use super::h3;

/// What a stream turned out to be.
#[derive(Debug)]
pub(super) enum Arrived {
    /// HTTP/3's control stream, its settings read.
    Settings(RecvStream),
    /// One of QPACK's two streams, with its type.
    Qpack(u64, RecvStream),
    /// A request.
    Request(RequestStream),
    /// A bidirectional stream of a session.
    Session(u64, SendStream, RecvStream),
    /// Nothing that matters; it is refused already, or ended before it said what it is.
    Ignored,
}

/// A request for something, the fields not yet decoded.
#[derive(Debug)]
pub(super) struct RequestStream {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    /// `None`: too large to be read.
    pub(super) fields: Option<Vec<u8>>,
}

/// The number of a stream, which is the number of the session that is asked for on it.
pub(super) fn stream_id(stream: &SendStream) -> u64 {
    VarInt::from(stream.id()).into_inner()
}

/// Reads a unidirectional stream. QPACK's streams carry nothing without a dynamic table, and the control stream nothing
/// we need after the settings: they are kept and not read further, so flow control bounds them.
pub(super) async fn read_uni(mut recv: RecvStream) -> Result<Arrived, Refused> {
    let Some(kind) = varint(&mut recv).await else { return Ok(Arrived::Ignored) };
    match kind {
        h3::CONTROL_STREAM => read_settings(recv).await,
        h3::QPACK_ENCODER_STREAM | h3::QPACK_DECODER_STREAM => Ok(Arrived::Qpack(kind, recv)),
        h3::PUSH_STREAM => Err(Refused::http3(h3::STREAM_CREATION_ERROR, "a client pushes nothing")),
        other => {
            let of_session = other == h3::WEBTRANSPORT_UNI_STREAM;
            // It fails only when the client was faster.
            let _ = recv.stop(if of_session { h3::STREAM_REJECTED } else { h3::STREAM_CREATION_ERROR });
            Ok(Arrived::Ignored)
        }
    }
}

/// Reads a bidirectional stream: the request with its fields, or the number of the session.
pub(super) async fn read_bi(send: SendStream, mut recv: RecvStream) -> Result<Arrived, Refused> {
    for _ in 0..MAX_RESERVED_FRAMES {
        let Some(kind) = varint(&mut recv).await else { return Ok(Arrived::Ignored) };
        let Some(value) = varint(&mut recv).await else { return Ok(Arrived::Ignored) };
        match kind {
            h3::WEBTRANSPORT_FRAME if value.is_multiple_of(4) => {
                return Ok(Arrived::Session(value, send, recv));
            }
            h3::WEBTRANSPORT_FRAME => {
                return Err(Refused::http3(h3::ID_ERROR, "no session can have this number"));
            }
            h3::HEADERS_FRAME => {
                let fields = match payload(&mut recv, value, h3::MAX_FIELDS_BYTES).await {
                    Payload::Whole(fields) => Some(fields),
                    Payload::TooLarge => None,
                    Payload::Ended => return Ok(Arrived::Ignored),
                };
                return Ok(Arrived::Request(RequestStream { send, recv, fields }));
            }
            kind if h3::NEVER_FIRST.contains(&kind) => {
                return Err(Refused::http3(h3::FRAME_UNEXPECTED, "a request begins with HEADERS"));
            }
            _ => match payload(&mut recv, value, h3::MAX_SMALL_FRAME_BYTES).await {
                Payload::Whole(_) => {}
                Payload::TooLarge => break,
                Payload::Ended => return Ok(Arrived::Ignored),
            },
        }
    }
    Err(Refused::http3(h3::EXCESSIVE_LOAD, "too much before a request"))
}

async fn read_settings(mut recv: RecvStream) -> Result<Arrived, Refused> {
    let closed = || Refused::http3(h3::CLOSED_CRITICAL_STREAM, "the control stream has ended");
    if varint(&mut recv).await.ok_or_else(closed)? != h3::SETTINGS_FRAME {
        return Err(Refused::http3(h3::MISSING_SETTINGS, "the control stream begins with SETTINGS"));
    }
    let length = varint(&mut recv).await.ok_or_else(closed)?;
    match payload(&mut recv, length, h3::MAX_SMALL_FRAME_BYTES).await {
        Payload::Whole(payload) if h3::are_settings(&payload) => Ok(Arrived::Settings(recv)),
        Payload::Whole(_) => Err(Refused::http3(h3::SETTINGS_ERROR, "SETTINGS that are none")),
        Payload::TooLarge => Err(Refused::http3(h3::EXCESSIVE_LOAD, "SETTINGS are too large")),
        Payload::Ended => Err(closed()),
    }
}

enum Payload {
    Whole(Vec<u8>),
    TooLarge,
    Ended,
}

/// Reads a frame's payload. Memory is taken as the bytes come, not as they are announced.
async fn payload(recv: &mut RecvStream, length: u64, max: usize) -> Payload {
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= max) else {
        return Payload::TooLarge;
    };
    let mut payload = Vec::new();
    while payload.len() < length {
        match recv.read_chunk(length - payload.len(), true).await {
            Ok(Some(chunk)) => payload.extend_from_slice(&chunk.bytes),
            Ok(None) | Err(_) => return Payload::Ended,
        }
    }
    Payload::Whole(payload)
}

/// The next integer; `None` when the stream ends before it does.
async fn varint(recv: &mut RecvStream) -> Option<u64> {
    let mut bytes = [0; 8];
    exact(recv, &mut bytes[..1]).await.ok()?;
    let length = h3::varint_bytes(bytes[0]);
    exact(recv, &mut bytes[1..length]).await.ok()?;
    h3::take_varint(&bytes[..length]).map(|(value, _)| value)
}

async fn exact(recv: &mut RecvStream, bytes: &mut [u8]) -> Result<(), ReadExactError> {
    if bytes.is_empty() { Ok(()) } else { recv.read_exact(bytes).await }
}

/// Frames of reserved types before a request; an honest client sends one.
const MAX_RESERVED_FRAMES: usize = 8;
