//! The frames of RFC 6455 as a server reads and writes them. Pure: bytes in, bytes out; it knows no socket and no mode.

/// Why the peer's bytes are not WebSocket: the connection fails with [`Fault::close_code`] (RFC 6455, section 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A rule of the framing is broken.
    #[error("WebSocket: {0}")]
    Protocol(&'static str),
    /// A text or a close reason is not UTF-8.
    #[error("WebSocket: a text that is not UTF-8")]
    Utf8,
    /// A message is longer than is accepted. Nothing was allocated for it.
    #[error("WebSocket: a message of {length} bytes, over the limit of {max}")]
    TooLarge {
        /// What was announced, with what came before of the same message, in bytes.
        length: u64,
        /// The limit, in bytes.
        max: usize,
    },
}

impl Fault {
    /// The WebSocket close code.
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Utf8 => 1007,
            Self::TooLarge { .. } => 1009,
        }
    }
}

/// What a frame is (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_bits(bits: u8) -> Result<Self, Fault> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(Fault::Protocol("a reserved opcode")),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// A client's frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    pub(super) header_bytes: usize,
    pub(super) payload_bytes: u64,
}

impl Header {
    /// The header at the front of `buf`; `None` while its length is not there. The mask counts only when `buf` holds
    /// `header_bytes`. Refuses as soon as the bytes that are there decide it.
    pub(super) fn parse(buf: &[u8]) -> Result<Option<Self>, Fault> {
        let Some(first) = buf.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Fault::Protocol("a reserved bit is set"));
        }
        let (fin, opcode) = (first & 0x80 != 0, Opcode::from_bits(first & 0x0f)?);
        if opcode.is_control() && !fin {
            return Err(Fault::Protocol("a fragmented control frame"));
        }
        let Some(second) = buf.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Fault::Protocol("an unmasked frame"));
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_BYTES {
            return Err(Fault::Protocol("a control frame over 125 bytes"));
        }
        let Some((payload_bytes, length_bytes)) = extended_length(short, &buf[2..])? else { return Ok(None) };
        let mask_at = 2 + length_bytes;
        // Without the mask the frame is not whole, but its length may already be too much.
        let mask = buf.get(mask_at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        Ok(Some(Self { fin, opcode, mask, header_bytes: mask_at + 4, payload_bytes }))
    }
}

/// The header of a server's unfragmented frame.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ServerHeader {
    bytes: [u8; 10],
    len: u8,
}

impl ServerHeader {
    pub(super) fn new(opcode: Opcode, payload_bytes: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = 0x80 | opcode.bits();
        let len = match payload_bytes {
            0..=125 => {
                bytes[1] = payload_bytes as u8;
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, len }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Takes the mask off (RFC 6455, section 5.3).
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// A close frame's code, `None` when it has no payload (RFC 6455, sections 5.5.1 and 7.4).
pub(super) fn close_code(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Fault::Protocol("a close frame of one byte")) };
    };
    std::str::from_utf8(reason).map_err(|_| Fault::Utf8)?;
    match u16::from_be_bytes(*code) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
        _ => Err(Fault::Protocol("a close code that may not be sent")),
    }
}

/// The length that `short` begins and how many further bytes it takes; `None` when they are not all there.
fn extended_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Fault> {
    let (length, bytes, least) = match short {
        126 => match rest.first_chunk() {
            Some(two) => (u64::from(u16::from_be_bytes(*two)), 2, 126),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(eight) => (u64::from_be_bytes(*eight), 8, 0x1_0000),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, 0),
    };
    if length < least {
        Err(Fault::Protocol("a length not in its shortest form"))
    } else {
        Ok(Some((length, bytes)))
    }
}

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub(super) const MAX_CONTROL_BYTES: usize = 125;
