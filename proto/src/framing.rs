//! Length-delimited framing: every frame on a byte stream is preceded by its length as a varint
//! (docs/PROTOCOL.md "Framing").

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

/// Why the bytes of a stream are not frames. Nothing after such an error can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A frame of no bytes; not even an empty Ping encodes to that.
    #[error("a frame of length 0")]
    Empty,
    /// The announced length is over the limit.
    #[error("a frame of {length} bytes, over the limit of {max}")]
    TooLarge {
        /// The announced length, in bytes.
        length: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The length takes more bytes than it needs, or more than a u32 has.
    #[error("a length that is not a canonical varint")]
    BadLength,
}

/// Splits the next whole frame off the front of `buf`, without its length; `None` when more bytes are needed.
///
/// The frame shares the memory of `buf`. `max` is the largest length accepted, in bytes; a larger one is refused as
/// soon as its length is there, so nothing is ever collected for it.
pub fn split_frame(buf: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FramingError> {
    let Some((length, prefix)) = peek_length(buf)? else { return Ok(None) };
    if length == 0 {
        return Err(FramingError::Empty);
    }
    if length > max as u64 {
        return Err(FramingError::TooLarge { length, max });
    }
    let length = length as usize;
    if buf.len() < prefix + length {
        return Ok(None);
    }
    buf.advance(prefix);
    Ok(Some(buf.split_to(length).freeze()))
}

/// Appends `frame` with its length to `out`.
pub fn put_frame(out: &mut BytesMut, frame: &impl Message) {
    let length = frame.encoded_len();
    out.reserve(length + MAX_LENGTH_BYTES);
    put_varint(out, length as u64);
    frame.encode_raw(out);
}

/// Appends `value` as a protobuf varint.
pub fn put_varint(out: &mut BytesMut, value: u64) {
    prost::encoding::encode_varint(value, out);
}

/// The length at the front of `buf` and how many bytes it takes.
fn peek_length(buf: &[u8]) -> Result<Option<(u64, usize)>, FramingError> {
    let mut length = 0u64;
    for (index, byte) in buf.iter().take(MAX_LENGTH_BYTES).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let over_long = *byte == 0 && index > 0;
            return if over_long { Err(FramingError::BadLength) } else { Ok(Some((length, index + 1))) };
        }
    }
    if buf.len() >= MAX_LENGTH_BYTES { Err(FramingError::BadLength) } else { Ok(None) }
}

/// Five groups of seven bits hold a u32.
const MAX_LENGTH_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buf(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    #[test]
    fn bad_lengths_are_refused_at_once() {
        assert_eq!(split_frame(&mut buf(&[0]), 10), Err(FramingError::Empty));
        assert_eq!(split_frame(&mut buf(&[11]), 10), Err(FramingError::TooLarge { length: 11, max: 10 }));
        assert_eq!(split_frame(&mut buf(&[0x81, 0x00, 7]), 10), Err(FramingError::BadLength));
        assert_eq!(split_frame(&mut buf(&[0xff; 5]), 10), Err(FramingError::BadLength));
        assert_eq!(split_frame(&mut buf(&[0xff; 4]), 10), Ok(None));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..20), cut in 1usize..50) {
            let mut wire = BytesMut::new();
            for frame in &frames {
                put_varint(&mut wire, frame.len() as u64);
                wire.extend_from_slice(frame);
            }
            let (mut read, mut got) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(cut) {
                read.extend_from_slice(piece);
                while let Some(frame) = split_frame(&mut read, 300).unwrap() {
                    got.push(frame.to_vec());
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert!(read.is_empty());
        }

        #[test]
        fn any_bytes_end_in_frames_an_error_or_waiting(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut read = buf(&bytes);
            while let Ok(Some(frame)) = split_frame(&mut read, 64) {
                prop_assert!(!frame.is_empty() && frame.len() <= 64);
            }
        }
    }
}
