//! What is said in HTTP/3: settings, the request for a session and its answer. Pure; RFC 9114, RFC 9220 and
//! draft-ietf-webtrans-http3.

use bytes::{BufMut, Bytes, BytesMut};
use quinn::VarInt;
use wtransport_proto::frame::Frame;
use wtransport_proto::headers::Headers;

use super::qpack;

/// What a request for a session says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Of `?token=`, decoded.
    pub(super) token: Option<String>,
    /// The page that asks; native clients have none.
    pub(super) origin: Option<String>,
}

/// The beginning of our control stream, with the settings.
pub(super) fn settings() -> Bytes {
    let mut payload = BytesMut::new();
    for (id, value) in SETTINGS {
        put_varint(&mut payload, *id);
        put_varint(&mut payload, *value);
    }
    let mut out = BytesMut::new();
    put_varint(&mut out, CONTROL_STREAM);
    put_frame(&mut out, SETTINGS_FRAME, &payload);
    out.freeze()
}

/// Whether the payload of a SETTINGS frame is one: pairs, none of HTTP/2's.
pub(super) fn are_settings(mut payload: &[u8]) -> bool {
    while !payload.is_empty() {
        let Some((id, id_bytes)) = take_varint(payload) else { return false };
        let Some((_, value_bytes)) = take_varint(&payload[id_bytes..]) else { return false };
        if (2..=5).contains(&id) {
            return false;
        }
        payload = &payload[id_bytes + value_bytes..];
    }
    true
}

/// The request in a HEADERS frame, or the status it is refused with. `None`: it was too large to be read.
pub(super) fn request(fields: Option<&[u8]>) -> Result<Request, u16> {
    let fields = fields.ok_or(FIELDS_TOO_LARGE)?;
    if !qpack::is_bounded(fields) {
        return Err(BAD_REQUEST);
    }
    let headers = Headers::with_frame(&Frame::new_headers(fields.into())).map_err(|_| BAD_REQUEST)?;
    let field = |name: &str| headers.get(name).ok_or(BAD_REQUEST);
    if field(":method")? != "CONNECT" {
        return Err(METHOD_NOT_ALLOWED);
    }
    if field(":protocol")? != "webtransport"
        || field(":scheme")? != "https"
        || field(":authority")?.is_empty()
    {
        return Err(BAD_REQUEST);
    }
    let path = field(":path")?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if path != PATH {
        return Err(NOT_FOUND);
    }
    let token = form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "token" && !value.is_empty())
        .map(|(_, value)| value.into_owned());
    Ok(Request { token, origin: headers.get("origin").map(str::to_owned) })
}

/// An answer without a body.
pub(super) fn response(status: u16) -> Bytes {
    let headers: Headers = [(":status", status)].into_iter().collect();
    let mut out = BytesMut::new();
    put_frame(&mut out, HEADERS_FRAME, headers.generate_frame().payload());
    out.freeze()
}

/// The beginning of each of our unidirectional streams of a session.
pub(super) fn uni_header(session: u64) -> Bytes {
    let mut out = BytesMut::new();
    put_varint(&mut out, WEBTRANSPORT_UNI_STREAM);
    put_varint(&mut out, session);
    out.freeze()
}

/// The beginning of each datagram of a session (RFC 9297, section 2.1).
pub(super) fn datagram_header(session: u64) -> Bytes {
    let mut out = BytesMut::new();
    put_varint(&mut out, session / 4);
    out.freeze()
}

/// Appends a frame with its type and length.
pub(super) fn put_frame(out: &mut BytesMut, kind: u64, payload: &[u8]) {
    put_varint(out, kind);
    put_varint(out, payload.len() as u64);
    out.put_slice(payload);
}

/// Appends an integer of RFC 9000, section 16. `value` is below 2^62.
pub(super) fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(0x4000 | value as u16),
        0x4000..0x4000_0000 => out.put_u32(0x8000_0000 | value as u32),
        _ => out.put_u64(0xc000_0000_0000_0000 | value),
    }
}

/// The integer at the front of `bytes` and how many it takes; `None` when more are needed.
pub(super) fn take_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = varint_bytes(*bytes.first()?);
    let (first, rest) = bytes.get(..length)?.split_first()?;
    let value = rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte));
    Some((value, length))
}

/// How many bytes an integer takes that begins with `first`.
pub(super) fn varint_bytes(first: u8) -> usize {
    1 << (first >> 6)
}

/// Where sessions are.
const PATH: &str = "/wt";

pub(super) const OK: u16 = 200;
const BAD_REQUEST: u16 = 400;
pub(super) const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
const METHOD_NOT_ALLOWED: u16 = 405;
const FIELDS_TOO_LARGE: u16 = 431;

pub(super) const CONTROL_STREAM: u64 = 0x00;
pub(super) const PUSH_STREAM: u64 = 0x01;
pub(super) const QPACK_ENCODER_STREAM: u64 = 0x02;
pub(super) const QPACK_DECODER_STREAM: u64 = 0x03;
pub(super) const WEBTRANSPORT_UNI_STREAM: u64 = 0x54;

pub(super) const DATA_FRAME: u64 = 0x00;
pub(super) const HEADERS_FRAME: u64 = 0x01;
pub(super) const SETTINGS_FRAME: u64 = 0x04;
/// A bidirectional stream that begins with this is a session's.
pub(super) const WEBTRANSPORT_FRAME: u64 = 0x41;
/// DATA, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID: none may begin a request.
pub(super) const NEVER_FIRST: [u64; 6] = [DATA_FRAME, 0x03, SETTINGS_FRAME, 0x05, 0x07, 0x0d];

pub(super) const NO_ERROR: VarInt = VarInt::from_u32(0x0100);
pub(super) const STREAM_CREATION_ERROR: VarInt = VarInt::from_u32(0x0103);
pub(super) const CLOSED_CRITICAL_STREAM: VarInt = VarInt::from_u32(0x0104);
pub(super) const FRAME_UNEXPECTED: VarInt = VarInt::from_u32(0x0105);
pub(super) const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x0107);
pub(super) const ID_ERROR: VarInt = VarInt::from_u32(0x0108);
pub(super) const SETTINGS_ERROR: VarInt = VarInt::from_u32(0x0109);
pub(super) const MISSING_SETTINGS: VarInt = VarInt::from_u32(0x010a);
pub(super) const REQUEST_REJECTED: VarInt = VarInt::from_u32(0x010b);
pub(super) const MESSAGE_ERROR: VarInt = VarInt::from_u32(0x010e);
/// WEBTRANSPORT_BUFFERED_STREAM_REJECTED.
pub(super) const STREAM_REJECTED: VarInt = VarInt::from_u32(0x3994_bd84);

/// The largest HEADERS frame: a token of 8 KiB, and the rest of a browser's request.
pub(super) const MAX_FIELDS_BYTES: usize = 16 * 1024;
/// The largest other frame that is read.
pub(super) const MAX_SMALL_FRAME_BYTES: usize = 4 * 1024;

const SETTINGS: &[(u64, u64)] = &[
    // MAX_FIELD_SECTION_SIZE. The QPACK table has its default size, 0.
    (0x06, MAX_FIELDS_BYTES as u64),
    // ENABLE_CONNECT_PROTOCOL, H3_DATAGRAM.
    (0x08, 1),
    (0x33, 1),
    // WebTransport as Chromium and Firefox look for it (draft-02), and as Safari does (draft-07): one session.
    (0x2b60_3742, 1),
    (0xc671_706a, 1),
];
