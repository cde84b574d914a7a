//! The end of a session on its request stream: the capsule that closes it, read and written. Pure; RFC 9297 and
//! draft-ietf-webtrans-http3, section 5.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::h3::{DATA_FRAME, put_frame, put_varint, take_varint};

/// A DATA frame with the capsule that closes the session. `reason` has at most 1,024 bytes.
pub(super) fn close(code: u32, reason: &str) -> Bytes {
    let mut capsule = BytesMut::new();
    put_varint(&mut capsule, CLOSE_SESSION);
    put_varint(&mut capsule, 4 + reason.len() as u64);
    capsule.put_u32(code);
    capsule.put_slice(reason.as_bytes());
    let mut out = BytesMut::new();
    put_frame(&mut out, DATA_FRAME, &capsule);
    out.freeze()
}

/// Looks for the client's capsule on the request stream, whatever else comes there and in whatever pieces.
#[derive(Debug, Default)]
pub(super) struct CloseReader {
    frames: Records,
    capsules: Records,
    code: Vec<u8>,
}

impl CloseReader {
    /// Takes the next bytes of the stream; the code, once it is there.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Option<u32> {
        while let Some((frame, mut payload)) = self.frames.next(&mut bytes) {
            if frame != DATA_FRAME {
                continue;
            }
            while let Some((capsule, value)) = self.capsules.next(&mut payload) {
                if capsule != CLOSE_SESSION {
                    continue;
                }
                let missing = CODE_BYTES - self.code.len();
                self.code.extend_from_slice(&value[..missing.min(value.len())]);
                if let Ok(code) = <[u8; CODE_BYTES]>::try_from(&*self.code) {
                    return Some(u32::from_be_bytes(code));
                }
            }
        }
        None
    }
}

/// Splits a stream of (type, length, value) that comes in pieces.
#[derive(Debug, Default)]
struct Records {
    /// The beginning of a record whose type and length are not there yet.
    head: Vec<u8>,
    kind: u64,
    /// Bytes of the value that are yet to come.
    left: u64,
}

impl Records {
    /// The next piece of a value with its type; `None` when `bytes` is used up.
    fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
        while self.left == 0 {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            self.head.push(*byte);
            if let Some((kind, length)) = head(&self.head) {
                (self.kind, self.left) = (kind, length);
                self.head.clear();
            }
        }
        if bytes.is_empty() {
            return None;
        }
        let length = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (piece, rest) = bytes.split_at(length);
        *bytes = rest;
        self.left -= length as u64;
        Some((self.kind, piece))
    }
}

fn head(bytes: &[u8]) -> Option<(u64, u64)> {
    let (kind, kind_bytes) = take_varint(bytes)?;
    let (length, _) = take_varint(&bytes[kind_bytes..])?;
    Some((kind, length))
}

/// CLOSE_WEBTRANSPORT_SESSION.
const CLOSE_SESSION: u64 = 0x2843;
/// The code is before the reason.
const CODE_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_code_is_found_behind_other_things_at_any_cut() {
        let mut wire = BytesMut::new();
        put_frame(&mut wire, 0x21, b"reserved");
        put_frame(&mut wire, DATA_FRAME, b"");
        put_frame(&mut wire, DATA_FRAME, &[0x17, 0x03, 1, 2]);
        put_frame(&mut wire, DATA_FRAME, &[3]);
        wire.extend_from_slice(&close(4103, "CLOSE_CODE_KICKED"));
        for cut in 1..wire.len() {
            let mut reader = CloseReader::default();
            let found: Vec<u32> = wire.chunks(cut).filter_map(|piece| reader.push(piece)).take(1).collect();
            assert_eq!(found, [4103], "cut {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
            let mut reader = CloseReader::default();
            for piece in bytes.chunks(cut) {
                reader.push(piece);
                prop_assert!(reader.code.len() <= CODE_BYTES && reader.frames.head.len() < 16 && reader.capsules.head.len() < 16);
            }
        }
    }
}
